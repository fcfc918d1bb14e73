"""Keras 3 activations in tf_keras, where one name does not always mean one function."""

import sys

# Keras 3's name -> tf_keras' name of the same function.
_SAME = {
    "elu": "elu",
    "exponential": "exponential",
    "gelu": "gelu",
    "linear": "linear",
    "mish": "mish",
    "relu": "relu",
    "selu": "selu",
    "sigmoid": "sigmoid",
    "silu": "swish",
    "softmax": "softmax",
    "softplus": "softplus",
    "softsign": "softsign",
    "tanh": "tanh",
}

# Functions that tf_keras has as a layer only.
_LAYERS = {
    "leaky_relu": ("LeakyReLU", {"alpha": 0.2}),
    "relu6": ("ReLU", {"max_value": 6.0}),
}

# Functions of `leaf_layers`. tf_keras' own "hard_sigmoid" is another function than
# Keras 3's: clip(0.2 x + 0.5, 0, 1) in place of relu6(x + 3) / 6.
_COMPUTED = ("hard_sigmoid", "hard_silu", "log_sigmoid", "log_softmax")

# GELU's approximation by tanh, which has no name of its own in Keras 3.
_GELU_TANH = "gelu_tanh"

SUPPORTED = tuple(sorted([*_SAME, *_LAYERS, *_COMPUTED]))


def same_activation(function):
    """Gives tf_keras' name of a Keras 3 activation that it has too.

    Args:
        function: a function of `keras.activations`, or another callable.
    Returns:
        The name, or `None` if tf_keras has no activation of that definition.
    """
    return _SAME.get(_name(function))


def activation_rule(function, leaves, suffix=""):
    """Makes the leaf that applies an activation, as a layer of its own.

    Args:
        function: a function of `keras.activations`, the name of one, or a layer.
        leaves: the `Leaves` of the layer that uses it.
        suffix: end of the leaf's name.
    Returns:
        A function from tensor to tensor. One that the bridge does not know is called
        as it is, inside the tf_keras graph.
    """
    import keras
    import tf_keras

    if isinstance(function, keras.layers.Layer):
        return leaves.expand(function, suffix)
    name = function if isinstance(function, str) else _name(function)
    if name in _SAME:
        return leaves.add(tf_keras.layers.Activation, suffix, activation=_SAME[name])
    if name in _LAYERS:
        layer, config = _LAYERS[name]
        return leaves.add(getattr(tf_keras.layers, layer), suffix, **config)
    if name in _COMPUTED or name == _GELU_TANH:
        return leaves.compute(name, suffix)
    return leaves.keep_function(function, suffix)


def unknown_activation(function, leaves):
    """Gives the refusal of an activation that must lie inside of the leaf."""
    name = getattr(function, "__name__", repr(function))
    return leaves.unsupported(
        f"has the activation {name!r}, which tf_keras lacks; with one of "
        f"{', '.join(sorted(_SAME))} it can be compressed"
    )


def _name(function):
    """Gives the name of a function of `keras.activations`, `None` for another."""
    import keras

    if _is_gelu_tanh(function):
        return _GELU_TANH
    name = getattr(function, "__name__", None)
    # A user's function may be called "relu" as well: only the object itself counts.
    if name is None or getattr(keras.activations, name, None) is not function:
        return None
    return name


def _is_gelu_tanh(function):
    """Whether it is keras-hub's function for it; Keras itself has none."""
    # It can only be keras-hub's if somebody has imported that already.
    keras_hub = sys.modules.get("keras_hub.src.utils.keras_utils")
    known = getattr(keras_hub, "gelu_approximate", None)
    return known is not None and function is known
