"""Shared by the tests of the bridge: random weights, and a relative difference."""

import re

import numpy as np
import pytest


@pytest.fixture
def randomize():
    """Gives every weight and statistic of a Keras 3 model a random value."""

    def run(model, seed=0):
        rng = np.random.default_rng(seed)
        for variable in model.weights:
            if variable.dtype not in ("float32", "float16", "bfloat16", "float64"):
                continue
            value = rng.normal(scale=0.5, size=variable.shape)
            if variable.name in ("moving_variance", "variance"):
                value = np.abs(value) + 0.2
            variable.assign(value)
        for layer in model._flatten_layers():
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()
        return model

    return run


@pytest.fixture
def randomize_norms():
    """Gives a deep model's BatchNormalization random values that do not explode."""

    def run(model, seed=0):
        rng = np.random.default_rng(seed)
        for variable in model.weights:
            if variable.name in ("gamma", "moving_variance"):
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
            elif variable.name in ("beta", "moving_mean"):
                variable.assign(rng.normal(scale=0.3, size=variable.shape))
        return model

    return run


@pytest.fixture
def difference():
    """Gives the largest difference relative to the largest value of the first."""

    def run(expected, received):
        import keras

        pairs = list(
            zip(keras.tree.flatten(expected), keras.tree.flatten(received), strict=True)
        )
        largest = 0.0
        for one, other in pairs:
            one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
            assert one.shape == other.shape
            assert np.isfinite(one).all()
            assert np.abs(one).max() > 0.0
            largest = max(largest, np.abs(one - other).max() / np.abs(one).max())
        return largest

    return run


@pytest.fixture
def check_kept(difference):
    """Checks that a model crosses, with one layer as it is for the reason that `words`
    match, and comes back; gives the flat model.
    """

    def run(model, arrays, words, tolerance=1e-6):
        import tf_keras

        from tfcompress.bridge import kept_layers, to_keras3, to_tf_keras

        flat = to_tf_keras(model)
        reasons = [
            f"{row.name!r} ({row.kind}) {row.reason}" for row in kept_layers(flat)
        ]
        assert any(re.search(words, reason) for reason in reasons), reasons
        expected = model(arrays, training=False)
        assert difference(expected, flat(arrays)) <= tolerance
        # A clone is built from the config alone, and has weights of its own.
        clone = tf_keras.models.clone_model(flat)
        clone.set_weights(flat.get_weights())
        flat.set_weights([weight * 0 for weight in flat.get_weights()])
        assert difference(expected, clone(arrays)) <= tolerance
        back = to_keras3(model, clone)
        assert difference(expected, back(arrays, training=False)) <= tolerance
        return clone

    return run
