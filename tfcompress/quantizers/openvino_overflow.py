"""Room for the sums of int8 products on CPUs that add pairs of them in 16 bits.

CPUs with AVX2 or AVX-512 and without VNNI multiply uint8 activations with int8 weights
and add two products in 16 bits, which holds 32,767 and saturates: 255 x (127 + 127) is
64,770. NNCF's own cure halves all weights, which takes them off their grid. Activations
of 7 bits do the same for a layer at one bit of its activations' precision, so that they
are for layers with many large weights side by side, which are those with few inputs,
and for activations of both signs: what is around zero lies in the middle of uint8.
After a ReLU most integers are small.
"""

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.openvino_grids import operators

# Sum of two weights that overflows with the largest activations.
_LARGEST_SUM = 32767 / 255

# Share of the pairs that may: a rare pair meets the largest activations more rarely
# still. Normal weights have 2.7% with 384 inputs, 4.5% with 128, 10% with 32.
_MOST_PAIRS = 0.05

_MULTIPLY = ("MatMul", "Convolution", "GroupConvolution")
# From a layer up to the quantizer of what it takes.
_MOVES = {
    *("AvgPool", "Concat", "MaxPool", "Reshape", "Squeeze", "StridedSlice"),
    *("Transpose", "Unsqueeze", "Gather", "Slice", "VariadicSplit", "Split"),
}


def make_room(model):
    """Widens the ranges of activations that could overflow with a layer's weights.

    Args:
        model: `openvino.Model` that NNCF has quantized; changed in place.
    """
    widened = set()
    for _, node in list(operators(model)):
        if node.get_type_name() in _MULTIPLY and _can_overflow(node):
            for quantizer in _quantizers(node.input_value(0).get_node()):
                if quantizer.get_friendly_name() not in widened:
                    widened.add(quantizer.get_friendly_name())
                    _widen(quantizer)
    model.validate_nodes_and_infer_types()


def _can_overflow(node):
    """Returns whether more of the weights' pairs are large than may be."""
    source = node.input_value(1).get_node()
    while source.get_type_name() in ("Multiply", "Subtract", "Convert"):
        source = source.input_value(0).get_node()
    kind = source.get_element_type().get_type_name()
    if source.get_type_name() != "Constant" or kind != "i8":
        return False
    axis = 1 + (node.get_type_name() == "GroupConvolution")
    if node.get_type_name() == "MatMul":
        axis = source.data.ndim - 2 + bool(node.get_attributes()["transpose_b"])
    rows = np.moveaxis(source.data, axis, -1).astype(np.int16)
    rows = rows[..., : rows.shape[-1] // 2 * 2]
    sums = np.abs(rows[..., 0::2] + rows[..., 1::2])
    return bool(sums.size) and (sums > _LARGEST_SUM).mean() > _MOST_PAIRS


def _quantizers(node):
    """Yields the FakeQuantize operators whose integers a layer takes."""
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        yield node
    elif kind in _MOVES:
        count = node.get_input_size() if kind == "Concat" else 1
        for place in range(count):
            yield from _quantizers(node.input_value(place).get_node())


def _widen(quantizer):
    """Doubles the range upwards, so that what occurs fills its lower half."""
    ops = require("openvino.opset13", extra="quantizers")
    if quantizer.input_value(1).get_node().data.min() >= 0:
        return
    for low, high in ((1, 2), (3, 4)):
        least, greatest = (
            quantizer.input_value(place).get_node().data for place in (low, high)
        )
        wider = ops.constant((2 * greatest - least).astype(np.float32))
        quantizer.input(high).replace_source_output(wider.output(0))
