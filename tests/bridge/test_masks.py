"""What padding does on both sides: in the graph, in TFMOT's wrappers, in the loss."""

import re

import keras
import numpy as np
import pytest
from tensorflow_model_optimization import sparsity as tfmot_sparsity

from tfcompress.bridge import kept_layers, to_tf_keras

L = keras.layers
sparsity = tfmot_sparsity.keras

_IDS = np.array([[3, 1, 4, 0, 0], [2, 0, 5, 1, 0], [7, 7, 7, 7, 7]], "int32")
_OTHER = np.array([[1, 1, 0, 0, 0], [2, 3, 4, 5, 6], [1, 0, 0, 0, 0]], "int32")


def _embed(ids, *, mask_zero=True):
    return L.Embedding(9, 4, mask_zero=mask_zero)(ids)


def _two_masks(merge):
    def build(ids, other):
        return L.LSTM(3)(merge([_embed(ids), _embed(other)]))

    return build


def _nested_encoder(ids, other):
    inner = keras.Input((5,), dtype="int32")
    encoder = keras.Model(inner, L.Dense(4)(_embed(inner)), name="encoder")
    return L.GlobalAveragePooling1D()(encoder(ids))


def _nested_head(ids, other):
    head = keras.Sequential([keras.Input((5, 4)), L.LSTM(3, return_sequences=True)])
    return L.GlobalAveragePooling1D()(head(_embed(ids)))


def _explicit(ids, other):
    mask = keras.ops.not_equal(other, 0)
    return L.GRU(3)(_embed(ids, mask_zero=False), mask=mask)


def _explicit_over_implicit(ids, other):
    return L.LSTM(3)(_embed(ids), mask=keras.ops.not_equal(other, 0))


def _stopped_by_operation(ids, other):
    return L.LSTM(3)(_embed(ids) + 1.0)


def _stopped_by_layer(ids, other):
    return L.GlobalAveragePooling1D()(L.Conv1D(4, 2, padding="same")(_embed(ids)))


CASES = {
    "average": lambda ids, _: L.GlobalAveragePooling1D()(_embed(ids)),
    "lstm": lambda ids, _: L.LSTM(3)(_embed(ids)),
    "two_lstms": lambda ids, _: L.LSTM(3)(
        L.LSTM(3, return_sequences=True)(_embed(ids))
    ),
    "bidirectional": lambda ids, _: L.Bidirectional(L.GRU(3, return_sequences=True))(
        _embed(ids)
    ),
    "bidirectional_apart": lambda ids, _: L.Bidirectional(
        L.GRU(3, return_sequences=True), merge_mode=None
    )(_embed(ids)),
    "masking": lambda ids, _: L.LSTM(3)(L.Masking()(_embed(ids, mask_zero=False))),
    "through_layers": lambda ids, _: L.GlobalAveragePooling1D()(
        L.LayerNormalization()(L.Dropout(0.5)(L.Identity()(L.Dense(4)(_embed(ids)))))
    ),
    "batch_norm": lambda ids, _: L.LSTM(3)(L.BatchNormalization()(_embed(ids))),
    "add": _two_masks(L.Add()),
    "concatenate": _two_masks(L.Concatenate()),
    "add_unmasked": lambda ids, other: L.LSTM(3)(
        L.Add()([_embed(ids), _embed(other, mask_zero=False)])
    ),
    "add_same": lambda ids, _: L.LSTM(3)(L.Add()([e := _embed(ids), L.Dense(4)(e)])),
    "softmax": lambda ids, other: L.Softmax()(
        L.Dense(5)(L.GlobalAveragePooling1D()(_embed(ids, mask_zero=False))),
        mask=keras.ops.not_equal(other, 0),
    ),
    "nested_encoder": _nested_encoder,
    "nested_head": _nested_head,
    "explicit": _explicit,
    "explicit_over_implicit": _explicit_over_implicit,
    "stopped_by_operation": _stopped_by_operation,
    "stopped_by_layer": _stopped_by_layer,
}


def _model(build):
    ids = keras.Input((5,), dtype="int32", name="ids")
    other = keras.Input((5,), dtype="int32", name="other")
    return keras.Model([ids, other], build(ids, other))


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking")
@pytest.mark.parametrize("case", CASES)
def test_padding_is_left_out_as_in_keras_3(case, randomize, difference):
    model = randomize(_model(CASES[case]))
    flat = to_tf_keras(model)
    expected = model.predict([_IDS, _OTHER], verbose=0)
    assert difference(expected, flat([_IDS, _OTHER])) <= 1e-5


@pytest.mark.parametrize("case", ["average", "lstm", "two_lstms", "add"])
def test_padding_is_left_out_in_wrapped_model_too(case, randomize, difference):
    model = randomize(_model(CASES[case]))
    wrapped = sparsity.prune_low_magnitude(
        to_tf_keras(model), sparsity.ConstantSparsity(0.0, begin_step=0)
    )
    expected = model.predict([_IDS, _OTHER], verbose=0)
    assert difference(expected, wrapped([_IDS, _OTHER])) <= 1e-5


def test_padding_changes_nothing(randomize):
    ids = keras.Input((None,), dtype="int32")
    model = randomize(keras.Model(ids, L.LSTM(3)(_embed(ids))))
    flat = to_tf_keras(model)
    short, padded = np.array([[3, 1, 4]]), np.array([[3, 1, 4, 0, 0]])
    np.testing.assert_allclose(flat(padded), flat(short), rtol=1e-5)


def test_softmax_with_everything_masked_gives_zeros():
    logits, mask = keras.Input((3,)), keras.Input((3,), dtype="bool")
    model = keras.Model([logits, mask], L.Softmax()(logits, mask=mask))
    arrays = [np.ones((1, 3), "float32"), np.zeros((1, 3), bool)]
    np.testing.assert_array_equal(to_tf_keras(model)(arrays), np.zeros((1, 3)))


def test_masked_output_is_left_out_of_the_loss():
    ids = keras.Input((5,), dtype="int32")
    model = keras.Model(ids, L.Dense(1)(_embed(ids)))
    flat = to_tf_keras(model)
    targets = np.where(_IDS == 0, 1e6, 0.0)[..., np.newaxis]
    flat.compile(loss="mse")
    assert flat.evaluate(_IDS, targets, verbose=0) < 1.0


@pytest.mark.parametrize(
    ("merge", "words"),
    [
        (L.Maximum(name="merge"), "has no weights"),
        (L.Concatenate(axis=1, name="merge"), "has no weights"),
    ],
    ids=["maximum", "concatenate_steps"],
)
def test_merge_of_masked_tensors_crosses_as_it_is(merge, words, difference):
    model = _model(_two_masks(merge))
    flat = to_tf_keras(model)
    assert re.search(words, " ".join(row.reason for row in kept_layers(flat)))
    assert difference(model([_IDS, _OTHER]), flat([_IDS, _OTHER])) <= 1e-5
