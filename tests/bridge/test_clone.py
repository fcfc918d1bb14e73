"""Copies of Keras 3 models."""

import keras
import numpy as np
import pytest

from tfcompress.bridge import clone_model_with_weights
from tfcompress.errors import InvalidValueError, UnsupportedModelError

L = keras.layers


def _model():
    inner = keras.Sequential([keras.Input((5,)), L.Dense(5, name="d")], name="inner")
    inputs = keras.Input((5,), name="inputs")
    outputs = L.BatchNormalization(name="norm")(inner(L.Dropout(0.5)(inputs)))
    return keras.Model(inputs, outputs, name="outer")


def test_clone_gives_same_outputs_with_weights_of_its_own(randomize, difference):
    model = randomize(_model())
    copy = clone_model_with_weights(model)
    inputs = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    assert difference(model(inputs), copy(inputs)) == 0.0
    for variable in copy.weights:
        variable.assign(variable + 1.0)
    assert difference(model(inputs), copy(inputs)) > 0.1


def test_clone_keeps_class_names_and_trainable():
    model = keras.Sequential(
        [keras.Input((5,), name="inputs"), L.Dense(4, name="a"), L.Dense(3, name="b")],
        name="both",
    )
    model.get_layer("a").trainable = False
    copy = clone_model_with_weights(model)
    assert type(copy) is keras.Sequential
    assert copy.name == "both"
    assert [layer.name for layer in copy.layers] == ["a", "b"]
    assert [layer.trainable for layer in copy.layers] == [False, True]
    assert copy.inputs[0].name == "inputs"


def test_clone_keeps_adapted_statistics(difference):
    model = keras.Sequential([keras.Input((2,)), L.Normalization()])
    data = np.array([[1.0, 20.0], [3.0, 60.0]], "float32")
    model.layers[0].adapt(data)
    copy = clone_model_with_weights(model)
    np.testing.assert_allclose(copy(data), [[-1.0, -1.0], [1.0, 1.0]], rtol=1e-5)


def test_clone_keeps_shared_layers_shared(randomize, difference):
    dense = L.Dense(5, name="d")
    inputs = keras.Input((5,))
    model = randomize(keras.Model(inputs, dense(dense(inputs))))
    copy = clone_model_with_weights(model)
    assert len(copy.weights) == 2
    arrays = np.ones((2, 5), "float32")
    assert difference(model(arrays), copy(arrays)) == 0.0


def test_clone_of_sequential_model_built_by_shape(randomize, difference):
    model = keras.Sequential([L.Dense(3, name="d")])
    model.build((None, 5))
    randomize(model)
    arrays = np.ones((2, 5), "float32")
    assert difference(model(arrays), clone_model_with_weights(model)(arrays)) == 0.0


class Plain(keras.layers.Layer):
    """A layer as tutorials write it: its constructor takes no further arguments."""

    def __init__(self, units):
        super().__init__()
        self.dense = keras.layers.Dense(units)

    def call(self, inputs):
        return self.dense(inputs)


def test_clone_of_a_layer_whose_constructor_takes_no_name(difference):
    inputs = keras.Input((4,))
    frozen = Plain(3)
    model = keras.Model(inputs, Plain(2)(frozen(inputs)))
    frozen.trainable = False
    copy = clone_model_with_weights(model)
    assert [x.name for x in copy.layers] == [x.name for x in model.layers]
    assert [x.trainable for x in copy.layers] == [x.trainable for x in model.layers]
    arrays = np.ones((2, 4), "float32")
    assert difference(model(arrays), copy(arrays)) == 0.0
    assert not {id(x) for x in copy.weights} & {id(x) for x in model.weights}


@pytest.mark.parametrize("nested_first", [True, False])
def test_clone_of_what_keras_cannot_copy_raises(nested_first):
    inner = keras.Sequential([keras.Input((5,)), L.Dense(5, name="d")], name="inner")
    inputs = keras.Input((5,))
    dense = inner.get_layer("d")
    outputs = dense(inner(inputs)) if nested_first else inner(dense(inputs))
    model = keras.Model(inputs, outputs, name="outer")
    with pytest.raises(
        UnsupportedModelError, match="'outer' uses a layer of a nested model outside"
    ):
        clone_model_with_weights(model)


def test_clone_of_compiled_model_is_not_compiled(randomize):
    model = _model()
    model.compile("adam", loss=lambda y, p: keras.ops.mean(p))
    assert not clone_model_with_weights(model).compiled


class Doubling(L.Layer):
    """A layer that no registry knows."""

    def call(self, inputs):
        return inputs * 2.0


def test_clone_knows_the_classes_of_its_source():
    model = keras.Sequential([keras.Input((1,)), Doubling()])
    copy = clone_model_with_weights(model)
    assert type(copy.layers[0]) is Doubling
    np.testing.assert_array_equal(copy(np.array([[3.0]])), [[6.0]])


def test_clone_of_what_is_no_model_raises():
    with pytest.raises(InvalidValueError, match="must be a Keras 3 model"):
        clone_model_with_weights(L.Dense(3))
