"""Writes weights of an IR on the grid that they lay on before NNCF quantized them.

NNCF has its own rules: a scale for each row of a table, 128 steps for weights alone.
Weights on a grid would be rounded a second time by them.
"""

import dataclasses

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.grids import Grid, find_grid


@dataclasses.dataclass(frozen=True, eq=False)
class _GridWeights:
    """Integers and scales that shall stand for a weight.

    Attributes:
        grid: `Grid`.
        integers: int8, of the weight's shape.
        channel_axis: axis of the scales where there is one for each channel.
    """

    grid: Grid
    integers: np.ndarray
    channel_axis: int


def weight_inputs(model):
    """Yields the weights of rank 2 that are multiplied by, or looked up in.

    Args:
        model: `openvino.Model`.
    Yields:
        (name of the operator, place of the weight among its inputs), axis of the
        output channels, float32 array.
    """
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in ("MatMul", "Gather"):
            continue
        place = 1 if kind == "MatMul" else 0
        constant = node.input_value(place).get_node()
        if constant.get_type_name() != "Constant" or len(constant.shape) != 2:
            continue
        if constant.get_element_type().get_type_name() == "f32":
            is_plain = place == 1 and not node.get_attributes()["transpose_b"]
            yield (node.get_friendly_name(), place), int(is_plain), constant.data


def find_grids(model):
    """Finds the weights that lie on a grid.

    Args:
        model: `openvino.Model` in float32.
    Returns:
        Dict for `restore_grids`, empty where there are none.
    """
    found = {}
    for key, axis, weights in weight_inputs(model):
        grid = find_grid(weights, axis)
        if grid is not None:
            integers = grid.integers(weights, axis)
            found[key] = _GridWeights(grid, integers, axis)
    return found


def restore_grids(model, grids, *, packs_4_bits):
    """Replaces what NNCF made of weights on a grid by their own integers and scales.

    Args:
        model: `openvino.Model` that NNCF has quantized; changed in place.
        grids: what `find_grids` returned for the model before.
        packs_4_bits: whether weights on a grid of 4 bits are stored as int4.
    """
    for node in model.get_ordered_ops():
        for place in range(node.get_input_size()):
            weights = grids.get((node.get_friendly_name(), place))
            kind = node.input_value(place).get_node().get_type_name()
            if weights is not None and kind != "Constant":  # that is left alone
                packs = packs_4_bits and weights.grid.num_bits == 4
                restored = _dequantized(weights, packs)
                node.input(place).replace_source_output(restored.output(0))
    model.validate_nodes_and_infer_types()


def _dequantized(weights, packs):
    """Makes Constant -> Convert -> Multiply, as NNCF writes it."""
    ops = require("openvino.opset13", extra="quantizers")
    grid, shape = weights.grid, [1, 1]
    if not grid.is_per_tensor:
        shape[weights.channel_axis] = -1
    make_constant = _int4_constant if packs else ops.constant
    constant = make_constant(weights.integers)
    scale = ops.constant(grid.scale.reshape(shape))
    return ops.multiply(ops.convert(constant, "f32"), scale)


def _int4_constant(integers):
    """Returns an i4 Constant, two elements in a byte, the first one low."""
    openvino = require("openvino", extra="quantizers")
    ops = require("openvino.opset13", extra="quantizers")
    halves = np.append(integers.ravel() & 15, np.zeros(integers.size % 2, np.int8))
    data = (halves[0::2] | halves[1::2] << 4).astype(np.uint8)
    tensor = openvino.Tensor(data, list(integers.shape), openvino.Type.i4)
    # A copy: the tensor shares the memory of an array that is gone before it is saved.
    return ops.constant(tensor, shared_memory=False)
