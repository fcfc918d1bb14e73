"""bfloat16 inside a block alone, and only where the machine computes in it."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.data.dataset import Dataset, Split
from tfcompress.training import ArrayTraining, TrainingConfig
from tfcompress.training.precision import arithmetic


def product():
    """Returns the products of a graph, rounded as the options of the moment have it."""
    matrix = np.random.RandomState(0).random_sample((32, 32)).astype(np.float32)

    @tf.function
    def multiply(matrix):
        return tf.matmul(tf.nn.relu(tf.matmul(matrix, matrix)), matrix)

    return multiply(matrix).numpy()


@pytest.mark.usefixtures("needs_bfloat16")
def test_arithmetic_bfloat16_holds_inside_the_block_alone():
    before = product()
    with arithmetic("bfloat16"):
        inside = product()
    assert 1e-4 < np.abs(inside / before - 1).max() < 0.02
    assert np.array_equal(product(), before)


def test_arithmetic_float32_changes_nothing():
    before = product()
    with arithmetic("float32"):
        assert np.array_equal(product(), before)


def test_arithmetic_without_effect_raises():
    code = (
        "from tfcompress.training.precision import arithmetic\n"
        "with arithmetic('bfloat16'): pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
    )
    assert (
        "InvalidValueError: TrainingConfig.precision 'bfloat16' has no" in done.stderr
    )


@pytest.mark.usefixtures("needs_bfloat16")
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_fit_bfloat16_learns_with_float32_weights(library):
    layers = library.layers
    inputs = library.Input((8,), name="x")
    hidden = layers.Dense(16, activation="relu")(inputs)
    model = library.Model(inputs, layers.Dense(1)(hidden))
    random = np.random.RandomState(0)
    features = random.standard_normal((400, 8)).astype(np.float32)
    split = Split({"x": features}, features.sum(axis=1) > 0)
    dataset = Dataset.from_splits(split, split, split, ["no", "yes"])
    config = TrainingConfig(epochs=8, learning_rate=0.01, precision="bfloat16")
    log = ArrayTraining(dataset, config).fit(model)
    assert log.validation_score > 0.9
    assert {weight.dtype for weight in model.get_weights()} == {np.dtype(np.float32)}
