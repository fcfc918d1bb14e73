"""TFLite files of transformers: agreement with Keras, and the operators inside."""

import collections
import pathlib

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.bridge.leaf_layers import TensorFunction
from tfcompress.coding import code_file
from tfcompress.errors import ArtifactError, UnsupportedModelError
from tfcompress.export import export_model
from tfcompress.export.tflite_layers import layer_normalization, tensor_function
from tfcompress.formats.tflite_file import read_model
from tfcompress.formats.tflite_graphs import operator_name, type_name
from tfcompress.runtime import load_session

NUM_LAYERS = 2
# query, key, value, output, two of the feed-forward part; the pooler and the logits.
NUM_DENSE = 6 * NUM_LAYERS + 2


def bert_classifier(length=None):
    """A tiny nested BERT with every weight random; the batch is free."""
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
        name: keras.Input((length,), dtype="int32", name=name)
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


def masked_model():
    """Attention with Keras' own masks: of padding, causal, and one that is given."""
    layers = keras.layers
    ids = keras.Input((None,), dtype="int32", name="ids")
    given = keras.Input((None, None), dtype="int32", name="given")
    x = layers.Embedding(20, 8, mask_zero=True)(ids)
    x = layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    x = layers.Dense(8, activation="gelu")(x)
    x = layers.MultiHeadAttention(2, 4, use_bias=False)(x, x, attention_mask=given)
    x = layers.LayerNormalization(center=False)(x)
    x = layers.GlobalAveragePooling1D()(layers.Dense(8, use_bias=False)(x))
    return keras.Model([ids, given], layers.Dense(2, name="logits")(x), name="masked")


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


def constants(path):
    """Returns the bytes of all constants of a file, a set."""
    buffers = read_model(path).buffers
    return {buffer.data.tobytes() for buffer in buffers if buffer.data is not None}


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


@pytest.mark.parametrize("length", [None, 16])
def test_write_transformer_keeps_weights_to_the_bit(tmp_path, length):
    model = bert_classifier(length)
    found = constants(write(model, tmp_path))
    for variable in model.trainable_variables:
        value = variable.numpy()
        axes = 2 if variable.path.endswith("attention_output/kernel") else 1
        kernel = value.reshape(np.prod(value.shape[:axes]), -1)
        # Kernels lie transposed in the file, and beta with the other sign.
        forms = value, -value, np.ascontiguousarray(kernel.T)
        assert found & {form.tobytes() for form in forms}, variable.path


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float16", 5e-3), ("dynamic_range_wi8", 5e-2)]
)
def test_write_transformer_in_small_precision_agrees(
    model, tmp_path, precision, tolerance
):
    path = write(model, tmp_path, precision)
    check_agrees(model, path, tolerance)
    assert operators(path)["FULLY_CONNECTED"] == NUM_DENSE


def test_write_transformer_in_int8_has_no_float_kernels(tmp_path):
    layers = keras.layers
    x = keras.Input((None, 64), name="x")
    y = layers.LayerNormalization()(layers.MultiHeadAttention(4, 16)(x, x))
    model = keras.Model(x, layers.Dense(64, name="y")(y))
    path = write(model, tmp_path, "dynamic_range_wi8")
    file = read_model(path)
    kernels = [
        type_name(file.subgraphs[0].tensors[operator.inputs[1]])
        for operator in file.subgraphs[0].operators
        if operator_name(file, operator) == "FULLY_CONNECTED"
    ]
    assert kernels == ["INT8"] * 5


def test_write_attention_with_masks_of_keras_agrees(tmp_path):
    model = masked_model()
    session = open_file(write(model, tmp_path))
    rng = np.random.default_rng(0)
    for batch, length in [(2, 6), (3, 9)]:
        inputs = {
            "ids": np.int32(rng.integers(1, 20, (batch, length))),
            "given": np.int32(rng.random((batch, length, length)) < 0.7),
        }
        inputs["ids"][0, -2:] = 0
        expected = model.predict(inputs, verbose=0)
        found = session.run(inputs)["logits"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize(("center", "scale"), [(True, False), (False, True)])
def test_layer_normalization_known_answer(axis, center, scale):
    layer = tf_keras.layers.LayerNormalization(
        axis, 0.0, center, scale, beta_initializer="ones", gamma_initializer="ones"
    )
    x = np.float32([[[1, 2], [3, 6]]])
    layer.build(x.shape)
    expected = np.float32([[[-1, 1], [-1, 1]]] if axis < 0 else [[[-1, -1], [1, 1]]])
    found = layer_normalization(layer, tf.constant(x))
    np.testing.assert_allclose(found, expected + center, atol=1e-5)


@pytest.mark.parametrize(
    "key",
    [
        [{"slice": [None, None, None]}, "newaxis", "newaxis"],
        ["...", "newaxis"],
        ["newaxis", "...", 0, "newaxis"],
        [0, "newaxis", {"slice": [1, None, None]}, "newaxis"],
    ],
)
def test_tensor_function_makes_new_axes_as_numpy(key):
    parts = {"newaxis": None, "...": Ellipsis}
    x = np.arange(24).reshape(2, 3, 4)
    expected = x[tuple(slice(*i["slice"]) if isinstance(i, dict) else parts.get(i, i)
                       for i in key)]  # fmt: skip
    layer = TensorFunction("get_item", options={"key": key})
    found = tensor_function(layer, tf.constant(x))
    np.testing.assert_array_equal(found, expected)


def test_session_with_inputs_that_do_not_fit_recovers(model, file):
    session = open_file(file)
    good = padded_batch(2, 8)
    expected = session.run(good)["logits"]
    bad = {**good, "segment_ids": np.zeros((2, 5), np.int32)}
    with pytest.raises(ArtifactError, match=r"litert cannot run '.*model\.tflite'"):
        session.run(bad)
    np.testing.assert_array_equal(session.run(good)["logits"], expected)


def test_session_beyond_the_position_table_raises(file):
    with pytest.raises(ArtifactError, match="gather index out of bounds"):
        open_file(file).run(padded_batch(1, 25))


def test_code_clustered_transformer_codes_every_matrix(tmp_path):
    model = bert_classifier()
    rng = np.random.default_rng(1)
    codebook = rng.normal(0, 0.2, 16).astype(np.float32)
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(codebook[rng.integers(0, 16, variable.shape)])
    path = write(model, tmp_path)
    coded = tmp_path / "coded.tflite"
    result = code_file(path, coded)
    large = [row for row in result.tensors if row.dense_bytes >= 1024]
    assert {row.code for row in large} == {"codebook"}
    # All but the logits' kernel (3, 32); the tables of tokens and positions.
    assert len(large) == NUM_DENSE - 1 + 2
    assert not any(row.is_slower for row in large)
    assert operators(coded)["FULLY_CONNECTED"] == 1
    check_agrees(model, coded, 1e-5)


def test_export_tflite_that_is_refused_prints_nothing_of_the_converter(tmp_path, capfd):
    volume = keras.Input((8, 8, 8, 2), name="volume")
    model = keras.Model(volume, keras.layers.AveragePooling3D(2)(volume))
    with pytest.raises(UnsupportedModelError, match="AveragePooling3D: TensorFlow's A"):
        export_model(model, "tflite", tmp_path)
    printed = capfd.readouterr()
    assert "TF Select" not in printed.out + printed.err
    assert "loc(" not in printed.err
