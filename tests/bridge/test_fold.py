"""Folding BatchNormalization into the layer before it."""

import keras
import numpy as np
import pytest

from tfcompress.bridge import BatchNormFold, batch_norm_folds, fold_batch_norm
from tfcompress.errors import InvalidValueError

L = keras.layers

# name -> (layer before, input shape).
CASES = {
    "conv_1d": (lambda: L.Conv1D(4, 3), (7, 5)),
    "conv_1d_transpose": (lambda: L.Conv1DTranspose(4, 3, strides=2), (7, 5)),
    "conv_2d": (lambda: L.Conv2D(4, 3, use_bias=False), (8, 7, 6)),
    "conv_2d_groups": (lambda: L.Conv2D(4, 3, groups=2), (8, 7, 6)),
    "conv_2d_transpose": (lambda: L.Conv2DTranspose(4, 3, strides=2), (8, 7, 6)),
    "conv_3d": (lambda: L.Conv3D(4, 2), (4, 5, 4, 3)),
    "conv_3d_transpose": (lambda: L.Conv3DTranspose(4, 2), (3, 4, 3, 3)),
    "dense": (lambda: L.Dense(4), (5,)),
    "dense_on_steps": (lambda: L.Dense(4, use_bias=False), (7, 5)),
    "depthwise_conv_1d": (lambda: L.DepthwiseConv1D(3, depth_multiplier=2), (7, 5)),
    "depthwise_conv_2d": (
        lambda: L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
        (8, 7, 6),
    ),
    "separable_conv_1d": (lambda: L.SeparableConv1D(4, 3), (7, 5)),
    "separable_conv_2d": (
        lambda: L.SeparableConv2D(4, 3, depth_multiplier=2, use_bias=False),
        (8, 7, 6),
    ),
}


def _norms(model):
    return [
        layer.name
        for layer in model._flatten_layers()
        if isinstance(layer, L.BatchNormalization)
    ]


def _inputs(model):
    shape = [2, *model.input_shape[1:]]
    return np.random.default_rng(1).normal(size=shape).astype("float32")


@pytest.mark.parametrize("case", CASES)
def test_fold_gives_same_output_without_the_layer(case, randomize, difference):
    make, shape = CASES[case]
    norm = L.BatchNormalization(name="norm")
    model = randomize(keras.Sequential([keras.Input(shape), make(), norm, L.ReLU()]))
    folded = fold_batch_norm(model)
    assert _norms(folded) == []
    inputs = _inputs(model)
    assert difference(model(inputs), folded(inputs)) <= 1e-5


def test_fold_gives_known_weights():
    model = keras.Sequential(
        [
            keras.Input((1,)),
            L.Dense(2, name="dense"),
            L.BatchNormalization(epsilon=0.0, name="norm"),
        ]
    )
    model.get_layer("dense").set_weights([np.array([[1.0, 2.0]]), np.array([3.0, 4.0])])
    # gamma, beta, mean, variance
    model.get_layer("norm").set_weights(
        [np.array(row) for row in ([2.0, 3.0], [10.0, 20.0], [1.0, 2.0], [4.0, 9.0])]
    )
    kernel, bias = fold_batch_norm(model).get_layer("dense").get_weights()
    np.testing.assert_allclose(kernel, [[1.0, 2.0]])
    np.testing.assert_allclose(bias, [12.0, 22.0])


def test_fold_without_scale_and_center(randomize, difference):
    norm = L.BatchNormalization(scale=False, center=False)
    model = randomize(keras.Sequential([keras.Input((5,)), L.Dense(4), norm]))
    inputs = _inputs(model)
    assert difference(model(inputs), fold_batch_norm(model)(inputs)) <= 1e-5


def test_fold_leaves_the_model_as_it_was(randomize):
    model = randomize(
        keras.Sequential([keras.Input((5,)), L.Dense(4), L.BatchNormalization()])
    )
    before = [value.copy() for value in model.get_weights()]
    num_calls = [len(layer._inbound_nodes) for layer in model.layers]
    fold_batch_norm(model)
    for value, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)
    assert [len(layer._inbound_nodes) for layer in model.layers] == num_calls


def _shared_dense():
    inputs = keras.Input((4,))
    dense = L.Dense(4, name="dense")
    return keras.Model(inputs, L.BatchNormalization(name="norm")(dense(dense(inputs))))


def _shared_norm():
    inputs = keras.Input((4,))
    norm = L.BatchNormalization(name="norm")
    hidden = norm(L.Dense(4, name="a")(inputs))
    return keras.Model(inputs, norm(L.Dense(4, name="b")(hidden)))


def _read_twice():
    inputs = keras.Input((4,))
    hidden = L.Dense(4, name="dense")(inputs)
    return keras.Model(inputs, L.BatchNormalization(name="norm")(hidden) + hidden)


def _output_too():
    inputs = keras.Input((4,))
    hidden = L.Dense(4, name="dense")(inputs)
    return keras.Model(inputs, [L.BatchNormalization(name="norm")(hidden), hidden])


def _after(*layers, shape=(4,)):
    return keras.Sequential([keras.Input(shape), *layers])


# name -> (model, reason, the layer that converters multiply it into all the same).
KEPT = {
    "first_layer": (
        lambda: _after(L.BatchNormalization(name="norm")),
        "it follows an input of the model",
        None,
    ),
    "after_pooling": (
        lambda: _after(
            L.MaxPooling1D(2, name="pool"),
            L.BatchNormalization(name="norm"),
            shape=(4, 4),
        ),
        "it follows 'pool' (MaxPooling1D)",
        None,
    ),
    "activation": (
        lambda: _after(
            L.Dense(4, activation="relu", name="dense"),
            L.BatchNormalization(name="norm"),
        ),
        "'dense' has an activation",
        None,
    ),
    "axis": (
        lambda: _after(
            L.Dense(4, name="dense"),
            L.BatchNormalization(axis=1, name="norm"),
            shape=(3, 5),
        ),
        "its axis 1 is not the channels of 'dense'",
        None,
    ),
    "renorm": (
        lambda: _after(
            L.Dense(4, name="dense"), L.BatchNormalization(renorm=True, name="norm")
        ),
        "it has renorm=True",
        "dense",
    ),
    "dtype": (
        lambda: _after(
            L.Dense(4, name="dense"), L.BatchNormalization(dtype="float64", name="norm")
        ),
        "it computes in another dtype than 'dense'",
        "dense",
    ),
    "shared_layer": (_shared_dense, "'dense' is shared", "dense"),
    "shared_norm": (_shared_norm, "'norm' is shared", "a"),
    "read_twice": (_read_twice, "the output of 'dense' is used elsewhere too", None),
    "output_too": (_output_too, "the output of 'dense' is used elsewhere too", None),
}


@pytest.mark.parametrize("case", KEPT)
def test_norm_that_cannot_be_folded_stays_with_a_reason(case, randomize, difference):
    make, reason, spoils = KEPT[case]
    model = randomize(make())
    assert batch_norm_folds(model)[0] == BatchNormFold("norm", None, reason, spoils)
    folded = fold_batch_norm(model)
    assert _norms(folded) == ["norm"]
    inputs = _inputs(model)
    assert difference(model(inputs), folded(inputs)) <= 1e-5


def _nested(*layers, name, shape=(4,)):
    return keras.Sequential([keras.Input(shape), *layers], name=name)


THROUGH = {
    "dropout": lambda: _after(
        L.Dense(4, name="a"), L.Dropout(0.5), L.BatchNormalization(name="norm")
    ),
    "linear_activation": lambda: _after(
        L.Dense(4, name="a"), L.Activation("linear"), L.BatchNormalization(name="norm")
    ),
    "another_norm": lambda: _after(
        L.Dense(4, name="a"), L.BatchNormalization(), L.BatchNormalization(name="norm")
    ),
    "dense_after": lambda: _after(
        L.ReLU(), L.BatchNormalization(name="norm"), L.Dropout(0.5), L.Dense(3)
    ),
    "norms_before_dense": lambda: _after(
        L.ReLU(), L.BatchNormalization(), L.BatchNormalization(name="norm"), L.Dense(3)
    ),
    "both_sides": lambda: _after(
        L.ReLU(), L.BatchNormalization(name="norm"), L.Dense(3), L.BatchNormalization()
    ),
    "end_of_a_nested_model": lambda: _after(
        _nested(L.Dense(4), L.Dropout(0.1), name="in"),
        L.BatchNormalization(name="norm"),
    ),
    "start_of_a_nested_model": lambda: _after(
        L.Dense(4), _nested(L.BatchNormalization(name="norm"), L.ReLU(), name="in")
    ),
}


@pytest.mark.parametrize("case", THROUGH)
def test_fold_goes_through_what_changes_nothing(case, randomize, difference):
    model = randomize(THROUGH[case]())
    assert all(row.into for row in batch_norm_folds(model))
    folded = fold_batch_norm(model)
    assert _norms(folded) == []
    inputs = _inputs(model)
    assert difference(model(inputs), folded(inputs)) <= 1e-5


def test_fold_into_the_dense_after_gives_known_weights():
    norm = L.BatchNormalization(epsilon=0.0, name="norm")
    model = _after(L.ReLU(), norm, L.Dense(1, name="dense"), shape=(2,))
    # gamma, beta, mean, variance
    norm.set_weights([np.array(r) for r in ([2, 3], [10, 20], [1, 2], [4, 9])])
    model.get_layer("dense").set_weights([np.array([[1.0], [2.0]]), np.array([3.0])])
    assert batch_norm_folds(model) == (BatchNormFold("norm", "dense"),)
    kernel, bias = fold_batch_norm(model).get_layer("dense").get_weights()
    np.testing.assert_allclose(kernel, [[1.0], [2.0]])  # factors: 2 / 2 and 3 / 3
    np.testing.assert_allclose(bias, [3.0 + 9.0 + 2 * 18.0])


def test_a_norm_that_is_to_be_kept_stays(randomize, difference):
    names = ("norm", "other")
    model = randomize(
        _after(*(x for n in names for x in (L.Dense(4), L.BatchNormalization(name=n))))
    )
    row, other = batch_norm_folds(model, keep=["norm"])
    assert row.reason == "it is to be kept"
    assert other.into is not None
    folded = fold_batch_norm(model, keep=["norm"])
    assert _norms(folded) == ["norm"]
    inputs = _inputs(model)
    assert difference(model(inputs), folded(inputs)) <= 1e-5


def test_a_folded_sequential_is_sequential_and_frozen_layers_stay_frozen(randomize):
    model = _after(L.Dense(4, trainable=False), L.BatchNormalization(), L.Dense(2))
    folded = fold_batch_norm(randomize(model))
    assert type(folded) is keras.Sequential
    assert folded.input_shape == model.input_shape
    assert [layer.trainable for layer in folded.layers] == [False, True]


def test_fold_reaches_nested_and_shared_models(randomize, difference):
    block = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(4, name="dense"),
            L.BatchNormalization(name="norm"),
            L.ReLU(),
        ],
        name="block",
    )
    inputs = keras.Input((4,), name="inputs")
    model = randomize(keras.Model(inputs, block(L.Dense(4)(block(inputs))), name="m"))
    assert batch_norm_folds(model) == (BatchNormFold("block/norm", "block/dense"),)
    folded = fold_batch_norm(model)
    assert _norms(folded) == []
    assert folded.name == "m"
    assert folded.inputs[0].name == "inputs"
    arrays = _inputs(model)
    assert difference(model(arrays), folded(arrays)) <= 1e-5


def test_fold_keeps_structure_and_masks(randomize, difference):
    inputs = {"ids": keras.Input((6,), dtype="int32", name="ids")}
    hidden = L.Embedding(9, 4, mask_zero=True)(inputs["ids"])
    hidden = L.BatchNormalization()(L.Dense(5)(hidden))
    model = randomize(keras.Model(inputs, {"state": L.LSTM(3)(hidden)}))
    folded = fold_batch_norm(model)
    assert _norms(folded) == []
    arrays = {"ids": np.array([[1, 2, 3, 0, 0, 0], [4, 0, 5, 6, 0, 0]], "int32")}
    assert difference(model(arrays), folded(arrays)) <= 1e-5


def test_folded_model_saves_and_loads(tmp_path, randomize, difference):
    model = randomize(
        keras.Sequential(
            [keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU()]
        )
    )
    fold_batch_norm(model).save(tmp_path / "folded.keras")
    loaded = keras.saving.load_model(tmp_path / "folded.keras")
    inputs = _inputs(model)
    assert difference(model(inputs), loaded(inputs)) <= 1e-5


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_fold_of_an_application_gives_same_output(name, randomize_norms, difference):
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(32, 32, 3), classifier_activation=None
    )
    folded = fold_batch_norm(randomize_norms(model))
    assert _norms(folded) == []
    inputs = _inputs(model)
    assert difference(model(inputs), folded(inputs)) <= 1e-4


def test_fold_of_what_is_no_model_raises():
    with pytest.raises(InvalidValueError, match="must be a Keras 3 model"):
        fold_batch_norm(L.Dense(3))
