"""Products and convolutions whose inputs ONNX Runtime rounds as it runs.

Written as the standard's own operators, DynamicQuantizeLinear, MatMulInteger and
ConvInteger, of which ONNX Runtime makes DynamicQuantizeMatMul where it can. They are
integer at every level of optimization.

Weights are unsigned, with 128 for zero: where a CPU has no instructions for products of
8 bits (AVX2 without VNNI), ONNX Runtime adds up two products of an unsigned and a
signed number in 16 bits, which do not hold them; two unsigned ones it does not.
"""

import dataclasses

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.onnx_weights import CONVOLUTION, PRODUCT

MIN_OPSET = 11  # DynamicQuantizeLinear's


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A product or convolution as it will be written.

    Attributes:
        use: the `Use`.
        weight: its `Weight`, quantized.
        scales: float32 scales of the channels, shape `(channels,)` or `()`.
        bias: float32, or None; it is added to the output.
        bias_name: name of a bias that is no constant; None if there is none.
        bias_factor: what such a bias is multiplied by.
        output: name of what it puts out.
    """

    use: object
    weight: object
    scales: np.ndarray
    bias: np.ndarray | None
    bias_name: str | None
    bias_factor: float
    output: str


class DynamicWriter:
    """Writes products and convolutions that round their inputs as they run.

    Args:
        model: `OnnxModel`.
        norms: `onnx_norms.find_norms`'s.
    """

    def __init__(self, model, norms):
        self._model = model
        self._norms = norms
        self._rounded = {}

    def can_write(self, weight, use):
        """Returns whether a use becomes integer."""
        return can_write(self._model, weight, use)

    def write(self, weight, use):
        """Puts integer operators in the place of a node."""
        layer = read_layer(self._model, weight, use, self._norms)
        model, node, output = self._model, use.node, layer.output
        rounded, scale, point = self._round(use)
        counts, wide = (model.fresh(f"{output}_{what}") for what in ("sums", "wide"))
        middle = model.add_constant(
            model.main, f"{weight.name}_zero_point", weight.zero_point
        )
        nodes = []
        if use.kind == PRODUCT:
            order = use.order[::-1] if is_transposed(node) else use.order
            inputs = [rounded, weight.stored(order), point, middle]
            nodes.append(model.make_node("MatMulInteger", inputs, counts))
            ndim_after = 0
        else:
            inputs = [rounded, weight.stored(use.order), point, middle]
            options = attributes_of(node)
            nodes.append(model.make_node("ConvInteger", inputs, counts, **options))
            ndim_after = weight.integers.ndim - 2
        scales = layer.scales
        if scales.ndim:
            scales = scales.reshape(-1, *[1] * ndim_after)
        scales = model.add_constant(model.main, f"{weight.name}_scale", scales)
        both = model.fresh(f"{output}_scale")
        onnx = require("onnx", extra="quantizers")
        float32 = onnx.TensorProto.FLOAT
        nodes.append(model.make_node("Cast", [counts], wide, to=float32))
        nodes.append(model.make_node("Mul", [scale, scales], both))
        nodes += self._scale_and_add(layer, wide, both, ndim_after)
        use.scope.replace(use.index, nodes)

    def _scale_and_add(self, layer, wide, both, ndim_after):
        """Returns the nodes that end in the layer's output."""
        model, output = self._model, layer.output
        bias, nodes = bias_constant(model, layer, ndim_after)
        scaled = output if bias is None else model.fresh(f"{output}_scaled")
        nodes.append(model.make_node("Mul", [wide, both], scaled))
        if bias is not None:
            nodes.append(model.make_node("Add", [scaled, bias], output))
        return nodes

    def _round(self, use):
        """Returns the names of the rounded input, its scale and its zero point."""
        name, model = use.node.input[0], self._model
        if name in self._rounded:
            return self._rounded[name]
        onnx = require("onnx", extra="quantizers")
        outputs = [
            model.fresh(f"{name}_{what}") for what in ("rounded", "scale", "zero_point")
        ]
        node = onnx.helper.make_node(
            "DynamicQuantizeLinear",
            [name],
            outputs,
            name=model.fresh(f"{name}/DynamicQuantizeLinear"),
        )
        use.scope.insert_behind(name, [node])
        self._rounded[name] = outputs
        return outputs


def can_write(model, weight, use):
    """Returns whether a use is a product or a convolution that has integer kernels."""
    if use.scope is not model.main or not weight.is_float32:
        return False
    if use.kind == PRODUCT:
        return not _options(use.node).get("transA")
    return use.kind == CONVOLUTION and use.order == tuple(range(len(use.order)))


def read_layer(model, weight, use, norms):
    """Reads a MatMul, Gemm or Conv, and a normalization that it takes in."""
    node, options = use.node, _options(use.node)
    scales = weight.scales_of(use.order)
    bias_name = node.input[2] if len(node.input) > 2 and node.input[2] else None
    bias = None if bias_name is None else model.constant(use.scope, bias_name)
    factor = 1.0
    if node.op_type == "Gemm":
        scales = scales * np.float32(options.get("alpha", 1.0))
        factor = options.get("beta", 1.0)
    if bias is not None:
        bias, bias_name = bias.astype(np.float32) * np.float32(factor), None
    output = node.output[0]
    norm = norms.get(use.index)
    if norm is not None:
        scales = scales * norm.factors
        bias = norm.shifts if bias is None else bias * norm.factors + norm.shifts
        output = norm.output
        use.scope.replace(norm.index, [])
    return Layer(use, weight, scales, bias, bias_name, factor, output)


def bias_constant(model, layer, ndim_after):
    """Returns the name of a layer's bias, None of none, and nodes that make it."""
    if layer.bias is not None:
        bias = layer.bias
        if ndim_after:
            bias = bias.reshape(-1, *[1] * ndim_after)
        name = f"{layer.weight.name}_bias"
        return model.add_constant(model.main, name, bias), []
    name = layer.bias_name
    if name is None or (layer.bias_factor == 1 and not ndim_after):
        return name, []
    nodes = []
    if layer.bias_factor != 1:
        factor = np.float32(layer.bias_factor)
        factor = model.add_constant(model.main, f"{name}_factor", factor)
        scaled = model.fresh(f"{name}_times_factor")
        nodes.append(model.make_node("Mul", [name, factor], scaled))
        name = scaled
    if ndim_after:
        shape = np.array([-1, *[1] * ndim_after])
        shape = model.add_constant(model.main, f"{name}_shape", shape)
        reshaped = model.fresh(f"{name}_of_channels")
        nodes.append(model.make_node("Reshape", [name, shape], reshaped))
        name = reshaped
    return name, nodes


def is_transposed(node):
    """Returns whether a Gemm takes its weights with outputs by inputs."""
    return bool(_options(node).get("transB"))


def attributes_of(node):
    """Returns the attributes of a node as a dict."""
    onnx = require("onnx", extra="quantizers")
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _options(node):
    return attributes_of(node) if node.op_type == "Gemm" else {}
