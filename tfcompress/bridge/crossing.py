"""There and back: a Keras 3 model as a flat tf_keras model, and its weights back."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tfcompress.bridge.clone import clone_model_with_weights
from tfcompress.bridge.flattener import Flattener
from tfcompress.bridge.graphs import check_model, functional_graph
from tfcompress.bridge.kept import kept_layers, kind_of
from tfcompress.bridge.obstacles import check_crossing
from tfcompress.bridge.rules import RuleRefusal, scope_name
from tfcompress.errors import InvalidValueError, UnsupportedModelError

if TYPE_CHECKING:
    import keras
    import tf_keras

_log = logging.getLogger(__name__)

_NUM_EXAMPLES = 5
_WRAPPERS = ("prune_low_magnitude_", "cluster_", "quant_")


def to_tf_keras(
    model: "keras.Model", *, rules: Mapping[type, Callable] | None = None
) -> "tf_keras.Model":
    """Makes a flat functional tf_keras model that computes what a Keras 3 model does.

    Nested models are flattened and each weight lies in a layer of its own that TFMOT
    can wrap, named after the source: `outer/inner` for a layer of a nested model. A
    shared layer stays shared. What has no rule, or asks for what its rule cannot do,
    crosses as it is: one leaf that calls the Keras 3 layer or operation, with its
    weights as they lie there; `kept_layers` lists them. Input names, dtypes, dtype
    policies and `trainable` cross; regularizers and constraints do not (one line in
    the log says which). Masks become tensors of the graph. The model is not compiled.

    Args:
        model: a functional or Sequential Keras 3 model. It is left as it is.
        rules: `{layer class: rule}` for the user's own layers, or in place of the
            standard rules; see `tfcompress.bridge.rules`.
    Returns:
        `tf_keras.Model` with copies of the weights. Its inputs and outputs have the
        structure of the source's.
    Raises:
        UnsupportedModelError: if the model is subclassed, or holds what can cross in no
            way; the message names all of it and what can be done.
        InvalidValueError: if `model` is no Keras 3 model or `rules` no such mapping.

    >>> import keras
    >>> encoder = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(3, name="dense")], name="encoder"
    ... )
    >>> model = keras.Sequential([encoder, keras.layers.Dense(2, name="logits")])
    >>> [layer.name for layer in to_tf_keras(model).layers if layer.weights]
    ['encoder/dense', 'logits']
    """
    import tf_keras

    check_crossing(model, rules=rules, back=False)
    flattener, inputs, outputs = _connect(model, rules)
    flat = tf_keras.Model(inputs, outputs, name=scope_name(model.name))
    for leaf in flattener.leaves.values():
        _load(leaf)
    _log_dropped(flattener.dropped)
    return flat


def to_keras3(
    source: "keras.Model",
    compressed: "tf_keras.Model",
    *,
    rules: Mapping[type, Callable] | None = None,
) -> "keras.Model":
    """Copies a Keras 3 model and gives the copy the weights of its tf_keras twin.

    The copy has the source's class, config and layer names; it needs neither tf_keras
    nor this package, and saves and loads as any Keras 3 model.

    Args:
        source: the model that `to_tf_keras` was given. It is left as it is.
        compressed: what became of the model that `to_tf_keras` returned, by whatever
            means, with every wrapper stripped. Layers are found by their names.
        rules: the rules that `to_tf_keras` was given.
    Returns:
        A new Keras 3 model, not compiled.
    Raises:
        UnsupportedModelError: if a layer is missing, has other weights than the source
            asks for, or has no place in the source.
        InvalidValueError: if `compressed` is no tf_keras model.

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> flat = to_tf_keras(model)
    >>> flat.set_weights([weight * 0.0 for weight in flat.get_weights()])
    >>> float(abs(to_keras3(model, flat).layers[0].kernel.numpy()).max())
    0.0
    """
    import tf_keras

    check_model(source)
    if not isinstance(compressed, tf_keras.Model):
        kind = f"{type(compressed).__module__}.{type(compressed).__qualname__}"
        raise InvalidValueError(
            f"compressed must be a tf_keras model (tf_keras.Model), got a {kind}."
        )
    copy = clone_model_with_weights(source)
    kept = {(row.name, row.kind): None for row in kept_layers(compressed)}
    flattener = Flattener(rules, kept)
    flattener.flatten(copy)
    layers = {layer.name: layer for layer in compressed.layers if layer.weights}
    expected = {name: leaf for name, leaf in flattener.leaves.items() if leaf.weights}
    _check_names(source, expected, layers)
    for name, leaf in expected.items():
        _restore(leaf, layers[name])
    return copy


def _connect(model, rules):
    """Makes the leaves of a model and calls them on inputs.

    Whether a rule can take a layer to pieces shows only in the call, as it may depend
    on masks and arguments. Such a layer crosses as it is, which begins the walk again.
    """
    import keras

    graph = functional_graph(model, model.name)
    inputs = keras.tree.map_structure(_input, graph.input)
    kept = {}
    while True:
        flattener = Flattener(rules, kept)
        connect = flattener.flatten(model)
        try:
            outputs = keras.tree.map_structure(
                lambda tensor, of=flattener: _with_mask(tensor, of), connect(inputs)
            )
        except RuleRefusal as refusal:
            key = (scope_name(refusal.path), kind_of(refusal.source))
            if flattener.is_final(refusal) or key in kept:
                raise
            kept[key] = refusal.reason
        else:
            return flattener, inputs, outputs


def _input(tensor):
    """Makes the tf_keras input for one of Keras 3's."""
    import tf_keras

    if tensor.sparse or tensor.ragged:
        raise UnsupportedModelError(
            f"Input {tensor.name!r} is sparse or ragged, which cannot cross to "
            "tf_keras: make it a dense keras.Input."
        )
    return tf_keras.Input(
        shape=tensor.shape[1:],
        batch_size=tensor.shape[0],
        dtype=tensor.dtype,
        name=scope_name(tensor.name),
    )


def _with_mask(tensor, flattener):
    """Attaches an output's mask to it: losses and metrics leave masked steps out."""
    from tfcompress.bridge.leaf_layers import AttachMask

    mask = flattener.mask_of(tensor)
    if mask is None:
        return tensor
    name = tensor._keras_history.layer.name
    return AttachMask(name=f"{name}/with_mask")([tensor, mask])


def _load(leaf):
    """Copies the source's weights into a leaf."""
    import keras
    import tensorflow as tf

    _check_shapes(leaf, leaf.layer)
    for variable, weight in zip(leaf.layer.weights, leaf.weights, strict=True):
        value = keras.ops.convert_to_numpy(weight.variable)
        variable.assign(tf.cast(weight.to_leaf(value), variable.dtype))


def _restore(leaf, layer):
    """Copies a compressed layer's weights into the variables of the leaf's source."""
    _check_shapes(leaf, layer)
    for variable, weight in zip(layer.weights, leaf.weights, strict=True):
        weight.variable.assign(weight.to_source(variable.numpy()))


def _check_shapes(leaf, layer):
    expected = [weight.leaf_shape for weight in leaf.weights]
    received = [tuple(variable.shape) for variable in layer.weights]
    if expected != received:
        raise UnsupportedModelError(
            f"Layer {layer.name!r} of the tf_keras model has weights of the shapes "
            f"{received}, but its source asks for {expected}."
        )


def _check_names(source, expected, layers):
    """Refuses a model whose layers with weights are not those of the source."""
    missing = [name for name in expected if name not in layers]
    extra = [name for name in layers if name not in expected]
    if not missing and not extra:
        return
    wrapped = [name for name in extra if name.startswith(_WRAPPERS)]
    if wrapped:
        advice = f"strip the wrappers first ({_some(wrapped)})"
    else:
        advice = "pass the model that to_tf_keras made of this source, and its rules"
    raise UnsupportedModelError(
        f"The tf_keras model does not fit {source.name!r}: layers with weights "
        f"missing: {_some(missing)}; without a place in the source: {_some(extra)}; "
        f"{advice}."
    )


def _log_dropped(dropped):
    if dropped:
        fields = "; ".join(f"{name} of {_some(at)}" for name, at in dropped.items())
        _log.warning("Without effect in the tf_keras model: %s", fields)


def _some(names):
    """Lists a few names, and how many there are."""
    if not names:
        return "none"
    shown = ", ".join(repr(name) for name in names[:_NUM_EXAMPLES])
    more = len(names) - _NUM_EXAMPLES
    return f"{shown} and {more} more" if more > 0 else shown
