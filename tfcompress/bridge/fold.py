"""Folding BatchNormalization into the layer before it.

Converters do this when they export, and then every filter has values of its own: what
was clustered per tensor is so no longer. Folded first, a model keeps its clusters.
"""

import collections
import dataclasses

import numpy as np

from tfcompress.bridge.clone import copy_state
from tfcompress.bridge.graphs import (
    check_model,
    functional_graph,
    needed_nodes,
    node_arguments,
)

# Class -> the kernel that makes its outputs, and the kernel's axes of output channels.
_KERNELS = {
    "Conv1D": ("kernel", (-1,)),
    "Conv1DTranspose": ("kernel", (-2,)),
    "Conv2D": ("kernel", (-1,)),
    "Conv2DTranspose": ("kernel", (-2,)),
    "Conv3D": ("kernel", (-1,)),
    "Dense": ("kernel", (-1,)),
    "DepthwiseConv1D": ("kernel", (-2, -1)),
    "DepthwiseConv2D": ("kernel", (-2, -1)),
    "SeparableConv1D": ("pointwise_kernel", (-1,)),
    "SeparableConv2D": ("pointwise_kernel", (-1,)),
}


@dataclasses.dataclass(frozen=True)
class BatchNormFold:
    """What becomes of one BatchNormalization layer.

    Attributes:
        name: the layer, after the names of the models that it lies in.
        into: the layer that takes it in, `None` if it stays.
        reason: why it stays, `None` if it does not.
    """

    name: str
    into: str | None = None
    reason: str | None = None


def fold_batch_norm(model):
    """Folds each BatchNormalization into the Dense or convolution before it.

    The layer before gets `kernel * f` and `(bias - mean) * f + beta` with
    `f = gamma / sqrt(variance + epsilon)`; a bias is added where it had none. What
    cannot be folded stays; `batch_norm_folds` says which and why. The result computes
    what the model computes in inference, up to rounding.

    Args:
        model: a functional or Sequential Keras 3 model. It is left as it is.
    Returns:
        A new functional Keras 3 model, not compiled, with the same layer names.
    Raises:
        UnsupportedModelError: if the model is subclassed or not built.
        InvalidValueError: if it is no Keras 3 model.
    """
    check_model(model)
    folds = {id(norm): before for norm, before, _ in _plan(model) if before is not None}
    return _rebuild(model, _Copies(folds))


def batch_norm_folds(model):
    """Says what `fold_batch_norm` does with each BatchNormalization of a model.

    Args:
        model: a functional or Sequential Keras 3 model.
    Returns:
        A tuple with a `BatchNormFold` for each.
    Raises:
        UnsupportedModelError: if the model is subclassed or not built.
        InvalidValueError: if it is no Keras 3 model.
    """
    check_model(model)
    return tuple(row for _, _, row in _plan(model))


def _plan(model):
    """Gives (BatchNormalization, layer before it or `None`, row) for each in order."""
    import keras

    graphs = _graphs(model, "", model.name)
    uses = collections.Counter(
        id(node.operation) for _, graph in graphs for node in needed_nodes(graph)
    )
    plan = []
    for path, graph in graphs:
        nodes = needed_nodes(graph)
        producers = {id(t): node for node in nodes for t in node.outputs}
        readers = collections.Counter(
            id(t)
            for t in [*graph.outputs, *(t for n in nodes for t in n.input_tensors)]
        )
        for node in nodes:
            norm = node.operation
            if type(norm) is not keras.layers.BatchNormalization:
                continue
            before = producers.get(id(node.input_tensors[0]))
            reason = _obstacle(node, before, uses, readers)
            into = None if reason else f"{path}{before.operation.name}"
            row = BatchNormFold(f"{path}{norm.name}", into, reason)
            plan.append((norm, None if reason else before.operation, row))
    return plan


def _graphs(model, prefix, path):
    """Gives (prefix of names, graph) of a model and of all models nested in it."""
    import keras

    graph = functional_graph(model, path)
    found = {id(graph): (prefix, graph)}
    for node in needed_nodes(graph):
        source = node.operation
        if isinstance(source, keras.Model):
            inner = f"{prefix}{source.name}"
            for item in _graphs(source, f"{inner}/", inner):
                found.setdefault(id(item[1]), item)
    return list(found.values())


def _obstacle(node, before, uses, readers):
    """Gives the reason why a BatchNormalization cannot be folded, or `None`."""
    import keras

    norm = node.operation
    if before is None:
        return "it follows an input of the model"
    layer = before.operation
    name = type(layer).__name__
    if name not in _KERNELS or type(layer) is not getattr(keras.layers, name):
        return f"it follows {layer.name!r} ({name})"
    if uses[id(norm)] > 1 or uses[id(layer)] > 1:
        shared = norm if uses[id(norm)] > 1 else layer
        return f"{shared.name!r} is shared"
    if readers[id(before.outputs[0])] > 1:
        return f"the output of {layer.name!r} is used elsewhere too"
    if layer.activation is not keras.activations.linear:
        return f"{layer.name!r} has an activation"
    if norm.renorm:
        return "it has renorm=True"
    if layer.quantization_mode or getattr(layer, "lora_enabled", False):
        return f"{layer.name!r} is quantized or has LoRA"
    ndim = len(before.outputs[0].shape)
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    if norm.axis % ndim != (1 if first else ndim - 1):
        return f"its axis {norm.axis} is not the channels of {layer.name!r}"
    return None


class _Copies:
    """New layers for those of a source model, each made once.

    Args:
        folds: id of a BatchNormalization -> the layer that takes it in.
    """

    def __init__(self, folds):
        self._folds = folds
        self._normalized = {id(layer) for layer in folds.values()}
        self._copies = {}

    def call(self, source, args, kwargs):
        """Calls the copy of a layer, operation or nested model."""
        import keras

        if id(source) in self._folds:
            before = self._folds[id(source)]
            _fold(before, source, self._copies[id(before)])
            return args[0] if args else kwargs["inputs"]
        if id(source) in self._copies:
            return self._copies[id(source)](*args, **kwargs)
        if isinstance(source, keras.Model):
            self._copies[id(source)] = _rebuild(source, self)
            return self._copies[id(source)](*args, **kwargs)
        config = source.get_config()
        if id(source) in self._normalized:
            config["use_bias"] = True
        copy = self._copies[id(source)] = type(source).from_config(config)
        outputs = copy(*args, **kwargs)
        if isinstance(source, keras.layers.Layer) and id(source) not in (
            self._normalized
        ):
            copy_state(source, copy)
        return outputs


def _rebuild(model, copies):
    """Makes a functional model of the copies, connected as the model is."""
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
    for node in needed_nodes(graph):
        args, kwargs = node_arguments(node, tensors)
        outputs = keras.tree.flatten(copies.call(node.operation, args, kwargs))
        for reference, tensor in zip(node.outputs, outputs, strict=True):
            tensors[id(reference)] = tensor
    outputs = keras.tree.pack_sequence_as(
        graph.output, [tensors[id(tensor)] for tensor in graph.outputs]
    )
    return keras.Model(inputs, outputs, name=model.name, trainable=model.trainable)


def _fold(layer, norm, target):
    """Gives `target`, a copy of `layer` with a bias, its weights with `norm` in."""
    kernel_name, axes = _KERNELS[type(layer).__name__]
    kernel = _array(getattr(layer, kernel_name))
    mean, variance = _array(norm.moving_mean), _array(norm.moving_variance)
    factor = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * _array(norm.gamma)
    bias = (_array(layer.bias) if layer.use_bias else 0.0) - mean
    bias = bias * factor + (_array(norm.beta) if norm.center else 0.0)
    shape = [1] * kernel.ndim
    for axis in axes:
        shape[axis] = kernel.shape[axis]
    getattr(target, kernel_name).assign(kernel * factor.reshape(shape))
    target.bias.assign(bias)
    if kernel_name == "pointwise_kernel":
        target.depthwise_kernel.assign(layer.depthwise_kernel)


def _array(variable):
    """Gives a variable as float64: rounding twice would show in the result."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)
