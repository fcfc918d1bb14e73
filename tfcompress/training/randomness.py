"""What the layers draw, as a function of a seed and of variables that can be saved."""

import contextlib

import numpy as np

from tfcompress.training.libraries import is_keras3


@contextlib.contextmanager
def seeded_layers(model, seed):
    """Makes what the layers of `model` draw a function of `seed` and variables.

    Layers of the user's own that draw from TensorFlow's operations with a state are
    seeded, but their state cannot be saved.

    Args:
        model: Keras 3 or tf_keras model.
        seed: non-negative integer.
    Yields:
        List of variables, the state of what is drawn. It holds until the end of the
        block.
    """
    import tensorflow as tf

    tf.random.set_seed(seed)
    if is_keras3(model):
        yield _seed_keras3(model, seed)
        return
    layers = [
        layer for layer in model.submodules if hasattr(layer, "_random_generator")
    ]
    originals = [layer._random_generator for layer in layers]
    seeds = np.random.RandomState(seed).randint(1, 2**31 - 1, len(layers))
    try:
        yield [
            _seed_tf_keras(layer, int(layer_seed))
            for layer, layer_seed in zip(layers, seeds, strict=True)
        ]
    finally:
        for layer, original in zip(layers, originals, strict=True):
            object.__setattr__(layer, "_random_generator", original)


def _seed_keras3(model, seed):
    """Sets the seeds that Keras 3 layers carry along.

    A model that was loaded from a file or copied would else go on with other draws.
    """
    # Seeds are variables, but no weights.
    weights = {id(variable) for variable in model.weights}
    states = [
        variable
        for variable in model.variables
        if id(variable) not in weights and variable.name == "seed_generator_state"
    ]
    for index, state in enumerate(states):
        state.assign(np.array([seed + index, 0], dtype=state.dtype))
    return states


def _seed_tf_keras(layer, seed):
    """Gives a tf_keras layer a generator whose state is a variable; returns that.

    By default such a layer draws from an operation whose state is inside TensorFlow's
    kernel, where no training that goes on could find it.
    """
    generator = type(layer._random_generator)(seed, rng_type="stateful")
    generator._maybe_init()
    # Not through the layer's own __setattr__, which would track it as a part to save.
    object.__setattr__(layer, "_random_generator", generator)
    return generator._generator.state
