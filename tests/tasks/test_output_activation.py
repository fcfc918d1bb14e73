"""Tests of what a model is found to put out, in Keras 3 and across the bridge."""

import keras
import pytest

from tfcompress.bridge import to_tf_keras
from tfcompress.tasks.output_activation import output_activation

L = keras.layers


def build(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


def functional(end):
    inputs = keras.Input((4,))
    return keras.Model(inputs, end(L.Dense(3)(inputs)))


MODELS = {
    "logits": (lambda: build(L.Dense(3)), None),
    "relu": (lambda: build(L.Dense(3, "relu")), None),
    "dense": (lambda: build(L.Dense(3, "softmax")), "softmax"),
    "sigmoid": (lambda: build(L.Dense(1, "sigmoid")), "sigmoid"),
    "activation": (lambda: build(L.Dense(3), L.Activation("softmax")), "softmax"),
    "layer": (lambda: build(L.Dense(3), L.Softmax()), "softmax"),
    "inside": (lambda: build(L.Dense(3, "softmax"), L.Dense(3)), None),
    "operation": (lambda: functional(keras.ops.softmax), "softmax"),
    "sigmoid_operation": (lambda: functional(keras.ops.sigmoid), "sigmoid"),
    "nested": (lambda: build(build(L.Dense(3, "softmax"))), "softmax"),
    "nested_model": (lambda: functional(build_head()), "softmax"),
    "linear_after": (
        lambda: build(L.Dense(3, "softmax"), L.Activation("linear")),
        "softmax",
    ),
    "flat_after": (
        lambda: build(L.Reshape((1, 4)), L.Dense(3, "softmax"), L.Flatten()),
        "softmax",
    ),
    "mixed_after": (
        lambda: build(L.Reshape((2, 2)), L.Dense(3, "softmax"), L.Flatten()),
        None,
    ),
}


def build_head():
    inputs = keras.Input((3,))
    return keras.Model(inputs, L.Softmax()(L.Dense(3)(inputs)))


@pytest.mark.parametrize("name", MODELS)
def test_output_activation_is_the_same_on_both_sides_of_the_bridge(name):
    make, expected = MODELS[name]
    model = make()
    assert output_activation(model) == expected
    assert output_activation(to_tf_keras(model)) == expected


def test_output_activation_of_what_has_no_graph_is_none():
    assert output_activation(keras.Sequential([L.Dense(3, "softmax")])) is None
