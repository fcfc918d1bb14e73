"""Operations in a functional graph: `x + y` and `keras.ops`."""

import keras
import numpy as np
import pytest
import tf_keras
from keras import ops

from tfcompress.bridge import kept_layers, to_tf_keras
from tfcompress.errors import UnsupportedModelError

# name -> function of two tensors of the shape (batch, 4, 6).
CASES = {
    "absolute": lambda x, y: ops.abs(x),
    "add": lambda x, y: x + y,
    "add_number": lambda x, y: 1.5 + x,
    "add_array": lambda x, y: x + np.arange(6, dtype="float32"),
    "add_broadcast": lambda x, y: x + y[:, :1],
    "add_integer": lambda x, y: x + ops.cast(y, "int32"),
    "cast": lambda x, y: ops.cast(x, "float16"),
    "concatenate": lambda x, y: ops.concatenate([x, y], axis=-1),
    "divide": lambda x, y: x / (ops.abs(y) + 1.0),
    "divide_number": lambda x, y: 2.0 / (ops.abs(y) + 1.0),
    "elu": lambda x, y: ops.elu(x, alpha=0.4),
    "equal": lambda x, y: ops.cast(ops.equal(ops.maximum(x, 0.0), x), "float32"),
    "exp_log": lambda x, y: ops.log(ops.exp(x) + 1.0),
    "expand_squeeze": lambda x, y: ops.squeeze(ops.expand_dims(x, 1), 1),
    "gelu": lambda x, y: ops.gelu(x),
    "gelu_exact": lambda x, y: ops.gelu(x, approximate=False),
    "get_item": lambda x, y: x[:, 0],
    "get_item_slice": lambda x, y: x[..., None, 1:5:2],
    "get_item_negative": lambda x, y: x[:, -1, ::-1],
    "hard_silu": lambda x, y: ops.hard_silu(x),
    "leaky_relu": lambda x, y: keras.activations.leaky_relu(x, negative_slope=0.3),
    "log_softmax": lambda x, y: ops.log_softmax(x, axis=1),
    "logical": lambda x, y: ops.cast(
        ops.logical_or(ops.logical_and(x > 0.0, y > 0.0), ops.logical_not(x > y)),
        "float32",
    ),
    "comparisons": lambda x, y: (
        ops.cast(
            ops.logical_and(ops.logical_and(x >= y, x <= 1.0), ops.not_equal(x, y)),
            "float32",
        )
        + ops.cast(x < 0.0, "float32")
    ),
    "matmul": lambda x, y: ops.matmul(x, ops.transpose(y, (0, 2, 1))),
    "maximum": lambda x, y: ops.maximum(x, y),
    "max": lambda x, y: ops.max(x, axis=-1),
    "mean": lambda x, y: ops.mean(x, axis=(1, 2), keepdims=True),
    "min": lambda x, y: ops.min(x, axis=1),
    "minimum": lambda x, y: ops.minimum(x, 0.5),
    "multiply": lambda x, y: x * y,
    "negative": lambda x, y: -x,
    "power": lambda x, y: x**2,
    "relu": lambda x, y: ops.relu(x),
    "relu_capped": lambda x, y: keras.activations.relu(x, max_value=0.5),
    "reshape": lambda x, y: ops.reshape(x, (-1, 3, 8)),
    "reshape_batch": lambda x, y: ops.reshape(x, (-1, 6)),
    "rsqrt": lambda x, y: ops.rsqrt(ops.square(x) + 1.0),
    "sigmoid_tanh": lambda x, y: ops.sigmoid(x) * ops.tanh(y),
    "softmax": lambda x, y: ops.softmax(x, axis=1),
    "sqrt": lambda x, y: ops.sqrt(ops.abs(x)),
    "subtract": lambda x, y: x - y,
    "subtract_from_number": lambda x, y: 1.0 - x,
    "sum": lambda x, y: ops.sum(x, axis=1),
    "transpose": lambda x, y: ops.transpose(x, (0, 2, 1)),
    "two_of_a_kind": lambda x, y: (x + 1.0) * (y + 2.0) * 3.0,
}


def _model(function):
    x, y = keras.Input((4, 6), name="x"), keras.Input((4, 6), name="y")
    return keras.Model([x, y], function(x, y))


@pytest.mark.parametrize("case", CASES)
def test_operation_in_tf_keras_gives_same_output(case, difference):
    model = _model(CASES[case])
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 4, 6)).astype("float32") for _ in range(2)]
    flat = to_tf_keras(model)
    assert difference(model(arrays), flat(arrays)) <= 1e-5
    # A clone is built from the config alone, as TFMOT builds its wrapped model.
    assert difference(model(arrays), tf_keras.models.clone_model(flat)(arrays)) <= 1e-5


def test_sum_of_two_tensors_becomes_an_add_layer():
    model = keras.Model(*_named_sum())
    assert type(to_tf_keras(model).get_layer("add")) is tf_keras.layers.Add


def _named_sum():
    x, y = keras.Input((2,)), keras.Input((2,))
    return [x, y], keras.src.ops.numpy.Add(name="add")(x, y)


# What crosses as it is: without a rule, or where the rule does not go that far.
KEPT = {
    "argmax": lambda x, y: ops.argmax(x, axis=-1),
    "clip": lambda x, y: ops.clip(x, -0.5, 0.5),
    "cumsum": lambda x, y: ops.cumsum(x, axis=1),
    "einsum": lambda x, y: ops.einsum("abc,adc->abd", x, y),
    "equal_of_dtypes": lambda x, y: ops.equal(ops.round(x), ops.cast(y, "int32")),
    "erf": lambda x, y: ops.erf(x),
    "flip": lambda x, y: ops.flip(x, axis=1),
    "logsumexp": lambda x, y: ops.logsumexp(x, axis=-1),
    "max_initial": lambda x, y: ops.max(x, axis=1, initial=3.0),
    "norm": lambda x, y: ops.norm(x, axis=-1),
    "normalize": lambda x, y: ops.normalize(x, axis=-1),
    "pad": lambda x, y: ops.pad(x, [[0, 0], [1, 0], [0, 2]]),
    "repeat": lambda x, y: ops.repeat(x, 2, axis=1),
    "reshape_of_shape": lambda x, y: ops.reshape(x, (-1, ops.shape(x)[1] * 3, 2)),
    "sin": lambda x, y: ops.sin(x),
    "split": lambda x, y: ops.split(x, 3, axis=-1),
    "stack": lambda x, y: ops.stack([x, y, x], axis=1),
    "std": lambda x, y: ops.std(x, axis=-1),
    "swapaxes": lambda x, y: ops.swapaxes(x, 1, 2),
    "take": lambda x, y: ops.take(x, np.array([0, 2]), axis=1),
    "tile": lambda x, y: ops.tile(x, [1, 2, 1]),
    "top_k": lambda x, y: ops.top_k(x, 2),
    "var": lambda x, y: ops.var(x, axis=-1),
    "where": lambda x, y: ops.where(x > 0.0, x, y),
}


@pytest.mark.parametrize("case", KEPT)
def test_operation_without_rule_crosses_as_it_is(case, difference):
    model = _model(KEPT[case])
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 4, 6)).astype("float32") for _ in range(2)]
    arrays[1][0] = np.round(arrays[0][0])
    flat = to_tf_keras(model)
    expected = model(arrays)
    assert difference(expected, flat(arrays)) <= 1e-6
    assert difference(expected, tf_keras.models.clone_model(flat)(arrays)) <= 1e-6
    if case != "reshape_of_shape":  # a Reshape, after all
        rows = [row.reason for row in kept_layers(flat)]
        assert "crosses as it is: an operation without weights" in rows


def test_slice_of_a_loaded_model_crosses(tmp_path, difference):
    # In a file the key of a slice is a list.
    _model(lambda x, y: x[:, 1:3, ..., None] * y[:, 0, None, :, None]).save(
        tmp_path / "model.keras"
    )
    model = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(3, 4, 6)).astype("float32")
    assert difference(model([x, x]), to_tf_keras(model)([x, x])) <= 1e-6


def test_reshape_to_a_size_that_is_not_known_raises():
    model = _model(lambda x, y: ops.reshape(x, (ops.shape(x)[0], 24)))
    with pytest.raises(
        UnsupportedModelError,
        match=r"\(Reshape\) has newshape=\(None, 24\), which Keras cannot compute "
        r"either; write -1 in place",
    ):
        to_tf_keras(model)


def test_operation_on_a_variable_raises():
    variable = keras.Variable(np.ones(6, "float32"), name="loose")
    model = _model(lambda x, y: x * variable)
    with pytest.raises(
        UnsupportedModelError,
        match="uses the variable 'loose', which no layer .*into a layer of your own",
    ):
        to_tf_keras(model)


def test_users_rule_for_an_operation_is_used():
    model = _model(lambda x, y: ops.cumsum(x, axis=1))
    operation = type(model.operations[-1])

    def last_step(operation, leaves):
        return leaves.compute("identity")

    arrays = [np.ones((1, 4, 6), "float32")] * 2
    flat = to_tf_keras(model, rules={operation: last_step})
    np.testing.assert_array_equal(flat(arrays), arrays[0])
