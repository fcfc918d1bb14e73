"""Products whose activations ONNX Runtime rounds in blocks: MatMulNBits.

A product of `MatMulIntegerToFloat` has one scale for all activations of a batch, so
that one outlier takes the digits of all others. MatMulNBits, an operator of ONNX
Runtime, gives each block of 128 of them its own as it runs, and multiplies integers all
the same: the output is some four times nearer to float32's.

Source: ONNX Runtime's contributed operators, `com.microsoft.MatMulNBits`. Its own
MatMulNBitsQuantizer divides weights by 128 and a block, not by 127 and a channel, which
takes trained weights off their grid.
"""

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.onnx_products import attributes_of, can_write
from tfcompress.quantizers.onnx_weights import PRODUCT

MIN_OPSET = 7  # Mul broadcasts, and Cast names types by numbers

_DOMAIN = "com.microsoft"
_BLOCK_SIZE = 128
_MIN_BLOCK_SIZE = 16  # the operator's
_ZERO_POINT = 128
INTEGER_ACTIVATIONS = 4  # the operator's accuracy_level


class BlockWriter:
    """Puts MatMulNBits in the place of products with constant weights.

    Args:
        model: `OnnxModel`.
        ranks: name of an activation -> its number of axes, as far as it is known.
    """

    def __init__(self, model, ranks):
        self._model = model
        self._ranks = ranks
        self._blocks = {}

    def can_write(self, weight, use):
        """Returns whether a use is inputs times weights, and a bias at most."""
        if not self._is_plain(weight, use):
            return False
        # Blocks of a weight that others read too are made as the model is loaded.
        num_inputs = weight.tensor.dims[_input_axis(use)]
        return not self._is_shared(weight, use) or num_inputs % _MIN_BLOCK_SIZE == 0

    def write(self, weight, use):
        """Makes a MatMul or Gemm node a MatMulNBits."""
        onnx = require("onnx", extra="quantizers")
        node = use.node
        key = (weight, use.axes)
        if key not in self._blocks:
            self._blocks[key] = self._make_blocks(weight, use)
        blocks, scales, (channels, num_inputs, size) = self._blocks[key]
        bias = node.input[2:3]
        # Between: zero points (128 where there are none) and an order of groups.
        inputs = [node.input[0], blocks, scales, *(["", "", *bias] if bias else ())]
        product = onnx.helper.make_node(
            "MatMulNBits",
            inputs,
            list(node.output),
            name=node.name,
            domain=_DOMAIN,
            K=num_inputs,
            N=channels,
            bits=8,
            block_size=size,
            accuracy_level=INTEGER_ACTIVATIONS,
        )
        use.scope.replace(use.index, [product])
        imports = self._model.proto.opset_import
        if all(each.domain != _DOMAIN for each in imports):
            imports.append(onnx.helper.make_opsetid(_DOMAIN, 1))

    def _is_plain(self, weight, use):
        if use.kind != PRODUCT or not can_write(self._model, weight, use):
            return False
        if self._ranks.get(use.node.input[0]) == 1:
            return False
        found = attributes_of(use.node)
        return use.node.op_type == "MatMul" or (
            found.get("alpha", 1) == found.get("beta", 1) == 1
            and self._has_plain_bias(use, weight.tensor.dims[use.axes[0]])
        )

    def _is_shared(self, weight, use):
        """Returns whether nodes use the weight otherwise than in blocks."""
        return any(
            each.axes != use.axes or not self._is_plain(weight, each)
            for each in weight.uses
        )

    def _has_plain_bias(self, use, channels):
        """Returns whether a Gemm has no bias, or constants, one for each channel."""
        if len(use.node.input) < 3 or not use.node.input[2]:
            return True
        bias = self._model.constant(use.scope, use.node.input[2])
        return bias is not None and bias.shape == (channels,)

    def _make_blocks(self, weight, use):
        """Returns names of blocks and scales, and (channels, inputs, block size)."""
        model = self._model
        order = (use.axes[0], _input_axis(use))
        integers = weight.integers.transpose(order)
        channels, num_inputs = integers.shape
        if self._is_shared(weight, use):
            size = next(s for s in (128, 64, 32, 16) if num_inputs % s == 0)
            blocks = self._reshaped(weight, order, (channels, num_inputs // size, size))
        else:
            size = _BLOCK_SIZE
            while size // 2 >= max(num_inputs, _MIN_BLOCK_SIZE):
                size //= 2
            width = -(-num_inputs // size) * size
            blocks = np.full((channels, width), _ZERO_POINT, np.uint8)
            blocks[:, :num_inputs] = integers.astype(np.int16) + _ZERO_POINT
            blocks = blocks.reshape(channels, -1, size)
            blocks = model.add_constant(weight.scope, f"{weight.name}_blocks", blocks)
        scales = np.broadcast_to(weight.scales_of(order), (channels,))
        scales = scales.repeat(-(-num_inputs // size))
        scales = model.add_constant(weight.scope, f"{weight.name}_scales", scales)
        return blocks, scales, (channels, num_inputs, size)

    def _reshaped(self, weight, order, shape):
        """Returns the name of blocks that are made of a weight that others read too."""
        model, integers = self._model, weight.stored(order)
        shape = model.add_constant(model.main, f"{weight.name}_shape", np.array(shape))
        output = model.fresh(f"{weight.name}_blocks")
        weight.scope.insert_first(
            [model.make_node("Reshape", [integers, shape], output)]
        )
        return output


def _input_axis(use):
    """Returns the axis of the stored weight that is multiplied and added up."""
    return next(axis for axis in use.order if axis != use.axes[0])
