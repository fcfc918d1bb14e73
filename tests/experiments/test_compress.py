"""Tests of compressing a user's own model, end to end and where it is refused."""

import keras
import numpy as np
import pytest

from experiments._candidates import candidate_rows
from tfcompress.artifact import Artifact
from tfcompress.data.array_files import load_from_arrays
from tfcompress.data.dataset import SplitOptions
from tfcompress.record import read_records, record_key

WORDS = ["good", "fine", "bad", "dull", *(f"word{i}" for i in range(300))]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Returns a folder with a model of texts, its words, its reviews, and arrays."""
    folder = tmp_path_factory.mktemp("own")
    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Embedding(len(WORDS) + 2, 16),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    ).save(folder / "text.keras")
    (folder / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]) + "\n")
    rng = np.random.default_rng(0)
    lines = ["review,verdict"]
    for index in range(300):
        text = [*rng.choice(WORDS[4:], 7), *rng.choice(WORDS[index % 2 * 2 :][:2], 3)]
        lines.append(f"{' '.join(text)},{('pos', 'neg')[index % 2]}")
    (folder / "reviews.csv").write_text("\n".join(lines) + "\n")
    features = rng.normal(size=(200, 32)).astype(np.float32)
    labels = (features[:, :4].argmax(1)).astype(np.int32)
    np.savez(folder / "arrays.npz", features=features, labels=labels)
    inputs = keras.Input((32,))  # its automatic name is another one at each load
    hidden = keras.layers.Dense(64, "relu")(inputs)
    keras.Model(inputs, keras.layers.Dense(4, "softmax")(hidden)).save(
        folder / "dense.keras"
    )
    return folder


@pytest.fixture(scope="module")
def compress_arrays(own, run):
    """Function: run folder's name, flags -> exit status, output, errors of compress."""

    def compress(name, *arguments):
        return run(
            "compress",
            f"--model={own / 'dense.keras'}",
            f"--data={own / 'arrays.npz'}",
            "--epochs=0",
            "--rounds=0",
            *arguments,
            f"--run_dir={own / name}",
        )

    return compress


@pytest.fixture(scope="module")
def finished(own, run):
    """Compresses the text model and returns the run's folder."""
    status, _, err = run(
        "compress",
        f"--model={own / 'text.keras'}",
        f"--data={own / 'reviews.csv'}",
        "--text_column=review",
        "--label_column=verdict",
        f"--vocabulary={own / 'words.txt'}",
        "--recipe=prune(0.5)+cluster(16)",
        "--epochs=8",
        "--learning_rate=0.02",
        "--formats=tflite,onnx",
        "--rounds=0",
        f"--run_dir={own / 'run'}",
    )
    assert status == 0, err
    return own / "run"


def test_compress_texts_gives_small_files_that_still_know(finished):
    records = read_records(finished / "records")
    assert {record["row"] for record in records.values()} == {
        "original",
        "compressed",
        "original_finetuned",
        "compressed_finetuned",
    }
    for key, record in records.items():
        assert record["status"] == "ok", (key, record["error"])
        assert record["recipe"] in ("", "prune(0.5)+cluster(16)")
    key = "compressed_finetuned.tflite.float32.coded.litert.cpu"
    coded = records[key]
    assert coded["quality"]["metrics"]["accuracy"]["value"] > 0.9
    assert coded["size"]["compression_ratio"] > 2
    embedding = next(row for row in coded["layers"] if row["kind"] == "Embedding")
    measured = embedding["stripped"]["embeddings"]
    assert measured["distinct_values"] <= 16
    assert measured["num_nonzero"] == measured["num_weights"] // 2
    artifact = Artifact.load(finished / "artifacts" / key)
    assert artifact.predict(["good fine good fine", "bad"]).labels == ("pos", "neg")
    artifact.close()


def test_compress_another_vocabulary_of_the_same_name_is_another_run(
    own, compress_arrays
):
    arguments = [
        f"--vocabulary={own / 'other.txt'}",
        "--recipe=cluster(4)",
        "--formats=onnx",
        "--codings=dense",
    ]
    (own / "other.txt").write_text("one\n")
    status, _, err = compress_arrays("other", *arguments)
    assert status == 0, err
    (own / "other.txt").write_text("two\n")
    status, _, err = compress_arrays("other", *arguments)
    assert status == 1
    assert "other flags (--vocabulary_sha256" in err


def test_compress_arrays_without_training(own, compress_arrays):
    status, out, err = compress_arrays(
        "arrays", "--recipe=cluster(4)", "--formats=openvino"
    )
    assert status == 0, err
    records = read_records(own / "arrays" / "records")
    assert {record["row"] for record in records.values()} == {"original", "compressed"}
    coded = records["compressed.openvino.float32.coded.openvino.cpu"]
    assert coded["size"]["max_distinct_values"] == 4
    *_, path_line, last = lines = out.splitlines()
    assert max(map(len, lines[:-6])) <= 80
    assert path_line.startswith("Table, records and artifacts: ")
    taken = (
        own / "arrays" / "artifacts" / "compressed.openvino.float32.coded.openvino.cpu"
    )
    assert last.startswith(f"Take {taken} (compressed, openvino coded, ")


def test_compress_files_put_out_what_the_model_puts_out(own, compress_arrays):
    """It ends in a softmax, which labels alone would not miss."""
    status, out, err = compress_arrays(
        "outputs", "--recipe=cluster(4)", "--formats=tflite,onnx", "--codings=dense"
    )
    assert status == 0, err
    assert "The files put out probabilities, as the model does." in out
    model = keras.saving.load_model(own / "dense.keras")
    with np.load(own / "arrays.npz") as arrays:
        features = arrays["features"]
    expected = model.predict(features, verbose=0)
    for format, runtime in (("tflite", "litert"), ("onnx", "onnxruntime")):
        key = f"original.{format}.float32.dense.{runtime}.cpu"
        with Artifact.load(own / "outputs" / "artifacts" / key) as artifact:
            assert artifact.manifest.heads[0].activation == "none"
            found = artifact.predict({"features": features})
        np.testing.assert_allclose(found.outputs, expected, atol=1e-6)
        np.testing.assert_array_equal(found.probabilities, found.outputs)
        record = read_records(own / "outputs" / "records")[key]
        assert record["quality"]["output_error"] < 1e-5
        assert record["quality"]["keras_agreement"] == 1


def test_compress_lambda_is_refused_and_nothing_is_made(own, run):
    path = own / "lambda.keras"
    inputs = keras.Input((32,), name="features")
    outputs = keras.layers.Lambda(lambda x: x[:, :4], name="first_four")(inputs)
    keras.Model(inputs, outputs).save(path)
    status, _, err = run(
        "compress",
        f"--model={path}",
        f"--data={own / 'arrays.npz'}",
        f"--run_dir={own / 'refused'}",
    )
    assert status == 1
    assert "holds a lambda (layer 'first_four'): code, which is not run" in err
    assert err.count("\n") == 1
    assert not list((own / "refused").rglob("*.keras"))


def test_compress_rule_of_no_layer_is_refused_before_anything_is_made(
    own, compress_arrays
):
    recipe = "prune(0.5)+cluster(4, layers={'dnse': None})"
    status, out, err = compress_arrays("no_layer", f"--recipe={recipe}")
    assert status == 1
    assert "layer rule 'dnse' matches no layer" in err
    assert "Close names: dense" in err
    assert err.count("\n") == 1
    assert "original:" not in out
    assert not list((own / "no_layer").rglob("*.keras"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data=a.csv"], "--model is needed"),
        (["--model=a.keras"], "--data is needed"),
        (["--model=a", "--data=a.csv", "--dataset=x"], "Unknown command line flag"),
        (
            ["--model=a", "--data=a.csv", "--recipe=clster(16)"],
            "Did you mean 'cluster'",
        ),
        (["--model=a.keras", "--data=a.csv"], "There is no file 'a.csv'"),
        (["--model=a", "--data=a.csv", "--epochs=-1"], "--epochs must be at least 0"),
        (
            [
                "--model=a",
                "--data=a.csv",
                "--epochs=0",
                "--recipe=prune(0.5, schedule='polynomial')",
            ],
            "prunes during training: --epochs must be above 0",
        ),
    ],
)
def test_compress_bad_flags_are_one_line(refuse, tmp_path, arguments, message):
    line = refuse("compress", *arguments, f"--run_dir={tmp_path / 'run'}")
    assert message in line


def test_compress_texts_without_vocabulary_raise(own, refuse, tmp_path):
    line = refuse(
        "compress",
        f"--model={own / 'text.keras'}",
        f"--data={own / 'reviews.csv'}",
        "--text_column=review",
        "--label_column=verdict",
        f"--run_dir={tmp_path / 'run'}",
    )
    assert "--vocabulary is needed for texts" in line


def test_compress_max_drop_ends_at_the_first_candidate_that_holds(own, compress_arrays):
    status, out, err = compress_arrays(
        "search", "--max_drop=0.99", "--formats=onnx", "--rounds=1"
    )
    assert status == 0, err
    records = read_records(own / "search" / "records")
    assert {record["row"] for record in records.values()} == {
        "original",
        "pruned_clustered_16",
    }
    chosen = records["pruned_clustered_16.onnx.float32.coded.onnxruntime.cpu"]
    assert chosen["search"]["holds"] is True
    assert chosen["search"]["num_examples"] > 0
    assert chosen["search"]["low"] <= chosen["search"]["difference"]
    assert chosen["latency"]["batch_1"]["p50_ms"] > 0
    assert (
        "Smallest tried within 0.99 of the baseline: pruned_clustered_16 (prune(" in out
    )
    assert "in artifacts/pruned_clustered_16.onnx.float32.coded.onnxruntime.cpu." in out


def test_compress_max_drop_of_nothing_walks_on_to_a_safe_file(own, compress_arrays):
    """Random labels of a random model: small recipes change some of them."""
    status, out, err = compress_arrays("walk", "--max_drop=0", "--formats=onnx")
    assert status == 0, err
    records = read_records(own / "walk" / "records")
    tried = {k: r for k, r in records.items() if r["search"]["holds"] is not None}
    held = [record for record in tried.values() if record["search"]["holds"]]
    assert len(held) == 1
    # Judged again by what the files predicted on the validation split.
    dataset = load_from_arrays(str(own / "arrays.npz"), SplitOptions(seed=0))

    def count_correct(key):
        path = own / "walk" / "predictions" / f"validation.{key}.npz"
        with np.load(path) as arrays:
            indices = arrays["output_0"].argmax(axis=1)
            return np.count_nonzero(indices == dataset.validation.labels)

    needed = count_correct("original.keras.float32.dense.tensorflow.cpu")
    for key, record in tried.items():
        assert record["search"]["holds"] == (count_correct(key) >= needed), key
    names = [row.name for row in candidate_rows("onnx", trains=False, seed=0)]
    until = names.index(held[0]["row"]) + 1
    assert {record["row"] for record in tried.values()} == set(names[:until])
    taken = own / "walk" / "artifacts" / record_key(held[0])
    assert out.splitlines()[-1].startswith(f"Take {taken} (")
    assert f"Smallest tried within 0 of the baseline: {held[0]['row']} (" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max_drop=1"], "--max_drop must be a share from 0 to below 1"),
        (["--max_drop=nan"], "--max_drop must be a share from 0 to below 1"),
        (["--max_drop=0.1", "--recipe=cluster(4)"], "leave --recipe='cluster(4)' out"),
    ],
)
def test_compress_bad_search_is_one_line(refuse, tmp_path, arguments, message):
    known = ("--model=a.keras", "--data=a.csv", f"--run_dir={tmp_path / 'run'}")
    assert message in refuse("compress", *known, *arguments)


def test_compress_recipe_with_qat_is_shipped_in_integers(own, compress_arrays):
    status, _, err = compress_arrays(
        "qat",
        "--recipe=qat('static_range')",
        "--formats=onnx",
        "--calibration_examples=20",
    )
    assert status == 0, err
    records = read_records(own / "qat" / "records")
    record = records["compressed.onnx.static_range_wi8_ai8.dense.onnxruntime.cpu"]
    assert record["operators"]["integer"]
    assert record["quality"]["keras_agreement"] > 0.8


def test_compress_folds_batch_norm_of_the_row_without_training_and_says_so(own, run):
    layers = keras.layers
    inputs = keras.Input((32,), name="features")
    hidden = layers.BatchNormalization(name="norm")(layers.Dense(64, name="a")(inputs))
    outputs = layers.Dense(4)(layers.ReLU()(hidden))
    keras.Model(inputs, outputs).save(own / "norm.keras")
    status, out, err = run(
        "compress",
        f"--model={own / 'norm.keras'}",
        f"--data={own / 'arrays.npz'}",
        "--recipe=cluster(4)",
        "--formats=tflite",
        "--codings=dense",
        "--epochs=1",
        "--rounds=0",
        f"--run_dir={own / 'norm'}",
        timeout=300,
    )
    assert status == 0, err
    records = read_records(own / "norm" / "records")
    key = next(k for k in records if k.startswith("compressed.tflite"))
    folded = {row["name"]: row for row in records[key]["layers"]}
    assert folded["norm"]["status"] == "folded"
    assert folded["a"]["exported"]["kernel"]["distinct_values"] == 4
    key = next(k for k in records if k.startswith("compressed_finetuned.tflite"))
    spoilt = {row["name"]: row for row in records[key]["layers"]}
    assert "not folded before, because training goes" in spoilt["a"]["reason"]
    notes = " ".join(out.split())
    assert "compressed: 1 BatchNormalization layers were folded into other" in notes
    assert "WARNING: compressed_finetuned: Exporting multiplies" in notes
