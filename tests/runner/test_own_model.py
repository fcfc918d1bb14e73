"""Tests that a user's own model is made fit for artifacts, or refused in one line."""

import keras
import numpy as np
import pytest

from tfcompress.data.dataset import Dataset, Split, text_array
from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.runner.own_model import has_mask, prepare_model

FEATURES = np.float32([[1, -2, 3], [0, 1, 0]])


def dataset(inputs, class_names):
    split = Split(inputs, np.arange(2))
    return Dataset.from_splits(split, split, split, class_names)


def numbers(num_classes, name="features"):
    return dataset({name: FEATURES}, [str(i) for i in range(num_classes)])


TEXTS = dataset({"text": text_array(["a", "b"])}, ["no", "yes"])


def functional(units, activation=None, **kwargs):
    inputs = keras.Input((3,), name="features")
    outputs = keras.layers.Dense(units, activation=activation, **kwargs)(inputs)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(("units", "activation"), [(3, "softmax"), (1, "sigmoid")])
def test_prepare_model_takes_the_last_activation_away(units, activation):
    model = functional(units, activation)
    kernel, bias = model.get_weights()
    prepared = prepare_model(model, numbers(max(units, 2)))
    assert np.allclose(prepared(FEATURES), FEATURES @ kernel + bias, atol=1e-6)


@pytest.mark.parametrize(
    "last", [keras.layers.Softmax, lambda: keras.layers.Activation("softmax")]
)
def test_prepare_model_leaves_a_softmax_layer_out(last):
    model = keras.Sequential(
        [keras.Input((3,), name="features"), keras.layers.Dense(3), last()]
    )
    expected = model.layers[0](FEATURES)
    assert np.allclose(prepare_model(model, numbers(3))(FEATURES), expected)


def test_prepare_model_logits_stay_as_they_are():
    model = functional(3)
    assert prepare_model(model, numbers(3)) is model


def test_prepare_model_one_text_input_is_called_tokens():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Embedding(10, 2),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    prepared = prepare_model(model, TEXTS)
    assert [tensor.name for tensor in prepared.inputs] == ["tokens"]
    assert prepared.inputs[0].dtype == "int32"
    assert prepared.inputs[0].shape == (None, 4)
    assert not has_mask(prepared)


def test_prepare_model_of_more_classes_than_units_raises():
    message = r"puts out \(None, 3\), and the data has 2 classes: 0, 1\. Give"
    with pytest.raises(UnsupportedModelError, match=message):
        prepare_model(functional(3), numbers(2))


def test_prepare_model_without_an_array_for_an_input_raises():
    message = "takes the input 'features', and the data gives pixels"
    with pytest.raises(InvalidValueError, match=message):
        prepare_model(functional(3), numbers(3, "pixels"))


def test_prepare_model_that_is_not_built_raises():
    model = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(UnsupportedModelError, match="is subclassed or not built"):
        prepare_model(model, numbers(3))


def test_model_of_two_outputs_says_where_it_can_be_compressed():
    inputs = keras.Input((4,), name="x")
    outputs = [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)]
    model = keras.Model(inputs, outputs, name="two")
    with pytest.raises(
        UnsupportedModelError,
        match=r"Model 'two' has 2 outputs, and a run scores one: compress it in Python",
    ):
        prepare_model(model, None)


def test_subclassed_model_is_called_so():
    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(
        UnsupportedModelError, match=r"Model 'mine' is subclassed or not built: build"
    ):
        prepare_model(Mine(name="mine"), None)
