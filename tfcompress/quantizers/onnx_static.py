"""Products and convolutions whose inputs have ranges that calibration found.

Written as QDQ: an input goes through QuantizeLinear and DequantizeLinear, weights
through DequantizeLinear, and ONNX Runtime makes one integer operator of these and the
product or convolution (MatMulIntegerToFloat, QGemm, QLinearConv). A convolution has to
have integers as its outputs too; a Relu or Clip behind it is their range.
"""

import dataclasses

import numpy as np

from tfcompress.quantizers.onnx_products import (
    attributes_of,
    bias_constant,
    can_write,
    is_transposed,
    read_layer,
)
from tfcompress.quantizers.onnx_weights import CONVOLUTION

MIN_OPSET = 13  # DequantizeLinear's scales by channel

_MAX_UINT8 = 255
# A bias is an integer of 32 bits, in steps of the input's scale by the weights'. Where
# weights are so small that it would not fit, or are all zero, they get larger scales.
_MAX_BIAS = 2**30
_BIAS_STEPS = 2**20

# They put out numbers that they take in: their range is that of their input.
_MOVES = (
    *("Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
)


class StaticWriter:
    """Writes products and convolutions whose inputs have fixed ranges.

    Args:
        model: `OnnxModel`.
        norms: `onnx_norms.find_norms`'s.
        ranks: name of an activation -> its number of axes, as far as it is known.
    """

    def __init__(self, model, norms, ranks):
        self._model = model
        self._norms = norms
        self._ranks = ranks
        self._ranges = {}
        self._parameters = {}
        self._dequantized = {}
        self._uses = model.count_uses()
        self._readers = {}
        for index, node in enumerate(model.main.nodes):
            self._readers.update(dict.fromkeys(node.input, index))

    def activations(self, weights):
        """Returns the names of the activations that need a range, sorted."""
        names = set()
        for weight in weights:
            for use in weight.uses:
                if self._has_kernel(weight, use):
                    names.update(self._activations_of(use))
        return sorted(names)

    def take_ranges(self, ranges):
        """Takes name -> (least, greatest); what has none stays float."""
        self._ranges = ranges

    def can_write(self, weight, use):
        """Returns whether a use becomes integer."""
        return self._has_kernel(weight, use) and all(
            name in self._ranges for name in self._activations_of(use)
        )

    def write(self, weight, use):
        """Puts QDQ operators around a product or a convolution."""
        layer = read_layer(self._model, weight, use, self._norms)
        if use.kind == CONVOLUTION:
            nodes = self._convolution(layer)
        else:
            layer = self._with_added_bias(layer)
            nodes = (self._gemm if self._is_gemm(layer) else self._product)(layer)
        use.scope.replace(use.index, nodes)

    def _has_kernel(self, weight, use):
        if not can_write(self._model, weight, use):
            return False
        node = use.node
        if use.kind == CONVOLUTION:
            has_bias = len(node.input) > 2 and node.input[2]
            return not has_bias or (
                self._model.constant(use.scope, node.input[2]) is not None
            )
        return attributes_of(node).get("alpha", 1.0) > 0

    def _activations_of(self, use):
        names = [use.node.input[0]]
        if use.kind == CONVOLUTION:
            names.append(self._end(use)[0])
        return names

    def _end(self, use):
        """Returns the name of what a convolution puts out once it is bounded, and the
        place of the Relu or Clip that bounds it, None if there is none."""
        norm = self._norms.get(use.index)
        output = use.node.output[0] if norm is None else norm.output
        index = self._only_reader(output)
        if index is None or not self._is_bound(self._model.main.nodes[index], output):
            return output, None
        return self._model.main.nodes[index].output[0], index

    def _only_reader(self, name):
        """Returns the index of the one node that reads a value; None of more."""
        return self._readers.get(name) if self._uses[name] == 1 else None

    def _is_bound(self, node, name):
        """Returns whether a range with 0 in it does what a node does."""
        if node.op_type == "Relu":
            return True
        if node.op_type != "Clip" or node.input[0] != name:
            return False
        ends = [
            self._model.constant(self._model.main, each)
            for each in node.input[1:]
            if each
        ]
        if any(end is None or end.size != 1 for end in ends):
            return False
        least = ends[0] if len(node.input) > 1 and node.input[1] else -np.inf
        greatest = ends[-1] if len(node.input) > 2 and node.input[2] else np.inf
        return bool(least <= 0 <= greatest)

    def _convolution(self, layer):
        model, node = self._model, layer.use.node
        end, bound = self._end(layer.use)
        if bound is not None:
            layer.use.scope.replace(bound, [])
        inputs, nodes = self._operands(layer, layer.use.order, 0)
        before = model.fresh(f"{end}_before_rounding")
        nodes.append(model.make_node("Conv", inputs, before, **attributes_of(node)))
        self._dequantized[end] = end
        return [*nodes, *self._quantize(before, end, end)]

    def _gemm(self, layer):
        """Writes a product of matrices with a bias as one operator: QGemm."""
        axis = 0 if is_transposed(layer.use.node) else 1
        inputs, nodes = self._operands(layer, layer.use.order, axis)
        options = {"transB": 1} if axis == 0 else {}
        gemm = self._model.make_node("Gemm", inputs, layer.output, **options)
        self._keep_apart_from_relu(layer)
        return [*nodes, gemm]

    def _keep_apart_from_relu(self, layer):
        """Writes a Relu behind a Gemm as Max: of Gemm and Relu ONNX Runtime makes one
        operator, which has no integer kernel unless its output is rounded too."""
        model, index = self._model, self._only_reader(layer.output)
        relu = None if index is None else model.main.nodes[index]
        if relu is not None and relu.op_type == "Relu":
            output = relu.output[0]
            if output not in self._ranges:
                zero = model.add_constant(model.main, f"{output}_zero", np.float32(0))
                node = model.make_node("Max", [layer.output, zero], output)
                layer.use.scope.replace(index, [node])

    def _product(self, layer):
        model, order = self._model, layer.use.order
        if is_transposed(layer.use.node):
            order = order[::-1]
        without_bias = dataclasses.replace(layer, bias=None)
        inputs, nodes = self._operands(without_bias, order, 1)
        bias, more = bias_constant(model, layer, 0)
        output = layer.output
        product = output if bias is None else model.fresh(f"{output}_product")
        nodes += [model.make_node("MatMul", inputs, product), *more]
        if bias is not None:
            nodes.append(model.make_node("Add", [product, bias], output))
        return nodes

    def _is_gemm(self, layer):
        """Returns whether a bias can be a part of the product."""
        if layer.bias is None or layer.bias.shape[-1:] != (_channels(layer),):
            return False
        is_matrix = self._ranks.get(layer.use.node.input[0]) == 2
        return layer.bias.size == _channels(layer) and (
            is_matrix or layer.use.node.op_type == "Gemm"
        )

    def _with_added_bias(self, layer):
        """Takes in the Add behind a product of matrices: alone, ONNX Runtime would make
        a Gemm of the two that has no integer kernel."""
        node = layer.use.node
        if node.op_type != "MatMul" or self._ranks.get(node.input[0]) != 2:
            return layer
        index = self._only_reader(layer.output)
        add = None if index is None else self._model.main.nodes[index]
        if add is None or add.op_type != "Add":
            return layer
        channels = _channels(layer)
        others = [name for name in add.input if name != layer.output]
        bias = self._model.constant(self._model.main, others[0]) if others else None
        if bias is None or bias.shape not in ((channels,), (1, channels)):
            # A bias of its own keeps the product apart from what is added.
            return dataclasses.replace(layer, bias=np.zeros(channels, np.float32))
        layer.use.scope.replace(index, [])
        return dataclasses.replace(layer, bias=bias, output=add.output[0])

    def _operands(self, layer, order, axis):
        """Returns the names of a layer's dequantized operands, and their nodes."""
        model, weight = self._model, layer.weight
        name = layer.use.node.input[0]
        operands = [self._dequantize(name)]
        input_scale = float(self._parameters[name][0])
        scales = np.broadcast_to(layer.scales, (_channels(layer),)).astype(np.float32)
        bias = None if layer.bias is None else layer.bias.reshape(-1)
        if bias is not None:
            scales = _scales_for_bias(scales, bias, input_scale, _empty(layer))
        parameters = {
            "scale": scales,
            "zero_point": np.full(len(scales), weight.zero_point),
        }
        inputs = [weight.stored(order), *self._constants(weight.name, parameters)]
        operands.append(model.fresh(f"{weight.name}_dequantized"))
        make = model.make_node
        nodes = [make("DequantizeLinear", inputs, operands[-1], axis=axis)]
        if bias is not None:
            steps = scales.astype(np.float64) * input_scale
            parameters = {
                "int32": np.rint(bias / steps).astype(np.int32),
                "scale": steps.astype(np.float32),
                "zero_point": np.zeros(len(bias), np.int32),
            }
            inputs = self._constants(f"{weight.name}_bias", parameters)
            operands.append(model.fresh(f"{weight.name}_bias_dequantized"))
            nodes.append(make("DequantizeLinear", inputs, operands[-1], axis=0))
        return operands, nodes

    def _dequantize(self, name):
        """Returns the name of an activation that is rounded, and rounds it first."""
        if name not in self._dequantized:
            output = self._model.fresh(f"{name}_dequantized")
            nodes = self._quantize(name, output, name)
            self._model.main.insert_behind(name, nodes)
            self._dequantized[name] = output
        self._find_parameters(name)
        return self._dequantized[name]

    def _quantize(self, source, target, name):
        """Returns the two operators that round a value in an activation's range."""
        model = self._model
        scale, point = self._find_parameters(name)
        parameters = self._constants(name, {"scale": scale, "zero_point": point})
        integers = model.fresh(f"{name}_uint8")
        return [
            model.make_node("QuantizeLinear", [source, *parameters], integers),
            model.make_node("DequantizeLinear", [integers, *parameters], target),
        ]

    def _find_parameters(self, name):
        """Returns float32 scale and uint8 zero point of an activation."""
        if name not in self._parameters:
            index = self._model.main.makers.get(name)
            node = None if index is None else self._model.main.nodes[index]
            is_moved = node is not None and node.op_type in _MOVES
            if is_moved and node.input[0] in self._ranges:
                found = self._find_parameters(node.input[0])
            else:
                found = _parameters(*self._ranges[name])
            self._parameters[name] = found
        return self._parameters[name]

    def _constants(self, name, arrays):
        return [
            self._model.add_constant(self._model.main, f"{name}_{what}", array)
            for what, array in arrays.items()
        ]


def _channels(layer):
    return layer.weight.integers.shape[layer.use.axes[0]]


def _empty(layer):
    """Returns for each channel whether all of its weights are zero."""
    channels_first = np.moveaxis(layer.weight.integers, layer.use.axes[0], 0)
    return ~channels_first.reshape(len(channels_first), -1).any(axis=1)


def _parameters(least, greatest):
    """Returns float32 scale and uint8 zero point of a range that holds 0."""
    scale = np.float32((greatest - least) / _MAX_UINT8)
    scale = max(scale, np.finfo(np.float32).tiny) if greatest > least else np.float32(1)
    point = np.rint(-least / scale).clip(0, _MAX_UINT8)
    return np.float32(scale), np.uint8(point)


def _scales_for_bias(scales, bias, input_scale, empty):
    """Returns scales with which no bias overflows, and none is rounded to nothing."""
    needed = np.abs(bias.astype(np.float64)) / input_scale
    scales = np.where(empty & (needed > 0), needed / _BIAS_STEPS, scales)
    return np.maximum(scales, needed / _MAX_BIAS).astype(np.float32)
