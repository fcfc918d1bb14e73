"""keras-hub's layers and what goes with them: embeddings, blocks, activations."""

import os
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import kept_layers, to_keras3, to_tf_keras
from tfcompress.errors import UnsupportedModelError

L = keras.layers
_PADDING = (np.arange(5) < np.array([[5], [3], [1]])).astype("int32")
_IDS = np.array([[1, 2, 3, 4, 8], [5, 6, 7, 0, 0], [2, 0, 0, 0, 0]], "int32")


def _steps():
    return np.random.default_rng(0).normal(size=(3, 5, 8)).astype("float32")


def _check(model, arrays, difference):
    """Compares the source, its leaves, and what came back with other weights."""
    flat = to_tf_keras(model)
    assert difference(model(arrays), flat(arrays)) <= 1e-5
    flat.set_weights([value * 1.1 for value in flat.get_weights()])
    assert difference(flat(arrays), to_keras3(model, flat)(arrays)) <= 1e-5
    return flat


def _encoder(**config):
    return keras_hub.layers.TransformerEncoder(12, 2, name="block", **config)


def _block(calls=(), **config):
    """A model of one TransformerEncoder, called with further inputs of these names."""
    shapes = {"padding_mask": (None,), "attention_mask": (None, None)}
    inputs = keras.Input((None, 8), name="x")
    masks = {
        name: keras.Input(shapes[name], dtype="int32", name=name) for name in calls
    }
    outputs = _encoder(**config)(inputs, **masks)
    return keras.Model([inputs, *masks.values()], outputs)


def test_leaves_of_a_block_are_named_after_it():
    flat = to_tf_keras(_block(["padding_mask"], activation="gelu"))
    names = {layer.name for layer in flat.layers} - {"x", "padding_mask"}
    attention = (
        "query key value query_heads key_heads value_heads scores masked_scores "
        "softmax dropout context merged attention_output"
    )
    rest = (
        "attention_output_dropout attention_add attention_norm intermediate output "
        "output_dropout output_add output_norm"
    )
    assert names == {f"block/{name}" for name in f"{attention} {rest}".split()}


@pytest.mark.parametrize("normalize_first", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize(
    "calls",
    [(), ("padding_mask",), ("attention_mask",), ("padding_mask", "attention_mask")],
    ids=len,
)
def test_block_gives_same_output(
    calls, dropout, normalize_first, randomize, difference
):
    config = {
        "activation": keras.activations.silu,
        "layer_norm_epsilon": 0.01,
        "dropout": dropout,
        "normalize_first": normalize_first,
    }
    model = randomize(_block(calls, **config))
    pairs = np.random.default_rng(1).random((3, 5, 5)) < 0.7
    arrays = {"padding_mask": _PADDING, "attention_mask": pairs.astype("int32")}
    flat = _check(model, [_steps(), *(arrays[name] for name in calls)], difference)
    assert flat.get_layer("block/attention_norm").epsilon == 0.01
    assert flat.get_layer("block/dropout").rate == dropout


@pytest.mark.parametrize("normalize_first", [False, True])
@pytest.mark.parametrize("has_padding_mask", [False, True])
def test_block_takes_the_mask_of_its_input(
    has_padding_mask, normalize_first, randomize, difference
):
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = keras.Input((None,), dtype="int32", name="mask")
    x = L.Embedding(9, 8, mask_zero=True)(ids)
    for number in range(2):
        block = keras_hub.layers.TransformerEncoder(
            12, 2, dropout=0.1, normalize_first=normalize_first, name=f"block_{number}"
        )
        x = block(x, padding_mask=mask if has_padding_mask else None)
    model = keras.Model([ids, mask], [x, L.GlobalAveragePooling1D()(x)])
    if not has_padding_mask:
        model = keras.Model(ids, model.outputs)
    padding = _PADDING[[0, 2, 1]]
    arrays = [_IDS, padding] if has_padding_mask else _IDS
    _check(randomize(model), arrays, difference)


def test_block_that_returns_its_attention_scores_raises():
    # keras-hub says of it that it gives one tensor, and it gives two.
    inputs = keras.Input((5, 8))
    outputs = _encoder()(inputs, return_attention_scores=True)
    with pytest.raises(
        UnsupportedModelError,
        match=r"'block' \(TransformerEncoder\) gives .* at inference, and Keras 3 says",
    ):
        to_tf_keras(keras.Model(inputs, outputs))


def test_shared_block_stays_shared(randomize, difference):
    inputs, mask = keras.Input((None, 8)), keras.Input((None,), dtype="int32")
    block = _encoder()
    x = inputs
    for _ in range(3):
        x = block(x, padding_mask=mask)
    model = randomize(keras.Model([inputs, mask], x))
    flat = _check(model, [_steps(), _PADDING], difference)
    assert len([layer for layer in flat.layers if layer.weights]) == 8


def test_frozen_block_has_frozen_leaves():
    model = _block()
    model.get_layer("block").trainable = False
    assert to_tf_keras(model).trainable_weights == []


def test_gelu_by_tanh_is_a_leaf_of_its_own(difference):
    backbone = keras_hub.models.BertBackbone(9, 1, 1, 2, 2)
    activation = backbone.get_layer("transformer_layer_0").activation
    values = np.linspace(-4.0, 4.0, 15, dtype="float32").reshape(1, 15)
    dense = L.Dense(15, activation=activation, name="dense")
    model = keras.Sequential([keras.Input((15,)), dense])
    dense.kernel.assign(np.eye(15))
    flat = to_tf_keras(model)
    assert [layer.name for layer in flat.layers[1:]] == ["dense", "dense/activation"]
    expected = keras.activations.gelu(values, approximate=True)
    assert difference(expected, flat(values)) <= 1e-6
    # The exact one differs by more than that.
    assert difference(expected, keras.activations.gelu(values)) > 1e-5


def test_function_of_the_user_as_activation_crosses_as_it_is():
    def gelu_approximate(x):
        return keras.activations.gelu(x, approximate=True)

    rows = kept_layers(to_tf_keras(_block(activation=gelu_approximate)))
    assert [row.name for row in rows] == ["block/intermediate/activation"]


@pytest.mark.filterwarnings("ignore:Layer 'position_embedding' .* passed an input with")
@pytest.mark.parametrize("mask_zero", [False, True])
def test_token_and_position_embedding_gives_same_output(
    mask_zero, randomize, difference
):
    ids = keras.Input((None,), dtype="int32", name="ids")
    layer = keras_hub.layers.TokenAndPositionEmbedding(
        9, 7, 8, mask_zero=mask_zero, name="embeddings"
    )
    # The LSTM takes the mask, where there is one.
    model = randomize(keras.Model(ids, L.LSTM(4, name="lstm")(layer(ids))))
    flat = _check(model, _IDS, difference)
    names = [layer.name for layer in flat.layers if layer.weights]
    assert names == [
        "embeddings/token_embedding",
        "embeddings/position_embedding",
        "lstm",
    ]


def test_position_embedding_takes_any_length_and_rank(randomize, difference):
    inputs = keras.Input((None, None, 8))
    layer = keras_hub.layers.PositionEmbedding(7, name="positions")
    model = randomize(keras.Model(inputs, layer(inputs)))
    for length in (1, 4, 7):
        _check(model, np.zeros((2, 3, length, 8), "float32"), difference)


def test_sequence_beyond_the_position_table_raises():
    inputs = keras.Input((None, 8))
    layer = keras_hub.layers.PositionEmbedding(4)
    flat = to_tf_keras(keras.Model(inputs, layer(inputs)))
    with pytest.raises(Exception, match=r"indices\[.*4\] = 4 is not in \[0, 4\)"):
        flat(np.zeros((1, 5, 8), "float32"))


def test_positions_from_another_start_cross_as_they_are(randomize, check_kept):
    inputs = keras.Input((3, 8))
    layer = keras_hub.layers.PositionEmbedding(7, name="positions")
    model = randomize(keras.Model(inputs, layer(inputs, start_index=2)))
    arrays = np.zeros((2, 3, 8), "float32")
    check_kept(model, arrays, "'positions'.*: it is called with start_index or posi")


@pytest.mark.parametrize("package", [keras, keras_hub])
def test_tied_projection_shares_the_leaf_of_the_embedding(
    package, randomize, difference
):
    ids = keras.Input((None,), dtype="int32")
    layer = package.layers.ReversibleEmbedding(9, 8, mask_zero=True, name="words")
    logits = layer(L.Dense(8, name="dense")(layer(ids)), reverse=True)
    flat = _check(randomize(keras.Model(ids, logits)), _IDS, difference)
    assert [layer.name for layer in flat.layers if layer.weights] == ["words", "dense"]
    assert type(flat.get_layer("words")) is tf_keras.layers.Embedding


def test_untied_projection_crosses_as_it_is(randomize, check_kept):
    ids = keras.Input((None,), dtype="int32")
    layer = L.ReversibleEmbedding(9, 8, tie_weights=False, name="words")
    model = randomize(keras.Model(ids, layer(layer(ids), reverse=True)))
    check_kept(model, _IDS, "'words'.*: it has tie_weights=False; an Embedding, and a")


@pytest.mark.parametrize(
    ("field", "value"), [("logit_soft_cap", 2.0), ("reverse_dtype", "float32")]
)
def test_projection_with_further_steps_crosses_as_it_is(
    field, value, randomize, check_kept
):
    ids = keras.Input((None,), dtype="int32")
    layer = L.ReversibleEmbedding(9, 8, name="words", **{field: value})
    model = randomize(keras.Model(ids, layer(layer(ids), reverse=True)))
    check_kept(
        model, _IDS, f"has {field}={value!r} and is called with reverse=True; only"
    )


class Stateful(L.Layer):
    """A layer of the user's with a weight that its calls change."""

    def build(self, input_shape):
        self.calls = self.add_weight(shape=(), trainable=False, name="calls")

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return inputs


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (L.Lambda(lambda x: x, name="odd"), r"'odd' \(Lambda\) cannot cross"),
        (L.LSTM(8, stateful=True, name="odd"), r"'odd' \(LSTM\) has stateful=True"),
    ],
    ids=["lambda", "stateful"],
)
def test_other_layer_beside_a_block_raises(layer, words):
    inputs = keras.Input((5, 8), batch_size=1)
    model = keras.Model(inputs, layer(_encoder()(inputs)))
    with pytest.raises(UnsupportedModelError, match=words) as caught:
        to_tf_keras(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Stateful(name="odd"), r"own class Stateful without rule; .*{Stateful: rule}"),
        (
            keras_hub.layers.FNetEncoder(4, name="odd"),
            r"\(FNetEncoder\) .*keras-hub's class FNetEncoder without rule; in Python",
        ),
    ],
    ids=["custom", "keras_hub"],
)
def test_other_layer_beside_a_block_crosses_as_it_is(
    layer, words, randomize, check_kept
):
    inputs = keras.Input((5, 8), batch_size=1)
    model = randomize(keras.Model(inputs, layer(_encoder()(inputs))))
    arrays = np.random.default_rng(0).normal(size=(1, 5, 8)).astype("float32")
    check_kept(model, arrays, words, tolerance=1e-5)


def test_model_without_such_layers_does_not_import_keras_hub():
    code = (
        "import sys, keras; from tfcompress.bridge import to_tf_keras; "
        "to_tf_keras(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])); "
        "print(*(name for name in sys.modules if name.startswith('keras_hub')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert done.stdout.strip() == ""
