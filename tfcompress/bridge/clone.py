"""Copies of Keras 3 models, with their weights."""

import functools
import inspect
import warnings

from tfcompress.atomic import temporary_folder
from tfcompress.bridge.graphs import check_model, functional_graph
from tfcompress.bridge.reasons import first_words
from tfcompress.errors import UnsupportedModelError

# What Keras writes into every layer's config, and gives its constructor.
_BASE_FIELDS = ("name", "trainable", "dtype")
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
    # Where a user's constructor takes no name, the config lacks it.
    for layer, other in zip(_all_layers(model), _all_layers(copy), strict=True):
        if other.name != layer.name:
            other.name = layer.name
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
            with temporary_folder() as folder:
                layer.save_assets(str(folder))
                other.load_assets(str(folder))


def _copy_architecture(model, change=lambda config: config):
    """Copies a model by its config, as saving and loading it would."""
    import keras

    try:
        config = model.get_config()
        _drop_key(config, "compile_config")
        with (
            warnings.catch_warnings(),
            keras.saving.custom_object_scope(own_classes(model)),
        ):
            # Keras warns of layers without build(), which the graph's calls build.
            warnings.simplefilter("ignore")
            return type(model).from_config(change(config))
    # What lies in a layer's own methods is other people's Python.
    except Exception as error:
        raise UnsupportedModelError(
            f"Keras cannot copy model {model.name!r} by its config, as it does to save "
            f"and load it ({first_words(error)}): save it and load it once to see "
            "which layer it is."
        ) from error


def own_classes(model):
    """Gives the layer classes of a model that Keras does not know, by their names.

    Returns:
        What `keras.saving.custom_object_scope` takes: name -> what has the
        `from_config` that makes the layer.
    """
    classes = {type(layer).__name__: type(layer) for layer in _all_layers(model)}
    return {
        name: type(
            name, (), {"from_config": functools.partial(layer_from_config, kind)}
        )
        for name, kind in classes.items()
        if not _is_keras(kind)
    }


def layer_from_config(kind, config):
    """Makes a layer by its config, as Keras does.

    Keras fails where a user's constructor takes no `name` and the like, because it
    lacks `**kwargs`; the layer gets them after it is made.

    Args:
        kind: class of Keras 3 layers or operations.
        config: what `get_config()` gives; it is left as it is.
    Returns:
        The layer, not built.
    """
    import keras

    is_own = issubclass(kind, keras.layers.Layer) and not _is_keras(kind)
    parameters = inspect.signature(kind.__init__).parameters
    takes_all = any(x.kind is x.VAR_KEYWORD for x in parameters.values())
    if not is_own or takes_all or "from_config" in vars(kind):
        return kind.from_config(config)
    base = [name for name in _BASE_FIELDS if name not in parameters]
    layer = kind.from_config({k: v for k, v in config.items() if k not in base})
    if "dtype" in base and "dtype" in config:
        layer.dtype_policy = keras.dtype_policies.get(config["dtype"])
    for name in ("name", "trainable"):
        if name in base and name in config:
            setattr(layer, name, config[name])
    return layer


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
