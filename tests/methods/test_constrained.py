"""Tests of training under constraints: values, gradients, layers, checkpoints."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.methods.constrained import WeightConstraint, constrain, strip
from tfcompress.methods.layer_weights import compressible_weights, trainable_weights
from tfcompress.training import ArrayTraining, TrainingConfig
from tfcompress.training.precision import arithmetic

layers = tf_keras.layers


class Masked(WeightConstraint):
    """Keeps every second weight, and counts the training steps it has seen."""

    def build(self, name, weight, add_weight):
        options = {"initializer": "zeros", "trainable": False}
        self.mask = add_weight("mask", shape=weight.shape, dtype="bool", **options)
        self.mask.assign(
            np.arange(weight.shape.num_elements()).reshape(weight.shape) % 2 == 0
        )
        self.steps = add_weight("steps", shape=(), dtype="int64", **options)

    def __call__(self, weight, training):
        if training:
            self.steps.assign_add(1)
        return tf.where(self.mask, weight, tf.zeros([], weight.dtype))


class Scaled(WeightConstraint):
    """Multiplies a weight with a trainable scale, at first 3."""

    def build(self, name, weight, add_weight):
        self.scale = add_weight(
            "scale", shape=(), dtype="float32", initializer="ones", trainable=True
        )
        self.scale.assign(3.0)

    def __call__(self, weight, training):
        return weight * self.scale


def dense_model(**options):
    inputs = tf_keras.Input((2,))
    layer = layers.Dense(2, name="dense", **options)
    model = tf_keras.Model(inputs, layer(inputs))
    layer.set_weights([np.float32([[1, 2], [3, 4]]), np.float32([5, 6])])
    return model


def test_constrain_computes_with_the_constraints_values():
    wrapped = constrain(dense_model(), {"dense": {"kernel": Masked()}})
    np.testing.assert_array_equal(wrapped(np.float32([[1, 10]])), [[1 + 30 + 5, 6]])


def test_constrain_gradient_passes_through_the_constraint():
    wrapped = constrain(dense_model(), {"dense": {"kernel": Scaled()}})
    kernel, bias, scale = (
        next(v for v in wrapped.trainable_variables if v.name.endswith(f"{name}:0"))
        for name in ("kernel", "bias", "scale")
    )
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(wrapped(np.float32([[1, 10]])))
    of_kernel, of_bias, of_scale = tape.gradient(total, [kernel, bias, scale])
    np.testing.assert_array_equal(of_kernel, [[3, 3], [30, 30]])
    np.testing.assert_array_equal(of_bias, [1, 1])
    assert float(of_scale) == 1 + 2 + 10 * (3 + 4)


def test_constrain_leaves_the_variable_and_the_callers_model():
    model = dense_model()
    wrapped = constrain(model, {"dense": {"kernel": Scaled()}})
    inner = wrapped.get_layer("constrained_dense").layer
    assert isinstance(inner.kernel, tf.Variable)
    assert inner.kernel.name == model.get_layer("dense").kernel.name == "dense/kernel:0"
    wrapped.compile("sgd", "mse")
    wrapped.fit(np.ones((4, 2)), np.ones((4, 2)), verbose=0)
    assert isinstance(inner.kernel, tf.Variable)
    np.testing.assert_array_equal(model.get_weights()[0], [[1, 2], [3, 4]])


def test_constrain_makes_no_second_float_copy():
    wrapped = constrain(dense_model(), {"dense": {"kernel": Masked()}})
    floats = [v.name for v in wrapped.variables if v.dtype.is_floating]
    assert floats == ["dense/kernel:0", "dense/bias:0"]


def test_constrain_frozen_layer_stays_frozen():
    wrapped = constrain(dense_model(trainable=False), {"dense": {"kernel": Scaled()}})
    assert wrapped.trainable_variables == []


def test_constrain_mixed_precision_computes_in_it():
    model = dense_model(dtype="mixed_bfloat16")
    wrapped = constrain(model, {"dense": {"kernel": Scaled()}})
    result = wrapped(np.float32([[1, 10]]))
    assert result.dtype == tf.bfloat16
    assert wrapped.trainable_variables[0].dtype == tf.float32
    np.testing.assert_array_equal(tf.cast(result, tf.float32), [[98, 132]])


def test_constrain_shared_layer_is_constrained_at_each_call():
    inputs = tf_keras.Input((2,))
    layer = layers.Dense(2, name="twice", use_bias=False)
    model = tf_keras.Model(inputs, layer(layer(inputs)))
    layer.set_weights([np.float32([[1, 2], [3, 4]])])
    wrapped = constrain(model, {"twice": {"kernel": Masked()}})
    np.testing.assert_array_equal(wrapped(np.float32([[1, 10]])), [[31, 0]])


KINDS = {
    "embedding": (layers.Embedding(6, 4), (3,)),
    "conv": (layers.Conv2D(4, 2), (3, 3, 2)),
    "transposed": (layers.Conv1DTranspose(4, 2), (3, 2)),
    "depthwise": (layers.DepthwiseConv2D(2), (3, 3, 2)),
    "separable": (layers.SeparableConv2D(4, 2), (3, 3, 2)),
    "lstm": (layers.LSTM(4, dropout=0.1), (3, 2)),
    "gru": (layers.GRU(4, reset_after=False), (3, 2)),
    "both_ways": (layers.Bidirectional(layers.SimpleRNN(4)), (3, 2)),
    "layer_norm": (layers.LayerNormalization(), (3, 2)),
    "batch_norm": (layers.BatchNormalization(), (3, 2)),
}


@pytest.mark.parametrize(("layer", "shape"), KINDS.values(), ids=KINDS)
def test_strip_of_a_trained_layer_predicts_as_the_wrapped_model(layer, shape):
    dtype = "int32" if isinstance(layer, layers.Embedding) else "float32"
    inputs = tf_keras.Input(shape, dtype=dtype)
    outputs = layers.Dense(2)(layers.Flatten()(layer(inputs)))
    model = tf_keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    names = compressible_weights(layer) or trainable_weights(layer)
    constraints = {layer.name: {name: Masked() for name in names}}
    wrapped = constrain(model, constraints)
    data = rng.integers(0, 6, (8, *shape)).astype(dtype)
    wrapped.compile("adam", "mse")
    wrapped.fit(data, np.ones((8, 2)), verbose=0)
    stripped = strip(wrapped, model)
    assert [type(a) for a in stripped.layers] == [type(a) for a in model.layers]
    for name, variable in trainable_weights(stripped.get_layer(layer.name)).items():
        if name in names:
            assert not variable.numpy().ravel()[1::2].any(), name
            assert variable.numpy().ravel()[::2].all(), name
    np.testing.assert_array_equal(stripped(data), wrapped(data))
    assert not np.array_equal(model(data), wrapped(data))


def test_constrain_implicit_mask_reaches_the_layers_behind():
    inputs = tf_keras.Input((None,), dtype="int32")
    x = layers.Embedding(6, 4, mask_zero=True, name="embedding")(inputs)
    model = tf_keras.Model(inputs, layers.LSTM(3, name="lstm")(x))
    wrapped = constrain(
        model, {"embedding": {"embeddings": Masked()}, "lstm": {"kernel/0": Masked()}}
    )
    np.testing.assert_allclose(
        wrapped(np.int32([[1, 2, 0, 0]])), wrapped(np.int32([[1, 2]])), rtol=1e-6
    )


class Killed(Exception):
    """Stands for a kill."""


@pytest.fixture
def dataset(make_token_dataset):
    return make_token_dataset(20, 4)


def wrapped_classifier():
    inputs = tf_keras.Input((4,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 4, name="embedding")(inputs)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(x))
    model = tf_keras.Model(inputs, layers.Dense(1, name="logits")(x))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    constraints = {
        "embedding": {"embeddings": Masked()},
        "logits": {"kernel": Scaled(), "bias": Masked()},
    }
    return constrain(model, constraints)


def train(model, dataset, folder=None, callbacks=()):
    config = TrainingConfig(
        epochs=2, batch_size=8, learning_rate=0.01, optimizer="adamw"
    )
    options = {"checkpoint_folder": folder, "checkpoint_seconds": 0.0}
    ArrayTraining(dataset, config, **options).fit(model, callbacks)


def test_constrained_training_that_is_killed_ends_as_an_unbroken_one(dataset, tmp_path):
    class Kill(tf_keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if self.model.optimizer.iterations == 11:
                raise Killed

    unbroken, resumed = wrapped_classifier(), wrapped_classifier()
    train(unbroken, dataset)
    with pytest.raises(Killed):
        train(wrapped_classifier(), dataset, tmp_path, [Kill()])
    train(resumed, dataset, tmp_path)
    for one, other in zip(unbroken.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.name)
    steps = [int(v) for v in resumed.variables if "steps" in v.name]
    assert steps == [16, 16]


@pytest.mark.usefixtures("needs_bfloat16")
def test_constrained_training_in_bfloat16_keeps_what_is_masked(dataset):
    model = wrapped_classifier()
    before = model.get_layer("constrained_embedding").layer.get_weights()[0]
    with arithmetic("bfloat16"):
        model.compile("sgd", tf_keras.losses.BinaryCrossentropy(from_logits=True))
        model.fit(dataset.train.inputs["tokens"], dataset.train.labels, verbose=0)
    after = model.get_layer("constrained_embedding").layer.get_weights()[0]
    np.testing.assert_array_equal(after.ravel()[1::2], before.ravel()[1::2])
    assert not np.array_equal(after, before)
