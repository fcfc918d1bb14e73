"""What part of a quantized file became integers, and why the rest did not.

Weights are constants of two axes or more, other than scales. The products are the
operators that multiply by them, counted as the runtime computes them: what ONNX Runtime
and OpenVINO make of a file is known once they have loaded it.
"""

import dataclasses
import math
import pathlib
import re

from tfcompress.errors import require
from tfcompress.formats import format_of_suffix, openvino_file
from tfcompress.formats.onnx_file import constants, parse_model, scopes
from tfcompress.formats.tflite_graphs import TfliteGraphs
from tfcompress.quantizers.operators import quantized_operators

# Below this part of the weights' bytes a file is an integer one in name alone.
_LEAST = 0.5
_NUM_EXAMPLES = 5
_PRODUCT = re.compile(
    r"(?i).*(matmul|gemm|conv(?!ert)|fully_?connected|lstm|gru|rnn|einsum|attention).*"
)
_TFLITE_FLOATS = ("FLOAT32", "FLOAT16")
_TFLITE_INTEGERS = ("INT8", "UINT8", "INT4", "INT2")
# Their floating-point constants are scales.
_ONNX_SCALED = {
    *("DequantizeLinear", "QuantizeLinear", "MatMulNBits", "MatMulIntegerToFloat"),
    *("DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QLinearConv", "QLinearMatMul"),
}
_OPENVINO_FLOATS = ("f32", "f16", "bf16", "f64")
_OPENVINO_INTEGERS = ("i8", "u8", "i4", "u4", "nf4", "f8e4m3", "f8e5m2", "u2", "u3")


@dataclasses.dataclass(frozen=True)
class FloatWeight:
    """A weight that stayed in floating point.

    Attributes:
        name: of the constant in the file.
        operator: that takes it, as the format calls it.
        size: number of its elements.
    """

    name: str
    operator: str
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntegerShare:
    """What part of a file is integer.

    Attributes:
        weights: share of the weights, by their float32 bytes, that are stored in 8 bits
            or fewer; None where there are no weights.
        products: share of the operators that multiply by weights, that compute in
            integers; None where there are none, or they were not counted.
        floating: `FloatWeight`s, the largest first.
    """

    weights: float | None
    products: float | None
    floating: tuple[FloatWeight, ...]

    def to_json(self) -> dict:
        """Returns the shares as a dict of JSON values."""
        return {"weights": self.weights, "products": self.products}

    def __str__(self):
        weights, products = (_percent(x) for x in (self.weights, self.products))
        return f"{weights} of the weights' bytes and {products} of the products"

    def warning(self) -> str | None:
        """Returns a sentence for a file that is mostly float, None for another."""
        if self.weights is None:
            return "it has no weights to quantize"
        if self.weights >= _LEAST:
            return None
        kinds = {}
        for weight in self.floating:
            kinds.setdefault(weight.operator, []).append(weight.name)
        reasons = [
            f"{operator} stays in float ({_some(names)})"
            for operator, names in list(kinds.items())[:_NUM_EXAMPLES]
        ]
        return "; ".join(reasons)


def _some(names):
    """Returns the first names, and how many more there are."""
    more = len(names) - _NUM_EXAMPLES
    shown = ", ".join(names[:_NUM_EXAMPLES])
    return f"{shown} and {more} more" if more > 0 else shown


def _percent(share):
    return "none" if share is None else f"{100 * share:.0f}%"


def integer_share(path, *, count_products=True):
    """Reads what part of a file is integer.

    Args:
        path: `pathlib.Path` of a .tflite, .onnx or .xml file.
        count_products: whether the runtime loads it in this process to tell.
    Returns:
        `IntegerShare`.
    """
    path = pathlib.Path(path)
    format = format_of_suffix(path.suffix)
    constants = list(format.read_integers(path))
    total = sum(weight.size for weight, _ in constants)
    floating = [weight for weight, is_integer in constants if not is_integer]
    weights = None
    if total:
        weights = 1 - sum(weight.size for weight in floating) / total
    return IntegerShare(
        weights=weights,
        products=_share_of_products(path) if count_products else None,
        floating=tuple(sorted(floating, key=lambda weight: -weight.size)),
    )


def _share_of_products(path):
    operators = quantized_operators(path)
    counts = [
        sum(count for name, count in kind.items() if _PRODUCT.fullmatch(name))
        for kind in (operators.integer, operators.floating)
    ]
    return counts[0] / sum(counts) if sum(counts) else None


def read_tflite(path):
    """Yields (`FloatWeight`, whether it is integer) of each weight."""
    tflite = TfliteGraphs(path)
    seen = set()
    for graph in range(tflite.num_graphs):
        for operator, details in tflite.operators(graph):
            for index in (int(place) for place in details.inputs if place >= 0):
                buffer = tflite.buffer(index, graph)
                shape = tflite.constant_shape(index, graph)
                if buffer in seen or shape is None or len(shape) < 2:
                    continue
                seen.add(buffer)
                kind = tflite.dtype(index, graph)
                if kind in _TFLITE_FLOATS + _TFLITE_INTEGERS:
                    name = tflite.name(index, graph)
                    weight = FloatWeight(name, operator, math.prod(shape))
                    yield weight, kind in _TFLITE_INTEGERS


def read_onnx(path):
    onnx = require("onnx", extra="coding")
    types = onnx.TensorProto
    integers = (types.INT8, types.UINT8, types.INT4, types.UINT4)
    floats = (types.FLOAT, types.FLOAT16, types.BFLOAT16, types.DOUBLE)
    users = {}
    tensors = {}
    for scope in scopes(parse_model(path)):
        tensors |= dict(constants(scope))
        for node in scope.body.node:
            for name in node.input:
                users.setdefault(name, node.op_type)
    for name, tensor in tensors.items():
        if len(tensor.dims) < 2 or name not in users:
            continue
        weight = FloatWeight(name, users[name], math.prod(tensor.dims))
        if tensor.data_type in integers:
            yield weight, True
        elif tensor.data_type in floats and users[name] not in _ONNX_SCALED:
            yield weight, False


def read_openvino(path):
    graphs = openvino_file.graphs(openvino_file.read_model(path))
    for node in (node for graph in graphs for node in graph.get_ordered_ops()):
        if node.get_type_name() != "Constant" or len(node.shape) < 2:
            continue
        kind = node.get_element_type().get_type_name()
        users = [port.get_node() for port in node.output(0).get_target_inputs()]
        size = math.prod(node.shape)
        name = node.get_friendly_name()
        operator = users[0].get_type_name() if users else "nothing"
        if kind in _OPENVINO_INTEGERS:
            yield FloatWeight(name, operator, size), True
        elif kind in _OPENVINO_FLOATS and not all(map(_is_scaled, users)):
            yield FloatWeight(name, operator, size), False


def _is_scaled(node):
    """Returns whether an operator multiplies, or shifts, stored integers."""
    if node.get_type_name() not in ("Multiply", "Subtract", "Divide"):
        return False
    sources = [value.get_node() for value in node.input_values()]
    return any(
        source.get_type_name() in ("Convert", "Subtract")
        and _starts_with_integers(source)
        for source in sources
    )


def _starts_with_integers(node):
    while node.get_type_name() != "Constant":
        if not node.get_input_size():
            return False
        node = node.input_value(0).get_node()
    return node.get_element_type().get_type_name() in _OPENVINO_INTEGERS
