"""TFLite files of transformers: agreement with Keras, and the operators inside."""

import collections
import pathlib

import keras
import keras_nlp
import numpy as np
import pytest

from tfcompress.coding.tflite_file import read_model
from tfcompress.coding.tflite_graph import operator_name
from tfcompress.export import export_model
from tfcompress.runtime import load_session

NUM_LAYERS = 2
# query, key, value, output, two of the feed-forward part; the pooler and the logits.
NUM_DENSE = 6 * NUM_LAYERS + 2


def bert_classifier():
    """A tiny nested BERT with every weight random; length and batch are free."""
    keras.utils.set_random_seed(0)
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=50,
        num_layers=NUM_LAYERS,
        num_heads=4,
        hidden_dim=32,
        intermediate_dim=64,
        max_sequence_length=24,
    )
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "padding_mask", "segment_ids")
    }
    pooled = backbone(inputs)["pooled_output"]
    outputs = keras.layers.Dense(3, name="logits")(pooled)
    model = keras.Model(inputs, outputs, name="bert_classifier")
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        value = rng.normal(0, 0.2, variable.shape)
        if variable.name == "gamma":
            value += 1
        variable.assign(value)
    return model


def padded_batch(batch, length, seed=0):
    """Random ids of random lengths, two segments, zeros behind them."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, length + 1, (batch, 1))
    mask = np.arange(length) < lengths
    return {
        "token_ids": np.int32(rng.integers(1, 50, (batch, length)) * mask),
        "padding_mask": np.int32(mask),
        "segment_ids": np.int32((np.arange(length) >= lengths // 2) & mask),
    }


@pytest.fixture(scope="module")
def model():
    return bert_classifier()


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    return write(model, tmp_path_factory.mktemp("float32"))


def write(model, folder, precision="float32"):
    exported = export_model(model, "tflite", folder, precision=precision)
    return folder / exported.files[0]


def operators(path):
    """Counts the operators of the main graph by kind."""
    file = read_model(pathlib.Path(path))
    return collections.Counter(
        operator_name(file, operator) for operator in file.subgraphs[0].operators
    )


def open_file(path):
    return load_session("tflite", path.parent, [path.name], num_threads=1)


def check_agrees(model, path, tolerance):
    """Compares on batches of several sizes and lengths, all in one session."""
    session = open_file(path)
    for seed, (batch, length) in enumerate([(1, 8), (3, 24), (2, 5), (1, 8), (4, 16)]):
        inputs = padded_batch(batch, length, seed)
        expected = model.predict(inputs, verbose=0)
        found = session.run(inputs)["logits"]
        assert found.shape == expected.shape
        np.testing.assert_allclose(
            found, expected, atol=tolerance * abs(expected).max()
        )


def test_write_transformer_agrees_with_keras_at_any_batch_and_length(model, file):
    check_agrees(model, file, 1e-5)


def test_write_transformer_has_operators_that_xnnpack_takes_whole(file):
    kinds = operators(file)
    assert kinds["FULLY_CONNECTED"] == NUM_DENSE
    assert kinds["GELU"] == NUM_LAYERS
    assert kinds["SOFTMAX"] == NUM_LAYERS
    assert kinds["BATCH_MATMUL"] == 2 * NUM_LAYERS
    # Three projections are split into heads, one context is merged.
    assert kinds["RESHAPE"] == kinds["TRANSPOSE"] == 4 * NUM_LAYERS
    assert kinds["MEAN"] == 2 * kinds["RSQRT"] == 2 * (2 * NUM_LAYERS + 1)
    # The mask is made once for all layers.
    assert kinds["EXPAND_DIMS"] == 2
    assert not {"REDUCE_PROD", "SELECT_V2", "CUSTOM"} & set(kinds)
    assert not any(kind.startswith("FLEX") for kind in kinds)
