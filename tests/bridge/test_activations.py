"""An activation keeps its definition, also where the two sides use one name for two."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import to_tf_keras
from tfcompress.bridge.activations import SUPPORTED

_INPUTS = np.linspace(-7.0, 7.0, 57, dtype="float32").reshape(3, 19)


def _model(activation):
    dense = keras.layers.Dense(19, activation=activation, name="dense")
    model = keras.Sequential([keras.Input((19,)), dense])
    dense.kernel.assign(np.eye(19))
    return model


@pytest.mark.parametrize("name", SUPPORTED)
def test_activation_of_a_layer_gives_same_output(name, difference):
    model = _model(name)
    assert difference(model(_INPUTS), to_tf_keras(model)(_INPUTS)) <= 1e-5


@pytest.mark.parametrize("name", SUPPORTED)
def test_activation_as_a_layer_gives_same_output(name, difference):
    model = keras.Sequential([keras.Input((19,)), keras.layers.Activation(name)])
    assert difference(model(_INPUTS), to_tf_keras(model)(_INPUTS)) <= 1e-5


def test_hard_sigmoid_is_that_of_keras_3():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Activation("hard_sigmoid")]
    )
    inputs = np.array([[-4.0, 1.5, 4.0]], "float32")
    # tf_keras' own gives 0.8 in the middle.
    np.testing.assert_allclose(to_tf_keras(model)(inputs), [[0.0, 0.75, 1.0]])


def test_known_activation_stays_in_its_layer():
    assert [layer.name for layer in to_tf_keras(_model("gelu")).layers[1:]] == ["dense"]


def test_other_activation_becomes_a_layer_of_its_own():
    flat = to_tf_keras(_model("leaky_relu"))
    assert [layer.name for layer in flat.layers[1:]] == ["dense", "dense/activation"]
    assert type(flat.get_layer("dense/activation")) is tf_keras.layers.LeakyReLU


def test_layer_as_activation_crosses_with_its_weights(randomize, difference):
    prelu = keras.layers.PReLU(name="prelu")
    prelu.build((None, 19))
    model = randomize(_model(prelu))
    assert difference(model(_INPUTS), to_tf_keras(model)(_INPUTS)) <= 1e-5


@pytest.mark.parametrize("activation", ["sparsemax", keras.activations.celu])
def test_activation_without_counterpart_crosses_as_it_is(activation, check_kept):
    words = r"'dense/activation' \((sparsemax|celu)\) crosses as it is: a function"
    flat = check_kept(_model(activation), _INPUTS, words)
    assert type(flat.get_layer("dense")) is tf_keras.layers.Dense


def test_users_function_named_like_an_activation_crosses_as_it_is(difference):
    def relu(x):
        return x + 1.0

    model = _model(relu)
    assert difference(model(_INPUTS), to_tf_keras(model)(_INPUTS)) <= 1e-6
