"""Finds the weights of a .tflite model and everything that uses them."""

import dataclasses

import numpy as np

from tfcompress.coding.tflite.layers import Usage, usage
from tfcompress.formats.tflite_graphs import operator_name, type_name

# Element types of weights; the rest (shapes, axes, ids, strings) are no weights.
_DTYPES = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "BFLOAT16": np.uint16,
    "FLOAT64": np.float64,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT4": np.uint8,
    "INT2": np.uint8,
}
_CODED_DTYPES = ("FLOAT32", "FLOAT16", "INT8")


@dataclasses.dataclass(frozen=True, eq=False)
class Use:
    """One use of a weight.

    Attributes:
        subgraph: index of the subgraph.
        tensor: index of the tensor that `operator` takes: the constant itself, or what
            a DEQUANTIZE makes of it.
        operator: the schema's `OperatorT`.
        usage: how it can use a decoded weight.
    """

    subgraph: int
    tensor: int
    operator: object
    usage: Usage


@dataclasses.dataclass(eq=False)
class Weight:
    """A constant of a model, however many tensors share its buffer.

    Attributes:
        name: of its first tensor.
        dtype: name of the schema's element type.
        array: the constant, shape of its first tensor (packed 4-bit integers and the
            like: the bytes, flat).
        tensors: `(subgraph, tensor)` of everything that shares the buffer.
        uses: every `Use`.
        dequantizers: `OperatorT`s that make a float16 weight float32 and do nothing
            else; decoding puts them out of work.
        reason: why it has to stay as it is, or None.
    """

    name: str
    dtype: str
    array: np.ndarray
    tensors: list[tuple[int, int]]
    uses: list[Use] = dataclasses.field(default_factory=list)
    dequantizers: list[object] = dataclasses.field(default_factory=list)
    reason: str | None = None

    @property
    def is_integer(self):
        """Returns True where it is quantized."""
        return self.array.dtype.kind in "iu"

    def is_used_as(self, kind):
        """Returns True where an operator uses it as `kind` (see `Usage`)."""
        return any(use.usage.kind == kind for use in self.uses)

    def slowed_operator(self, slowdown):
        """Returns an operator that decoding slows down by `slowdown` or more, or None.

        Args:
            slowdown: as `Usage.slowdown`.
        """
        slowed = (use.operator for use in self.uses if use.usage.slowdown >= slowdown)
        return next(slowed, None)


def find_weights(model):
    """Finds the constants of a model whose element type is one for weights.

    Args:
        model: the schema's `ModelT`.
    Returns:
        List of `Weight` in the order of the file.
    """
    weights = {}
    for number, subgraph in enumerate(model.subgraphs):
        for index, tensor in enumerate(subgraph.tensors):
            data = model.buffers[tensor.buffer].data
            if type_name(tensor) not in _DTYPES or data is None or not len(data):
                continue
            if tensor.buffer not in weights:
                weights[tensor.buffer] = _new_weight(tensor, data)
            weights[tensor.buffer].tensors.append((number, index))
    for weight in weights.values():
        _check_tensors(model, weight)
        for number, index in weight.tensors:
            _add_uses(model, weight, number, index)
        if not weight.uses:
            weight.reason = weight.reason or "no operator uses it"
    return list(weights.values())


def _new_weight(tensor, data):
    dtype = type_name(tensor)
    array = np.frombuffer(data.tobytes(), _DTYPES[dtype])
    shape = _shape_of(tensor)
    if array.size == np.prod(shape, dtype=np.int64):
        array = array.reshape(shape)
    name = (tensor.name or b"").decode(errors="replace")
    return Weight(name, dtype, array, [])


def _check_tensors(model, weight):
    """Sets the reason where the constant itself forbids to code it."""
    tensors = [model.subgraphs[number].tensors[i] for number, i in weight.tensors]
    if weight.dtype not in _CODED_DTYPES:
        weight.reason = f"{weight.dtype} is left in the file's own precision"
    elif any(tensor.sparsity is not None for tensor in tensors):
        weight.reason = "it is stored as a sparse tensor already"
    elif any(tensor.isVariable for tensor in tensors):
        weight.reason = "it is the state of an operator"
    elif any(
        _shape_of(tensor) != weight.array.shape or type_name(tensor) != weight.dtype
        for tensor in tensors
    ):
        weight.reason = "tensors of several shapes or types share it"


def _add_uses(model, weight, number, index):
    """Adds the uses of one tensor to its weight."""
    subgraph = model.subgraphs[number]
    if index in [*subgraph.inputs, *subgraph.outputs]:
        weight.reason = weight.reason or "it is an input or output of the model"
    for operator in subgraph.operators:
        for position, end in enumerate(operator.inputs):
            if end != index:
                continue
            kind = operator_name(model, operator)
            if weight.dtype == "FLOAT16" and kind == "DEQUANTIZE":
                weight.dequantizers.append(operator)
                _add_uses(model, weight, number, int(operator.outputs[0]))
                continue
            if type_name(subgraph.tensors[index]) == "FLOAT16":
                weight.reason = weight.reason or f"{kind} takes it as float16"
            found = usage(model, subgraph, operator, position)
            if found.kind is None:
                weight.reason = weight.reason or f"{kind} needs it as a constant"
            elif weight.is_integer and found.kind != "rows":
                weight.reason = weight.reason or (
                    f"{kind} computes with integers where they are constant"
                )
            elif weight.is_integer and _output_type(subgraph, operator) != weight.dtype:
                weight.reason = weight.reason or f"{kind} makes floats of its rows"
            weight.uses.append(Use(number, index, operator, found))


def _output_type(subgraph, operator):
    return type_name(subgraph.tensors[int(operator.outputs[0])])


def _shape_of(tensor):
    return () if tensor.shape is None else tuple(tensor.shape.tolist())
