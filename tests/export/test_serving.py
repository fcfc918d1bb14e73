"""The inference function of a model with attention, from its flat twin."""

import logging

import keras
import numpy as np
import tf_keras

from tfcompress.export.serving import make_serving, use_flat_graph


def attention_model(extra=None):
    x = keras.Input((None, 8), name="x")
    y = keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    y = keras.layers.Dense(3, name="logits")(extra(y) if extra else y)
    return keras.Model(x, y, name="model")


def run(serving, x):
    (output,) = serving.function(x).values()
    return output.numpy()


def test_use_flat_graph_agrees_with_the_model():
    model = attention_model()
    serving = make_serving(model)
    flat = use_flat_graph(serving, {})
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
    reference = model.predict(x, verbose=0)
    np.testing.assert_allclose(run(flat, x), reference, atol=1e-6)
    assert flat.flat
    assert flat.inputs == serving.inputs
    assert flat.outputs == serving.outputs


def test_use_flat_graph_replaces_leaves_of_exactly_the_class():
    names = []

    def double(layer, inputs):
        names.append(layer.name)
        return 2.0 * type(layer).call(layer, inputs)

    x = np.ones((1, 5, 8), np.float32)
    model = attention_model()
    serving = use_flat_graph(make_serving(model), {tf_keras.layers.Dense: double})
    run(serving, x)
    parts = ("query", "key", "value", "attention_output")
    assert sorted(names) == sorted([*(f"attention/{n}" for n in parts), "logits"])
    model.layers[-1].set_weights([np.zeros((8, 3)), np.ones(3)])
    serving = use_flat_graph(make_serving(model), {tf_keras.layers.Dense: double})
    np.testing.assert_allclose(run(serving, x), np.full((1, 5, 3), 2.0))


def test_use_flat_graph_leaves_a_model_without_attention_alone():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    serving = make_serving(model)
    assert use_flat_graph(serving, {}) is serving
    assert not serving.flat


def test_use_flat_graph_that_cannot_cross_says_why(caplog):
    model = attention_model(extra=keras.layers.Lambda(lambda y: y, name="odd"))
    serving = make_serving(model)
    with caplog.at_level(logging.WARNING):
        assert use_flat_graph(serving, {}) is serving
    assert "'model' is exported with the operators of Keras" in caplog.text
    assert "'odd' (Lambda)" in caplog.text
