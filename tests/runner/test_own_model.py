"""Tests that a user's own model is made fit for artifacts, or refused in one line."""

import keras
import numpy as np
import pytest

from tfcompress.bridge import clone_model_with_weights
from tfcompress.data.dataset import Dataset, Split, text_array
from tfcompress.data.word_tokenizer import train_word_tokenizer
from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.runner.own_model import (
    OwnModelTask,
    has_mask,
    prepare_model,
)
from tfcompress.tasks.output_activation import output_activation

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
def test_prepare_model_leaves_the_last_activation(units, activation):
    model = functional(units, activation)
    assert prepare_model(model, numbers(max(units, 2))) is model
    assert output_activation(model) == activation


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


class Backbone(keras.Model):
    """Functional, but built anew by its own config each time it is loaded."""

    def __init__(self, units, **kwargs):
        inputs = keras.Input((3,))
        outputs = keras.layers.Dense(units, name="end")(inputs)
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.units = units

    def get_config(self):
        return {"units": self.units, "name": self.name}


@pytest.mark.parametrize(
    "build",
    [
        lambda: Backbone(3),
        lambda: keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(3, name="end")]
        ),
        lambda: keras.Sequential([keras.Input((3,)), Backbone(3)]),
    ],
    ids=["class", "sequential", "nested"],
)
def test_prepare_model_input_without_a_name_takes_that_of_the_array(build, tmp_path):
    """An automatic name is another one at each load, that of the array stays."""
    model = build()
    prepared = prepare_model(model, numbers(3))
    np.testing.assert_array_equal(prepared(FEATURES), model(FEATURES))
    prepared.save(tmp_path / "model.keras")
    for each in (prepared, clone_model_with_weights(prepared)):
        assert [tensor.name for tensor in each.inputs] == ["features"]
    for _ in range(2):
        loaded = keras.saving.load_model(
            tmp_path / "model.keras", custom_objects={"Backbone": Backbone}
        )
        assert [tensor.name for tensor in loaded.inputs] == ["features"]
        np.testing.assert_array_equal(loaded(FEATURES), model(FEATURES))


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_task_gives_tokens_of_the_dtype_that_the_model_asks_for(dtype):
    tokens = keras.Input((4,), dtype=dtype, name="tokens")
    x = keras.layers.Flatten()(keras.layers.Embedding(10, 2)(tokens))
    model = keras.Model(tokens, keras.layers.Dense(2)(x))
    tokenizer = train_word_tokenizer(["a b"], vocabulary_size=5, length=4)
    task = OwnModelTask(prepare_model(model, TEXTS), TEXTS, None, tokenizer)
    assert task.dataset.train.inputs["tokens"].dtype == dtype


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


def test_model_of_two_outputs_needs_a_task_of_both():
    inputs = keras.Input((4,), name="x")
    outputs = [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)]
    model = keras.Model(inputs, outputs, name="two")
    with pytest.raises(
        UnsupportedModelError,
        match=r"Model 'two' has 2 outputs \(.*\), and the task has 1 \(labels\)",
    ):
        prepare_model(model, numbers(2, "x"))


def test_subclassed_model_is_called_so():
    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(
        UnsupportedModelError, match=r"Model 'mine' is subclassed or not built: build"
    ):
        prepare_model(Mine(name="mine"), None)
