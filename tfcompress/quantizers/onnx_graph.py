"""The parts of an ONNX graph that become integer: products with weights, and tables."""

import dataclasses

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.grids import find_grid

_FUSED = "/MatMulAddFusion"  # what ONNX Runtime calls the Gemm that it makes
_MAX_INT8 = 127


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
    """A MatMul or Gemm with constant weights.

    Attributes:
        layer: name of the layer, such as "classifier/logits".
        input_name: the activation that it multiplies.
        weights_name: the initializer.
        weights: float32, rank 2.
        channel_axis: axis of the output channels in `weights`.
    """

    layer: str
    input_name: str
    weights_name: str
    weights: np.ndarray
    channel_axis: int


def find_products(graph, layers):
    """Finds what is to be quantized.

    Args:
        graph: `onnx.GraphProto`.
        layers: `LayerRules` over the layers' names.
    Returns:
        List of `Product`, and the names of the other MatMul and Gemm nodes.
    Raises:
        InvalidValueError: if a rule matches no layer.
    """
    arrays = _float_constants(graph)
    nodes = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    candidates = {
        node.name: _product(node, arrays)
        for node in nodes
        if node.input[1] in arrays and arrays[node.input[1]].ndim == 2
    }
    plan = layers.plan({product.layer: "Dense" for product in candidates.values()})
    chosen = {
        name: product
        for name, product in candidates.items()
        if plan[product.layer] is not None
    }
    return list(chosen.values()), [n.name for n in nodes if n.name not in chosen]


def _product(node, arrays):
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return Product(
        layer=node.name.removesuffix(_FUSED).rpartition("/")[0] or node.name,
        input_name=node.input[0],
        weights_name=node.input[1],
        weights=arrays[node.input[1]],
        channel_axis=0 if transposed else 1,
    )


def _float_constants(graph):
    onnx = require("onnx", extra="quantizers")
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    }


def quantize_tables(model):
    """Makes the tables that rows are looked up in int8, one scale for each.

    ONNX Runtime's quantizer gives a table an unsigned type and a zero point, with which
    weights on a symmetric grid would be rounded a second time. Rows are looked up as
    integers and made float after.

    Args:
        model: `onnx.ModelProto`, changed in place.
    """
    onnx = require("onnx", extra="quantizers")
    arrays = _float_constants(model.graph)
    users = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for name, array in arrays.items():
        nodes = users.get(name, [])
        if array.ndim < 2 or not nodes or not all(_looks_up(n, name) for n in nodes):
            continue
        integers, scale = _to_int8(array)
        (tensor,) = (t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(integers, name))
        constant = onnx.numpy_helper.from_array(scale, f"{name}_scale")
        model.graph.initializer.append(constant)
        for node in nodes:
            _dequantize_output(model.graph, node, constant.name)


def _looks_up(node, name):
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return node.op_type == "Gather" and node.input[0] == name and axis == 0


def _to_int8(array):
    """Returns int8 integers and their float32 scale."""
    grid = find_grid(array, 0)
    scale = np.float32(np.abs(array).max() / _MAX_INT8) or np.float32(1)
    if grid is not None and grid.is_per_tensor:
        scale = np.float32(grid.scale)
    return np.rint(array / scale).astype(np.int8), np.asarray(scale)


def _dequantize_output(graph, node, scale_name):
    onnx = require("onnx", extra="quantizers")
    name = node.output[0]
    node.output[0] = f"{name}_quantized"
    after = list(graph.node).index(node) + 1
    dequantize = onnx.helper.make_node(
        "DequantizeLinear",
        [node.output[0], scale_name],
        [name],
        name=f"{node.name}/DequantizeLinear",
    )
    graph.node.insert(after, dequantize)
