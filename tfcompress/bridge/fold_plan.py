"""Which BatchNormalization layers of a Keras 3 model can be folded, and into what."""

import collections
import dataclasses
from typing import Any

from tfcompress.bridge.graphs import functional_graph, needed_nodes

# Class -> the kernel that makes its outputs, and the kernel's axes of output channels.
KERNELS = {
    "Conv1D": ("kernel", (-1,)),
    "Conv1DTranspose": ("kernel", (-2,)),
    "Conv2D": ("kernel", (-1,)),
    "Conv2DTranspose": ("kernel", (-2,)),
    "Conv3D": ("kernel", (-1,)),
    "Conv3DTranspose": ("kernel", (-2,)),
    "Dense": ("kernel", (-1,)),
    "DepthwiseConv1D": ("kernel", (-2, -1)),
    "DepthwiseConv2D": ("kernel", (-2, -1)),
    "SeparableConv1D": ("pointwise_kernel", (-1,)),
    "SeparableConv2D": ("pointwise_kernel", (-1,)),
}
# In inference they put out what they take in.
_PASSING = (
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
)


@dataclasses.dataclass(frozen=True)
class BatchNormFold:
    """What becomes of one BatchNormalization layer.

    Attributes:
        name: the layer, after the names of the models that it lies in.
        into: the layer that takes it in, `None` if it stays.
        reason: why it stays, `None` if it does not.
        spoils: the layer into whose weights converters multiply it where it stays, so
            that clusters are lost; `None` if they do not.
    """

    name: str
    into: str | None = None
    reason: str | None = None
    spoils: str | None = None


@dataclasses.dataclass(frozen=True)
class Fold:
    """What is done with one call of a BatchNormalization.

    Attributes:
        norm: the Keras layer.
        row: its `BatchNormFold`.
        layer: the Keras layer that takes it in, or `None`.
        is_after: whether the BatchNormalization comes after that layer.
    """

    norm: Any
    row: BatchNormFold
    layer: Any = None
    is_after: bool = True


def plan_folds(model, keep=()):
    """Decides what becomes of each BatchNormalization, nested models included.

    Args:
        model: a functional or Sequential Keras 3 model.
        keep: names of those that are to stay.
    Returns:
        List of `Fold`, in the order of the graph.
    """
    import keras

    calls = _Calls(model)
    norms = [
        node
        for node in calls.nodes
        if type(node.operation) is keras.layers.BatchNormalization
    ]
    found = {}
    for node in norms:
        found[id(node)] = _fold_back(node, calls, keep)
        if found[id(node)].layer is not None:
            calls.passing.add(id(node))
    # From the end: what follows may be folded into the same Dense.
    for node in reversed(norms):
        if found[id(node)].layer is not None:
            continue
        ahead = _fold_ahead(node, calls, keep)
        if ahead is not None and ahead.layer is not None:
            calls.passing.add(id(node))
            found[id(node)] = ahead
        elif ahead is not None and found[id(node)].row.spoils is None:
            found[id(node)] = ahead
    return [found[id(node)] for node in norms]


class _Calls:
    """The calls of a model and of all models in it, as if they were one graph.

    Args:
        model: Keras 3 model.

    Attributes:
        nodes: list of all nodes but those that call a nested model with one input and
            output which is called nowhere else: it is looked through.
        passing: ids of nodes of BatchNormalization that are folded.
        uses: id of a layer -> number of its calls.
    """

    def __init__(self, model):
        self.nodes, self.passing = [], set()
        self.uses = collections.Counter()
        self._paths, self._producers, self._readers = {}, {}, {}
        self._same = {}  # id of a tensor -> the tensor that it is, outside or inside
        seen = {}
        self._count(functional_graph(model, model.name), set())
        self._add(functional_graph(model, model.name), "", seen)
        outputs = list(functional_graph(model, model.name).outputs)
        for graph in seen.values():
            outputs += graph.outputs
        for node in self.nodes:
            for tensor in node.outputs:
                self._producers[id(tensor)] = node
        for node in self.nodes:
            for tensor in node.input_tensors:
                self._readers.setdefault(id(self._origin(tensor)), []).append(node)
        for tensor in outputs:
            self._readers.setdefault(id(self._origin(tensor)), []).append(None)

    def path(self, node):
        """Gives a layer's name after those of the models that it lies in."""
        return self._paths[id(node)] + node.operation.name

    def before(self, node):
        """Finds what a BatchNormalization normalizes.

        Returns:
            `(node, reader)`: the node before it, those left out that pass values on,
            `None` for an input; and one on the way that is not the only reader of what
            it reads, or `None`.
        """
        shared = None
        while True:
            tensor = self._origin(node.input_tensors[0])
            before = self._producers.get(id(tensor))
            if before is None:
                return None, shared
            if len(self._readers[id(tensor)]) > 1:
                shared = shared or before
            if not self._is_passing(before):
                return before, shared
            node = before

    def after(self, node):
        """Gives the one node that reads a node, or `None` if there are others."""
        while True:
            readers = self._readers.get(id(self._origin(node.outputs[0])), ())
            if len(readers) != 1 or readers[0] is None:
                return None
            if not self._is_passing(readers[0]):
                return readers[0]
            node = readers[0]

    def _is_passing(self, node):
        import keras

        layer = node.operation
        if id(node) in self.passing:
            return True
        if type(layer) is keras.layers.Activation:
            return layer.activation is keras.activations.linear
        return type(layer).__module__.startswith("keras.") and (
            type(layer).__name__ in _PASSING
        )

    def _count(self, graph, seen):
        """Counts the calls of all layers; a nested model's own count once."""
        import keras

        if id(graph) in seen:
            return
        seen.add(id(graph))
        for node in needed_nodes(graph):
            self.uses[id(node.operation)] += 1
            if isinstance(node.operation, keras.Model):
                inner = functional_graph(node.operation, node.operation.name)
                self._count(inner, seen)

    def _add(self, graph, prefix, seen):
        """Adds the nodes of a graph; `seen` takes the graphs that stay apart."""
        import keras

        for node in needed_nodes(graph):
            source = node.operation
            self._paths[id(node)] = prefix
            if not isinstance(source, keras.Model):
                self.nodes.append(node)
                continue
            inner = functional_graph(source, f"{prefix}{source.name}")
            is_one_to_one = (
                self.uses[id(source)] == 1
                and len(inner.inputs) == len(node.input_tensors) == 1
                and len(inner.outputs) == 1
            )
            if is_one_to_one:
                self._same[id(inner.inputs[0])] = node.input_tensors[0]
                self._same[id(node.outputs[0])] = inner.outputs[0]
            else:
                self.nodes.append(node)
            if id(inner) not in seen:
                if not is_one_to_one:
                    seen[id(inner)] = inner
                self._add(inner, f"{prefix}{source.name}/", seen)

    def _origin(self, tensor):
        while id(tensor) in self._same:
            tensor = self._same[id(tensor)]
        return tensor


def _fold_back(node, calls, keep):
    """Gives the `Fold` of a BatchNormalization into the layer before it."""
    norm, name = node.operation, calls.path(node)
    before, shared = calls.before(node)
    if before is None:
        return _stays(norm, name, "it follows an input of the model")
    layer = before.operation
    if not _has_kernel(layer):
        return _stays(norm, name, f"it follows {layer.name!r} ({type(layer).__name__})")
    path = calls.path(before)
    reason = _shared(node, before, calls)
    if reason is None and shared is not None:
        operation = shared.operation
        return _stays(
            norm, name, f"the output of {operation.name!r} is used elsewhere too"
        )
    if reason is None and layer.activation is not _linear():
        return _stays(norm, name, f"{layer.name!r} has an activation")
    reason = reason or _unfit(norm, layer)
    ndim = len(before.outputs[0].shape)
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    if reason is None and norm.axis % ndim != (1 if first else ndim - 1):
        reason = f"its axis {norm.axis} is not the channels of {layer.name!r}"
        return _stays(norm, name, reason)
    if reason is None and before.outputs[0].dtype != node.outputs[0].dtype:
        reason = f"it computes in another dtype than {layer.name!r}"
    if reason is None and name in keep:
        reason = "it is to be kept"
    if reason is not None:
        return Fold(norm, BatchNormFold(name, None, reason, path))
    return Fold(norm, BatchNormFold(name, path), layer)


def _fold_ahead(node, calls, keep):
    """Gives the `Fold` of a BatchNormalization into the Dense after it, or `None`."""
    import keras

    norm, name = node.operation, calls.path(node)
    after = calls.after(node)
    if after is None or type(after.operation) is not keras.layers.Dense:
        return None
    layer, path = after.operation, calls.path(after)
    if norm.axis % len(node.outputs[0].shape) != len(node.outputs[0].shape) - 1:
        return None
    reason = _shared(node, after, calls) or _unfit(norm, layer)
    if reason is None and node.outputs[0].dtype != node.input_tensors[0].dtype:
        reason = f"it computes in another dtype than {layer.name!r}"
    if reason is None and name in keep:
        reason = "it is to be kept"
    if reason is not None:
        return Fold(norm, BatchNormFold(name, None, reason, path))
    return Fold(norm, BatchNormFold(name, path), layer, is_after=False)


def _stays(norm, name, reason):
    return Fold(norm, BatchNormFold(name, None, reason))


def _has_kernel(layer):
    """Whether a layer is one of Keras's own that a BatchNormalization folds into."""
    import keras

    name = type(layer).__name__
    return name in KERNELS and type(layer) is getattr(keras.layers, name)


def _shared(node, other, calls):
    """Gives the reason where one of two layers is called several times."""
    for layer in (node.operation, other.operation):
        if calls.uses[id(layer)] > 1:
            return f"{layer.name!r} is shared"
    return None


def _unfit(norm, layer):
    """Gives the reason where the layers do not compute by their weights alone."""
    if norm.renorm:
        return "it has renorm=True"
    if layer.quantization_mode or getattr(layer, "lora_enabled", False):
        return f"{layer.name!r} is quantized or has LoRA"
    return None


def _linear():
    import keras

    return keras.activations.linear
