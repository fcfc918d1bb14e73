"""keras-nlp's encoders and classifiers: there, through TFMOT, back, and saved."""

import os
import subprocess
import sys

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras

import tfcompress
from tfcompress.bridge import clone_model_with_weights, to_keras3, to_tf_keras

_SIZES = {
    "vocabulary_size": 50,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "max_sequence_length": 12,
    "dropout": 0.1,
}
# Family -> sizes that only it has, or calls otherwise.
_FAMILIES = {
    "Bert": {},
    "DistilBert": {},
    "Roberta": {},
    "XLMRoberta": {},
    "Electra": {"vocab_size": 50, "embedding_dim": 8},
    "Albert": {"embedding_dim": 8, "num_inner_repetitions": 2},
}
_CLASSIFIERS = [name for name in _FAMILIES if name != "Electra"]
_KERNELS = ("kernel", "embeddings")


def _backbone(family, **config):
    sizes = {**_SIZES, **_FAMILIES[family], **config}
    if "vocab_size" in sizes:
        del sizes["vocabulary_size"]
    return getattr(keras_nlp.models, f"{family}Backbone")(**sizes)


def _classifier(family, **config):
    make = getattr(keras_nlp.models, f"{family}TextClassifier")
    return make(_backbone(family, **config), num_classes=3)


def _arrays(model):
    """Three texts of 9, 4 and 1 tokens, in two segments where the model has them."""
    rng = np.random.default_rng(0)
    arrays = {
        "token_ids": rng.integers(1, 50, (3, 9)),
        "segment_ids": np.arange(9) >= np.array([[5], [2], [1]]),
        "padding_mask": np.arange(9) < np.array([[9], [4], [1]]),
    }
    return {name: arrays[name].astype("int32") for name in model.input}


def _check(model, difference, tolerance=1e-5):
    arrays = _arrays(model)
    expected, flat = model(arrays), to_tf_keras(model)
    assert difference(expected, flat(arrays)) <= tolerance
    # The masks count: without them the result is another one.
    unmasked = {**arrays, "padding_mask": np.ones((3, 9), "int32")}
    assert difference(expected, model(unmasked)) > tolerance
    return flat


@pytest.mark.parametrize("family", _FAMILIES)
def test_backbone_gives_same_output(family, randomize, difference):
    _check(randomize(_backbone(family)), difference)


@pytest.mark.parametrize("family", _CLASSIFIERS)
def test_classifier_gives_same_output(family, randomize, difference):
    _check(randomize(_classifier(family)), difference)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("mixed_float16", 4e-3), ("mixed_bfloat16", 3e-2)]
)
def test_mixed_precision_gives_same_output(
    dtype, tolerance, dropout, randomize, difference
):
    model = randomize(_backbone("Bert", dtype=dtype, dropout=dropout))
    flat = _check(model, difference, tolerance)
    kernel = flat.get_layer("transformer_layer_0/query").kernel
    assert kernel.dtype == "float32"


def test_names_follow_the_source():
    flat = to_tf_keras(_classifier("Bert", name="encoder"))
    block = "query key value attention_output attention_norm intermediate output"
    names = [
        *("token_embedding", "position_embedding", "segment_embedding"),
        "embeddings_layer_norm",
        *(
            f"transformer_layer_{number}/{name}"
            for number in range(2)
            for name in f"{block} output_norm".split()
        ),
        "pooled_dense",
    ]
    assert {layer.name for layer in flat.layers if layer.weights} == {
        *(f"encoder/{name}" for name in names),
        "logits",
    }


def test_albert_shares_its_blocks():
    flat = to_tf_keras(_backbone("Albert"))
    queries = [layer.name for layer in flat.layers if layer.name.endswith("/query")]
    assert sorted(queries) == [
        f"group_0_inner_layer_{number}/query" for number in range(2)
    ]


def _nested():
    backbone = _backbone("Bert", name="encoder")
    outputs = backbone(backbone.input)["pooled_output"]
    return keras.Model(backbone.input, keras.layers.Dense(3, name="logits")(outputs))


@pytest.mark.parametrize(
    "make", [_nested, *(lambda f=f: _classifier(f) for f in _CLASSIFIERS)]
)
def test_clone_has_the_class_and_the_weights(make, randomize):
    model = randomize(make())
    copy = clone_model_with_weights(model)
    assert type(copy) is type(model)
    arrays = _arrays(model)
    np.testing.assert_array_equal(model(arrays), copy(arrays))
    assert not {id(v) for v in model.weights} & {id(v) for v in copy.weights}


def test_clone_keeps_the_vocabulary_of_the_preprocessor(randomize):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    tokenizer = keras_nlp.models.BertTokenizer(words)
    preprocessor = keras_nlp.models.BertTextClassifierPreprocessor(
        tokenizer, sequence_length=6
    )
    model = keras_nlp.models.BertTextClassifier(
        _backbone("Bert"), num_classes=3, preprocessor=preprocessor
    )
    copy = clone_model_with_weights(randomize(model))
    assert copy.preprocessor.tokenizer.get_vocabulary() == words
    texts = ["good", "bad good"]
    np.testing.assert_allclose(
        model.predict(texts, verbose=0), copy.predict(texts, verbose=0), rtol=1e-5
    )


def test_model_around_a_backbone_gives_same_output(randomize, difference):
    flat = _check(randomize(_nested()), difference)
    assert flat.get_layer("encoder/transformer_layer_1/query").weights


@pytest.mark.parametrize("family", ["Bert", "Albert"])
def test_clustering_accepts_the_leaves(family, randomize):
    model = randomize(_backbone(family))
    wrapped = tfmot.clustering.keras.cluster_weights(
        to_tf_keras(model),
        number_of_clusters=4,
        cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.LINEAR,
    )
    wrapped(_arrays(model))
    stripped = tfmot.clustering.keras.strip_clustering(wrapped)
    stripped(_arrays(model))
    back = to_keras3(model, stripped)
    kernels = [v for v in back.weights if v.name in _KERNELS]
    assert max(len(np.unique(v)) for v in kernels) <= 4


@pytest.mark.parametrize("family", ["Bert", "Albert"])
def test_pruning_accepts_the_leaves(family, randomize, difference):
    model = randomize(_backbone(family))
    wrapped = tfmot.sparsity.keras.prune_low_magnitude(to_tf_keras(model))
    wrapped(_arrays(model))
    stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    back = to_keras3(model, stripped)
    arrays = _arrays(model)
    assert difference(stripped(arrays), back(arrays)) <= 1e-5


@pytest.mark.parametrize("family", ["Bert", "Albert"])
def test_quantization_accepts_the_leaves(family, randomize, difference):
    def annotate(layer):
        if isinstance(layer, tf_keras.layers.Dense):
            return tfmot.quantization.keras.quantize_annotate_layer(layer)
        return type(layer).from_config(layer.get_config())

    model = randomize(_backbone(family))
    flat = to_tf_keras(model)
    annotated = tf_keras.models.clone_model(flat, clone_function=annotate)
    annotated.set_weights(flat.get_weights())
    # Our layers are registered, so that no scope has to name them.
    quantized = tfmot.quantization.keras.quantize_apply(annotated)
    outputs = keras.tree.flatten(quantized(_arrays(model)))
    assert all(np.isfinite(output).all() for output in outputs)
    names = [layer.name for layer in quantized.layers]
    assert sum(name.startswith("quant_") for name in names) >= 6


_LOAD = """
import sys, numpy
sys.modules["tfcompress"] = None
import keras, keras_hub
for name in ("nested", "classifier"):
    model = keras.saving.load_model(f"{name}.keras")
    arrays = dict(numpy.load(f"{name}.npz"))
    numpy.save(f"{name}.npy", model.predict(arrays, verbose=0))
"""


def test_compressed_models_load_where_the_package_is_unknown(
    tmp_path, randomize, difference
):
    expected = {}
    for name, make in (("nested", _nested), ("classifier", _distilbert)):
        model = randomize(make())
        back = tfcompress.compress(model, "cluster(16)").model
        kernels = [v for v in back.weights if v.name in _KERNELS]
        assert max(len(np.unique(v)) for v in kernels) <= 16
        arrays = _arrays(model)
        expected[name] = to_tf_keras(back)(arrays)
        assert difference(expected[name], back(arrays)) <= 1e-5
        back.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", **arrays)
    environment = {
        name: value
        for name, value in os.environ.items()
        # Importing TFMOT sets it, and with it tf.keras is tf_keras.
        if name not in ("TF_USE_LEGACY_KERAS", "PYTHONPATH")
    }
    for backend in ("tensorflow", "jax"):
        environment["KERAS_BACKEND"] = backend
        subprocess.run(
            [sys.executable, "-c", _LOAD], cwd=tmp_path, env=environment, check=True
        )
        for name, outputs in expected.items():
            assert difference(outputs, np.load(tmp_path / f"{name}.npy")) <= 1e-5


def _distilbert():
    return _classifier("DistilBert")
