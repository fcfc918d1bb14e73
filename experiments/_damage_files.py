"""Makes the small honest files that `check_damage` damages: a folder for each kind.

    python -m experiments._damage_files FOLDER

A process of its own, because it needs TensorFlow and the exporters.
"""

import json
import pathlib
import shutil
import sys

import numpy as np

from tfcompress.formats import FORMATS, shipped_formats

_NUM_ROWS = 40
_LABELS = ("negative", "positive")


def main(folder):
    """Writes all files below `folder`."""
    model = _make_model()
    dense = folder / "dense"
    coded = folder / "coded"
    _export(model, dense, coded)
    _export(_make_recurrent_model(), folder / "recurrent", folder / "recurrent_coded")
    _write_external(dense / "onnx", folder / "onnx_external")
    for format in shipped_formats():
        _write_artifact(format, dense / format, folder / f"artifact_{format}")
        _write_artifact(format, coded / format, folder / f"artifact_coded_{format}")
    (folder / "keras").mkdir()
    model.save(folder / "keras" / "model.keras")
    _write_artifact("keras", folder / "keras", folder / "artifact_keras")
    _write_data(folder)
    _write_tokenizers(folder)
    _write_preset(folder)
    _write_records(folder)


def _make_model():
    """Returns a classifier of texts of 4 tokens, of 16 values a weight."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    x = layers.Embedding(128, 16, name="embedding")(tokens)
    x = layers.Conv1D(16, 1, activation="relu", name="convolution")(x)
    x = layers.GlobalAveragePooling1D(name="pooling")(x)
    x = layers.Dense(64, activation="relu", name="hidden")(x)
    model = keras.Model(tokens, layers.Dense(1, name="logits")(x))
    return _with_few_values(model)


def _make_recurrent_model():
    """Returns a model of images with a loop, whose graphs have graphs within them."""
    import keras

    layers = keras.layers
    image = keras.Input(batch_shape=(1, 4, 4, 3), name="image")
    x = layers.Conv2D(32, 3, padding="same", name="convolution")(image)
    x = layers.Reshape((4, 128), name="rows")(x)
    x = layers.LSTM(16, name="lstm")(x)
    model = keras.Model(image, layers.Dense(2, name="logits")(x))
    return _with_few_values(model)


def _with_few_values(model):
    rng = np.random.default_rng(0)
    values = rng.normal(size=16)
    model.set_weights([rng.choice(values, w.shape) for w in model.get_weights()])
    return model


def _export(model, dense, coded):
    from tfcompress.coding import code_file
    from tfcompress.export import export_model

    for format in shipped_formats():
        name = FORMATS[format].file_names[0]
        exported = export_model(model, format, dense / format)
        made = dense / format / exported.files[0]
        for path in sorted((dense / format).iterdir()):
            path.rename(path.with_name(f"model{path.suffix}"))
        (coded / format).mkdir(parents=True)
        source = dense / format / name
        if not source.exists():
            raise FileNotFoundError(f"{made} was to become {source}")
        code_file(source, coded / format / name)


def _write_external(source, folder):
    import onnx

    folder.mkdir()
    onnx.save_model(
        onnx.load(source / "model.onnx"),
        str(folder / "model.onnx"),
        save_as_external_data=True,
        location="model.data",
        size_threshold=256,
    )


def _write_artifact(format, source, folder):
    from tfcompress.artifact import create_artifact
    from tfcompress.data.word_tokenizer import train_word_tokenizer
    from tfcompress.manifest import Manifest
    from tfcompress.runtime import TensorSpec, load_session
    from tfcompress.tasks import ClassHead

    names = [path.name for path in source.iterdir()]
    with load_session(format, source, names) as session:
        (tokens,) = session.inputs
        outputs = session.run({tokens.name: np.zeros((1, 4), tokens.dtype)})
    create_artifact(
        folder,
        model_files=sorted(source.iterdir()),
        manifest=Manifest(
            format=format,
            inputs=(TensorSpec(tokens.name, (None, 4), tokens.dtype),),
            outputs=(TensorSpec(min(outputs, key=len), (None, 1), "float32"),),
            heads=(ClassHead(labels=_LABELS, activation="sigmoid"),),
            is_text=True,
            sequence_length=4,
        ),
        tokenizer=train_word_tokenizer(["bad film good"], length=4),
    )


def _write_data(folder):
    import pyarrow
    from pyarrow import parquet

    texts = [f"text {row}" for row in range(_NUM_ROWS)]
    labels = [_LABELS[row % 2] for row in range(_NUM_ROWS)]
    for name in ("csv", "tsv", "jsonl", "parquet", "npz"):
        (folder / name).mkdir()
    for name, delimiter in (("csv", ","), ("tsv", "\t")):
        rows = zip(["text", *texts], ["label", *labels], strict=True)
        lines = [delimiter.join(row) for row in rows]
        (folder / name / f"data.{name}").write_text("\n".join(lines) + "\n")
    rows = [{"text": t, "label": n} for t, n in zip(texts, labels, strict=True)]
    lines = "\n".join(map(json.dumps, rows)) + "\n"
    (folder / "jsonl" / "data.jsonl").write_text(lines)
    table = pyarrow.table({"text": texts, "label": labels})
    parquet.write_table(table, folder / "parquet" / "data.parquet")
    arrays = {"x": np.arange(_NUM_ROWS), "labels": np.arange(_NUM_ROWS) % 2}
    np.savez(folder / "npz" / "data.npz", **arrays)


def _write_tokenizers(folder):
    from tfcompress.data.subword_tokenizer import train_vocabulary, wordpiece_tokenizer

    vocabulary = train_vocabulary(["a lovely film", "a bad film"] * 3)
    for name in ("tokenizer", "vocabulary", "words", "checkpoint"):
        (folder / name).mkdir()
    tokenizer = wordpiece_tokenizer(vocabulary)
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    lines = "\n".join(vocabulary) + "\n"
    (folder / "vocabulary" / "vocab.txt").write_text(lines)
    (folder / "words" / "words.txt").write_text("\n[UNK]\na\nfilm\nlovely\n")
    checkpoint = folder / "checkpoint"
    ids = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "ab"]
    vocabulary = {entry: number for number, entry in enumerate(ids)}
    (checkpoint / "vocab.json").write_text(json.dumps(vocabulary))
    (checkpoint / "merges.txt").write_text("#version: 0.2\na b\n")
    settings = {"add_prefix_space": False, "pad_token": {"content": "<pad>"}}
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(settings))


def _write_preset(folder):
    from safetensors.numpy import save_file

    (folder / "preset").mkdir()
    config = {"model_type": "bert", "vocab_size": 12, "max_position_embeddings": 8}
    config |= {"hidden_size": 4, "num_hidden_layers": 1, "hidden_act": "gelu"}
    (folder / "preset" / "config.json").write_text(json.dumps(config))
    weights = {"embeddings.word_embeddings.weight": np.zeros((12, 4), np.float32)}
    save_file(weights, folder / "preset" / "model.safetensors")


def _write_records(folder):
    from tfcompress.recipe import parse_recipe, recipe_to_json
    from tfcompress.record import new_record, write_record

    recipe = "prune(0.5, layers={'a': None})+cluster(16, seed=1)"
    for name in ("record", "recipe", "recipe_json"):
        (folder / name).mkdir()
    layers = [dict.fromkeys(("name", "kind", "status", "reason"))]
    layers[0] |= {"requested": {"a": 1}, "stripped": {}, "exported": {}}
    record = new_record(row="baseline", recipe=recipe, layers=layers, flags={"seed": 0})
    write_record(folder / "record" / "baseline.json", record)
    (folder / "recipe" / "recipe.txt").write_text(recipe)
    steps = recipe_to_json(parse_recipe(recipe))
    (folder / "recipe_json" / "recipe.json").write_text(json.dumps(steps))


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    main(target)
