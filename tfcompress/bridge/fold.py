"""Folding BatchNormalization into the layer before it, or the Dense after it.

Converters do this when they export, and then every filter has values of its own: what
was clustered per tensor is so no longer. Folded first, a model keeps its clusters.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from tfcompress.bridge.clone import copy_state, layer_from_config
from tfcompress.bridge.fold_plan import KERNELS, plan_folds
from tfcompress.bridge.graphs import (
    check_model,
    functional_graph,
    needed_nodes,
    node_arguments,
)

if TYPE_CHECKING:
    import keras


def fold_batch_norm(
    model: "keras.Model", *, keep: Collection[str] = ()
) -> "keras.Model":
    """Folds each BatchNormalization into the Dense or convolution before it.

    The layer before gets `kernel * f` and `(bias - mean) * f + beta` with
    `f = gamma / sqrt(variance + epsilon)`; a bias is added where it had none. One that
    has no such layer before it is folded into a Dense that alone reads it. What cannot
    be folded stays; `batch_norm_folds` says which and why. The result computes what the
    model computes in inference, up to rounding.

    Args:
        model: a functional or Sequential Keras 3 model. It is left as it is.
        keep: names of those that are to stay, as `BatchNormFold.name` has them.
    Returns:
        A new Keras 3 model, not compiled, with the same layer names: Sequential where
        `model` is a `keras.Sequential`, else functional.
    Raises:
        UnsupportedModelError: if the model is subclassed or not built.
        InvalidValueError: if it is no Keras 3 model.
    """
    check_model(model)
    return _rebuild(model, _Copies(plan_folds(model, keep)))


def batch_norm_folds(model, *, keep=()):
    """Says what `fold_batch_norm` does with each BatchNormalization of a model.

    Args:
        model, keep: as of `fold_batch_norm`.
    Returns:
        A tuple with a `BatchNormFold` for each.
    Raises:
        UnsupportedModelError: if the model is subclassed or not built.
        InvalidValueError: if it is no Keras 3 model.
    """
    check_model(model)
    return tuple(fold.row for fold in plan_folds(model, keep))


class _Copies:
    """New layers for those of a source model, each made once.

    Args:
        folds: sequence of `Fold`.
    """

    def __init__(self, folds):
        folds = [fold for fold in folds if fold.layer is not None]
        self._folded = {id(fold.norm) for fold in folds}
        self._before, self._after = {}, {}
        for fold in folds:
            of_layer = self._after if fold.is_after else self._before
            of_layer.setdefault(id(fold.layer), []).append(fold.norm)
        self._copies = {}

    def call(self, source, args, kwargs):
        """Calls the copy of a layer, operation or nested model."""
        if id(source) in self._folded:
            return args[0] if args else kwargs["inputs"]
        if id(source) in self._copies:
            return self._copies[id(source)](*args, **kwargs)
        copy = self._copies[id(source)] = self._copy(source)
        outputs = copy(*args, **kwargs)
        self._load(source, copy)
        return outputs

    def layers(self, sources):
        """Gives the copies of a Sequential's layers, in which each is used once."""
        return [self._copies[id(x)] for x in sources if id(x) not in self._folded]

    def _copy(self, source):
        import keras

        if isinstance(source, keras.Model):
            return _rebuild(source, self)
        config = source.get_config()
        if self._norms_of(source):
            config["use_bias"] = True
        return layer_from_config(type(source), config)

    def _norms_of(self, source):
        return [
            *self._before.get(id(source), ()),
            *self._after.get(id(source), ()),
        ]

    def _load(self, source, copy):
        """Gives a built copy the weights of its source, with what it takes in."""
        import keras

        if isinstance(source, keras.Model) or not isinstance(
            source, keras.layers.Layer
        ):
            return
        if not self._norms_of(source):
            copy_state(source, copy)
            return
        name, axes = KERNELS[type(source).__name__]
        kernel = _array(getattr(source, name))
        bias = _array(source.bias) if source.use_bias else 0.0
        for norm in reversed(self._before.get(id(source), ())):
            factor, shift = _affine(norm)
            bias = bias + shift @ kernel
            kernel = kernel * factor[:, None]
        for norm in self._after.get(id(source), ()):
            factor, shift = _affine(norm)
            shape = [1] * kernel.ndim
            for axis in axes:
                shape[axis] = kernel.shape[axis]
            kernel = kernel * factor.reshape(shape)
            bias = bias * factor + shift
        getattr(copy, name).assign(kernel)
        copy.bias.assign(bias)
        if name == "pointwise_kernel":
            copy.depthwise_kernel.assign(source.depthwise_kernel)


def _rebuild(model, copies):
    """Makes a model of the copies, connected as the model is."""
    import keras

    graph = functional_graph(model, model.name)
    inputs = keras.tree.map_structure(
        lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name),
        graph.input,
    )
    tensors = {
        id(reference): tensor
        for reference, tensor in zip(
            graph.inputs, keras.tree.flatten(inputs), strict=True
        )
    }
    nodes = needed_nodes(graph)
    for node in nodes:
        args, kwargs = node_arguments(node, tensors)
        outputs = keras.tree.flatten(copies.call(node.operation, args, kwargs))
        for reference, tensor in zip(node.outputs, outputs, strict=True):
            tensors[id(reference)] = tensor
    if type(model) is keras.Sequential:
        layers = copies.layers(node.operation for node in nodes)
        start = keras.Input(
            batch_shape=inputs.shape, dtype=inputs.dtype, name=inputs.name
        )
        return keras.Sequential(
            [start, *layers], name=model.name, trainable=model.trainable
        )
    outputs = keras.tree.pack_sequence_as(
        graph.output, [tensors[id(tensor)] for tensor in graph.outputs]
    )
    return keras.Model(inputs, outputs, name=model.name, trainable=model.trainable)


def _affine(norm):
    """Gives the factor and the shift by which a BatchNormalization computes."""
    factor = 1.0 / np.sqrt(_array(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        factor = factor * _array(norm.gamma)
    shift = -_array(norm.moving_mean) * factor
    return factor, shift + (_array(norm.beta) if norm.center else 0.0)


def _array(variable):
    """Gives a variable as float64: rounding twice would show in the result."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)
