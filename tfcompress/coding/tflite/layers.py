"""What becomes of the operators whose weights are decoded, not constant any more.

XNNPACK, LiteRT's default delegate, takes FULLY_CONNECTED and convolutions with constant
weights only; without it they run on kernels several times slower. BATCH_MATMUL of what
is not constant it takes, so that a dense layer or a 1x1 convolution becomes one. It
packs the right side in every run: where the activations have many rows, they are the
right side, and the product is transposed. Measured on 1536x384 weights and 128 rows:
1.06 times the time of the dense layer; with the weights on the right 1.16 times, not
delegated 10 times. Without XNNPACK, BATCH_MATMUL is the slow one.
"""

import dataclasses

import numpy as np

from tfcompress.formats.tflite_file import schema
from tfcompress.formats.tflite_graphs import operator_name, type_name

FULL_SPEED, SLOWER, SLOWEST = range(3)

# From so many rows on a product is faster with the weights on the left: measured.
_MANY_ROWS = 16


@dataclasses.dataclass(frozen=True)
class Usage:
    """How an operator can use a decoded weight.

    Attributes:
        kind: "rows" (it looks rows up), "matmul" (it becomes BATCH_MATMUL), "read" (it
            takes the decoded tensor as it is), or None (it needs a constant).
        slowdown: `FULL_SPEED`; `SLOWER`, a 1x1 convolution that packs its weights in
            every run (up to 3 times the time); or `SLOWEST`, it leaves its delegate
            or copies the weight in every run (several times).
        shape: shape of the decoded tensor that it reads; None for "rows".
    """

    kind: str | None
    slowdown: int = 0
    shape: tuple[int, ...] | None = None


# Operators that run with a weight that is not constant, and which input it is.
_SLOW_READERS = (
    ("CONV_2D", 1),
    ("CONV_3D", 1),
    ("DEPTHWISE_CONV_2D", 1),
    ("EMBEDDING_LOOKUP", 1),
    ("FULLY_CONNECTED", 1),
    ("GATHER", 0),
    ("PRELU", 1),
    ("TRANSPOSE_CONV", 1),
)
_ELEMENTWISE = ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB")
_FAST_READERS = (
    *((kind, end) for kind in (*_ELEMENTWISE, "BATCH_MATMUL") for end in (0, 1)),
    # Its eight kernels: XNNPACK does not take it anyway.
    *(("UNIDIRECTIONAL_SEQUENCE_LSTM", end) for end in range(1, 9)),
)

# Fused activations that ADD has too, and the operator for each.
_ACTIVATIONS = {
    "NONE": None,
    "RELU": "RELU",
    "RELU_N1_TO_1": "RELU_N1_TO_1",
    "RELU6": "RELU6",
}


def usage(model, subgraph, operator, position):
    """Tells how an operator can use a decoded weight.

    Args:
        model: the schema's `ModelT`.
        subgraph: the `SubGraphT` of the operator.
        operator: the `OperatorT`.
        position: which of its inputs is the weight.
    Returns:
        A `Usage`.
    """
    kind = operator_name(model, operator)
    shape = _shape(subgraph, operator.inputs[position])
    if (kind, position) not in (*_SLOW_READERS, *_FAST_READERS):
        return Usage(None)
    if kind in ("GATHER", "EMBEDDING_LOOKUP"):
        ids = subgraph.tensors[row_lookup(model, operator)[0]]
        if _looks_up_rows(operator, shape, ids):
            return Usage("rows")
    if _is_matmul(kind, subgraph, operator):
        slowdown = SLOWER if kind == "CONV_2D" else FULL_SPEED
        return Usage("matmul", slowdown, (shape[0], shape[-1]))
    is_slow = (kind, position) in _SLOW_READERS
    return Usage("read", SLOWEST if is_slow else FULL_SPEED, shape)


def row_lookup(model, operator):
    """Returns (ids, output) of an operator whose usage is "rows"."""
    ids = 1 if operator_name(model, operator) == "GATHER" else 0
    return int(operator.inputs[ids]), int(operator.outputs[0])


def as_matmul(graph, operator, weight):
    """Writes a dense layer or a 1x1 convolution as BATCH_MATMUL and ADD.

    Args:
        graph: `graph.Graph` of the operator's subgraph.
        operator: an `OperatorT` whose usage is "matmul".
        weight: index of the decoded weight, shape `(outputs, inputs)`.
    Returns:
        List of operators; the last has the outputs of `operator`.
    """
    source, result = int(operator.inputs[0]), int(operator.outputs[0])
    bias = int(operator.inputs[2]) if len(operator.inputs) > 2 else -1
    fused = operator.builtinOptions.fusedActivationFunction
    activation = _ACTIVATIONS[_activation_name(fused)]
    operators = []
    # FULLY_CONNECTED flattens its input unless it keeps the dimensions.
    if len(graph.signature(source)) != len(graph.signature(result)):
        num_inputs = _shape(graph.subgraph, weight)[1]
        target = graph.constant(np.int32([-1, num_inputs]))
        flat = graph.tensor([-1, num_inputs], "FLOAT32")
        operators.append(graph.operator("RESHAPE", [source, target], [flat]))
        source = flat
    product = result
    if bias != -1 or activation:
        product = graph.tensor(graph.signature(result), "FLOAT32")
    operators += _multiply(graph, source, weight, product)
    if bias != -1:
        operators.append(
            graph.operator(
                "ADD",
                [product, bias],
                [result],
                "AddOptions",
                fusedActivationFunction=fused,
            )
        )
    elif activation:
        operators.append(graph.operator(activation, [product], [result]))
    return operators


def _multiply(graph, source, weight, product):
    """Writes `product = source x weight^T` the way that packs fewer bytes in a run."""
    if not _has_many_rows(graph.signature(source)):
        ends, output = [source, weight], product
    else:
        *batch, rows, columns = graph.signature(product)
        ends, output = (
            [weight, source],
            graph.tensor([*batch, columns, rows], "FLOAT32"),
        )
    operators = [
        graph.operator("BATCH_MATMUL", ends, [output], "BatchMatMulOptions", adjY=True)
    ]
    if output != product:
        rank = len(graph.signature(product))
        order = np.arange(rank, dtype=np.int32)
        order[-2:] = rank - 1, rank - 2
        operators.append(
            graph.operator(
                "TRANSPOSE",
                [output, graph.constant(order)],
                [product],
                "TransposeOptions",
            )
        )
    return operators


def _has_many_rows(shape):
    """Returns True where one matrix of a tensor has many rows, or is likely to.

    A sequence of unknown length is likely to, a batch of single rows is not. Images
    have a matrix of few rows for each of their lines.
    """
    if len(shape) > 3:
        return False
    return shape[-2] >= _MANY_ROWS or (shape[-2] < 0 and len(shape) > 2)


def _looks_up_rows(operator, table_shape, ids):
    if not ids.hasRank and not _sizes(ids):
        return False  # a scalar, or of a rank that only a run tells
    options = operator.builtinOptions
    axis = getattr(options, "axis", 0)
    batch_dims = getattr(options, "batchDims", 0)
    return len(table_shape) > 1 and axis == 0 and batch_dims == 0


def _is_matmul(kind, subgraph, operator):
    if kind not in ("FULLY_CONNECTED", "CONV_2D"):
        return False
    options = operator.builtinOptions
    source, weight = operator.inputs[:2]
    result = operator.outputs[0]
    types = {type_name(subgraph.tensors[end]) for end in (source, result)}
    if types != {"FLOAT32"}:
        return False
    if _activation_name(options.fusedActivationFunction) not in _ACTIVATIONS:
        return False
    source_shape, weight_shape = _shape(subgraph, source), _shape(subgraph, weight)
    if kind == "FULLY_CONNECTED":
        same_rank = len(source_shape) == len(_shape(subgraph, result))
        return (
            options.weightsFormat == 0
            and len(source_shape) > 1
            and (same_rank if options.keepNumDims else True)
        )
    return (
        weight_shape[1:3] == (1, 1)
        and options.strideH == options.strideW == 1
        and weight_shape[3:] == source_shape[3:]  # else it is a grouped convolution
    )


def _activation_name(value):
    names = vars(schema().ActivationFunctionType).items()
    return next(name for name, number in names if number == value and name.isupper())


def _shape(subgraph, index):
    return _sizes(subgraph.tensors[index])


def _sizes(tensor):
    return () if tensor.shape is None else tuple(tensor.shape.tolist())
