"""Copies of Keras 3 models, with their weights."""

import tempfile

from tfcompress.bridge.graphs import check_model, functional_graph
from tfcompress.errors import UnsupportedModelError

_SMALL_FLOATS = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def clone_model_with_weights(model):
    """Copies a Keras 3 model: the same layers, names and weights, none of them shared.

    Unlike `keras.models.clone_model` it keeps the weights, what is trainable, and state
    outside the weights (an adapted Normalization, a tokenizer's vocabulary). The copy
    is not compiled, unless its class does that by itself, as keras-hub's tasks do.

    Args:
        model: a functional or Sequential Keras 3 model.
    Returns:
        A new model of the same class.
    Raises:
        UnsupportedModelError: if the model is subclassed, not built, or shares a layer
            in a way that Keras cannot copy.
        InvalidValueError: if it is no Keras 3 model.
    """
    check_model(model)
    functional_graph(model, model.name)
    copy = _copy_architecture(model)
    # Keras' config has no way to say that two models share a layer.
    if len(_all_layers(copy)) != len(_all_layers(model)):
        raise UnsupportedModelError(
            f"Model {model.name!r} uses a layer of a nested model outside of it too, "
            "which Keras neither copies nor saves: build the model without nesting."
        )
    copy_state(model, copy)
    return copy


def clone_in_float32(model):
    """Copies a Keras 3 model to one that computes and keeps its weights in float32.

    Every float16 and bfloat16 is a float32 too, so that the weights stay what they are.
    Its inputs and outputs of such a dtype are float32 as well.

    Args:
        model: as of `clone_model_with_weights`.
    Returns:
        A new model of the same class.
    Raises:
        UnsupportedModelError: if it cannot be copied.
    """
    check_model(model)
    functional_graph(model, model.name)
    copy = _copy_architecture(model, _compute_in_float32)
    copy_state(model, copy)
    return copy


def copy_state(source, target):
    """Copies all variables and assets of a built layer or model into one of its kind.

    Args:
        source: Keras 3 layer or model.
        target: one with the same layers inside, in the same order.
    """
    for layer, other in zip(_all_layers(source), _all_layers(target), strict=True):
        state = {}
        layer.save_own_variables(state)
        other.load_own_variables(state)
        if hasattr(layer, "save_assets"):  # the vocabulary of a tokenizer
            with tempfile.TemporaryDirectory() as folder:
                layer.save_assets(folder)
                other.load_assets(folder)


def _copy_architecture(model, change=lambda config: config):
    """Copies a model by its config, as saving and loading it would."""
    import keras

    classes = {type(layer).__name__: type(layer) for layer in _all_layers(model)}
    own = {name: kind for name, kind in classes.items() if not _is_keras(kind)}
    config = model.get_config()
    _drop_key(config, "compile_config")
    with keras.saving.custom_object_scope(own):
        return type(model).from_config(change(config))


def _compute_in_float32(config):
    """Returns a config in which each name of a smaller float type is float32."""
    if isinstance(config, dict):
        return {key: _compute_in_float32(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_compute_in_float32(value) for value in config)
    return "float32" if config in _SMALL_FLOATS else config


def _all_layers(model):
    """Gives all layers, the model and those inside other layers included.

    Not the inputs: a model may lend its own to a model around it, of which each has its
    own in a copy.
    """
    import keras

    layers = {id(layer): layer for layer in model._flatten_layers()}
    return [x for x in layers.values() if not isinstance(x, keras.layers.InputLayer)]


def _is_keras(kind):
    return kind.__module__.startswith("keras.")


def _drop_key(config, key):
    """Removes a key at every depth: nested models may be compiled too."""
    if isinstance(config, dict):
        config.pop(key, None)
        for value in config.values():
            _drop_key(value, key)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _drop_key(value, key)
