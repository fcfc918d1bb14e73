"""MultiHeadAttention as leaves: masks of every kind, sizes, and what is refused."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import to_keras3, to_tf_keras
from tfcompress.errors import UnsupportedModelError

L = keras.layers
_LENGTHS = np.array([[5], [2], [1]])


def _steps(seed=0, length=5, width=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, length, width)).astype("float32")


def _self_attention(dtype=None, **config):
    inputs = keras.Input((None, 6), name="x")
    layer = L.MultiHeadAttention(2, 4, name="attention", dtype=dtype, **config)
    return keras.Model(inputs, layer(inputs, inputs))


@pytest.fixture(params=[0.0, 0.1], ids=["fused", "dropout"])
def dropout(request):
    """The rate decides how Keras 3 computes, and what a query without keys gets."""
    return request.param


def _check(model, arrays, randomize, difference, tolerance=1e-5):
    """Compares the source, its leaves, and the source after doubling every weight."""
    randomize(model)
    flat = to_tf_keras(model)
    assert difference(model(arrays), flat(arrays)) <= tolerance
    flat.set_weights([value * 1.1 for value in flat.get_weights()])
    assert difference(flat(arrays), to_keras3(model, flat)(arrays)) <= tolerance
    return flat


def test_leaves_are_named_after_the_source():
    flat = to_tf_keras(_self_attention())
    assert sorted(layer.name for layer in flat.layers) == [
        "attention/attention_output",
        "attention/context",
        "attention/dropout",
        "attention/key",
        "attention/key_heads",
        "attention/merged",
        "attention/query",
        "attention/query_heads",
        "attention/scores",
        "attention/softmax",
        "attention/value",
        "attention/value_heads",
        "x",
    ]
    for name in ("query", "key", "value", "attention_output"):
        layer = flat.get_layer(f"attention/{name}")
        assert type(layer) is tf_keras.layers.Dense
    assert flat.get_layer("attention/query").kernel.shape == (6, 8)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"value_dim": 3},
        {"output_shape": 7},
        {"use_bias": False},
        {"use_gate": True, "value_dim": 3},
        {"attention_axes": 1},
    ],
    ids=str,
)
def test_self_attention_gives_same_output(config, randomize, difference):
    _check(_self_attention(**config), _steps(), randomize, difference)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("mixed_float16", 4e-3), ("mixed_bfloat16", 3e-2)]
)
def test_mixed_precision_gives_same_output(
    dtype, tolerance, dropout, randomize, difference
):
    model = _self_attention(dtype, dropout=dropout)
    flat = _check(model, _steps(), randomize, difference, tolerance)
    assert flat.output.dtype == dtype.removeprefix("mixed_")
    assert flat.get_layer("attention/query").kernel.dtype == "float32"


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
@pytest.mark.parametrize("num_queries", [1, 5])
def test_attention_mask_hides_keys(num_queries, dtype, dropout, randomize, difference):
    inputs = keras.Input((None, 6))
    mask = keras.Input((num_queries, None), dtype=dtype)
    layer = L.MultiHeadAttention(2, 4, dropout=dropout)
    outputs = layer(inputs, inputs, attention_mask=mask)
    model = keras.Model([inputs, mask], outputs)
    values = np.random.default_rng(1).random((3, num_queries, 5)) < 0.5
    values[:, :, 0] = True
    if num_queries > 1:
        values[0, 2] = False  # a query with no keys at all
    _check(model, [_steps(), values.astype(dtype)], randomize, difference)


def test_implicit_mask_hides_keys_and_queries(dropout, randomize, difference):
    ids = keras.Input((None,), dtype="int32")
    x = L.Embedding(9, 6, mask_zero=True)(ids)
    x = L.MultiHeadAttention(2, 4, dropout=dropout)(x, x)
    # A layer that takes the mask of the attention's output.
    model = keras.Model(ids, L.LSTM(3)(x))
    values = np.random.default_rng(1).integers(1, 9, (3, 5)).astype("int32")
    values[np.arange(5) >= _LENGTHS] = 0
    _check(model, values, randomize, difference)
    model = keras.Model(ids, x)
    _check(model, values, randomize, difference)


def test_masks_of_queries_values_and_keys_are_joined(dropout, randomize, difference):
    def embedded(name):
        ids = keras.Input((None,), dtype="int32", name=name)
        return ids, L.Embedding(4, 6, mask_zero=True)(ids)

    names = ("queries", "values", "keys")
    inputs, tensors = zip(*map(embedded, names), strict=True)
    pairs = keras.Input((None, None), dtype="bool", name="pairs")
    layer = L.MultiHeadAttention(2, 4, dropout=dropout)
    outputs = layer(*tensors, attention_mask=pairs)
    model = keras.Model([*inputs, pairs], outputs)
    rng = np.random.default_rng(1)
    ids = [rng.integers(0, 4, (3, length)).astype("int32") for length in (4, 6, 6)]
    arrays = [*ids, rng.random((3, 4, 6)) < 0.7]
    _check(model, arrays, randomize, difference)


def test_mask_of_keys_alone_needs_no_further_leaves(randomize, difference):
    queries = keras.Input((None, 6), name="queries")
    ids = keras.Input((None,), dtype="int32", name="ids")
    values = L.Embedding(4, 6, mask_zero=True, name="e")(ids)
    outputs = L.MultiHeadAttention(2, 4, name="attention")(queries, values)
    arrays = [_steps(), np.array([[1, 2, 0], [3, 0, 0], [2, 1, 3]], "int32")]
    model = keras.Model([queries, ids], outputs)
    flat = _check(model, arrays, randomize, difference)
    functions = [x.name for x in flat.layers if type(x).__name__ == "TensorFunction"]
    assert functions == ["e/mask"]


@pytest.mark.parametrize("masked", [False, True])
def test_causal_mask_hides_what_comes_later(masked, dropout, randomize, difference):
    ids = keras.Input((None,), dtype="int32")
    x = L.Embedding(9, 6, mask_zero=masked)(ids)
    outputs = L.MultiHeadAttention(2, 4, dropout=dropout)(x, x, use_causal_mask=True)
    # Padding at the left, so that the first queries have nothing to look at.
    values = np.array([[0, 0, 1, 2, 3], [0, 4, 5, 6, 7]], "int32")
    _check(keras.Model(ids, outputs), values, randomize, difference)


def test_cross_attention_with_keys_gives_same_output(randomize, difference):
    shapes = [(4, 6), (5, 3), (5, 2)]
    inputs = [keras.Input((None, width)) for _, width in shapes]
    model = keras.Model(inputs, L.MultiHeadAttention(2, 4)(*inputs))
    arrays = [_steps(seed, *shape) for seed, shape in enumerate(shapes)]
    _check(model, arrays, randomize, difference)


def test_returned_scores_are_the_probabilities(dropout, randomize, difference):
    inputs = keras.Input((5, 6))
    layer = L.MultiHeadAttention(2, 4, dropout=dropout)
    model = keras.Model(inputs, layer(inputs, inputs, return_attention_scores=True))
    flat = _check(model, _steps(), randomize, difference)
    np.testing.assert_allclose(np.sum(flat(_steps())[1], -1), 1.0, rtol=1e-5)


def test_dropout_acts_in_training_alone():
    model = _self_attention(dropout=0.5, seed=3)
    flat = to_tf_keras(model)
    assert flat.get_layer("attention/dropout").rate == 0.5
    arrays = _steps()
    np.testing.assert_array_equal(flat(arrays), flat(arrays, training=False))
    assert np.abs(flat(arrays, training=True) - flat(arrays)).max() > 0.0


def test_shared_attention_stays_shared(randomize, difference):
    inputs = keras.Input((None, 6))
    layer = L.MultiHeadAttention(2, 4, name="twice")
    model = keras.Model(inputs, layer(layer(inputs, inputs), inputs))
    flat = _check(model, _steps(), randomize, difference)
    assert len([layer for layer in flat.layers if layer.weights]) == 4


def test_mask_taken_twice_raises():
    # Keras removes the mask of `x` in the first call, when the model runs.
    ids = keras.Input((None,), dtype="int32")
    x = L.Embedding(9, 6, mask_zero=True)(ids)
    y = L.MultiHeadAttention(2, 4, name="one")(x, x)
    model = keras.Model(ids, L.MultiHeadAttention(2, 4, name="two")(y, x))
    with pytest.raises(
        UnsupportedModelError,
        match=r"'two' \(MultiHeadAttention\) takes a masked tensor that an attention "
        "took before it; .*: pass attention_mask to both",
    ):
        to_tf_keras(model)


def test_penalties_are_logged(caplog):
    to_tf_keras(_self_attention(kernel_regularizer="l2"))
    assert "kernel_regularizer of 'attention'" in caplog.text


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"sliding_window": 2},
            "it has sliding_window=2; only sliding_window=None can",
        ),
        ({"output_shape": (2, 3)}, r"it has output_shape=\(2, 3\); one output axis"),
    ],
    ids=["sliding_window", "output_axes"],
)
def test_attention_with_other_arguments_crosses_as_it_is(
    config, words, randomize, check_kept
):
    model = randomize(_self_attention(**config))
    shape = (2, *(size or 5 for size in model.inputs[0].shape[1:]))
    arrays = np.random.default_rng(0).normal(size=shape).astype("float32")
    check_kept(model, arrays, words)


@pytest.mark.parametrize("axes", [None, 2])
def test_attention_along_other_axes_crosses_as_it_is(axes, randomize, check_kept):
    inputs = keras.Input((3, 4, 6))
    layer = L.MultiHeadAttention(2, 4, attention_axes=axes, name="attention")
    model = randomize(keras.Model(inputs, layer(inputs, inputs)))
    arrays = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype("float32")
    check_kept(model, arrays, r"'attention' .*with its weights: it has attention_axes=")


def test_attention_mask_of_another_rank_crosses_as_it_is(randomize, check_kept):
    # That shows in the call only, after the leaves were made.
    inputs, mask = keras.Input((5, 6)), keras.Input((2, 5, 5), dtype="bool")
    outputs = L.MultiHeadAttention(2, 4)(inputs, inputs, attention_mask=mask)
    model = randomize(keras.Model([inputs, mask], outputs))
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=(2, 5, 6)).astype("float32"),
        rng.random((2, 2, 5, 5)) > 0.4,
    ]
    check_kept(model, arrays, r"is called with an attention_mask of shape \(None, 2, 5")
