"""Weights of an IR: where they are, and integers of ours in place of NNCF's.

NNCF has its own rules: a scale for each row of a table, 128 steps for weights alone.
Weights on a grid would be rounded a second time by them. And it leaves the weights of
recurrent layers, and all inside of loops and branches, in float.
"""

import dataclasses

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.grids import Grid, find_grid

# Operator -> place of its weights among the inputs -> axes that have a scale for each
# channel. Operators in groups have an axis of groups in front.
_WEIGHTED = {
    "Convolution": {1: (0,)},
    "GroupConvolution": {1: (0, 1)},
    "ConvolutionBackpropData": {1: (1,)},
    "GroupConvolutionBackpropData": {1: (0, 2)},
}
_RECURRENT = {
    "LSTMSequence": {4: (0, 1), 5: (0, 1)},
    "GRUSequence": {3: (0, 1), 4: (0, 1)},
    "RNNSequence": {3: (0, 1), 4: (0, 1)},
    "LSTMCell": {3: (0,), 4: (0,)},
    "GRUCell": {2: (0,), 3: (0,)},
    "RNNCell": {2: (0,), 3: (0,)},
}
_LOOPS = ("Loop", "TensorIterator")


@dataclasses.dataclass(frozen=True, eq=False)
class WeightInput:
    """Weights that an operator takes as a constant.

    Attributes:
        key: names of the operator, of the loops around it, and the weights' place
            among its inputs.
        kind: of the operator, such as "Convolution".
        node: the operator.
        values: float32 array.
        channel_axes: those that have a scale for each channel.
    """

    key: tuple
    kind: str
    node: object
    values: np.ndarray
    channel_axes: tuple[int, ...]

    @property
    def name(self):
        """Name of the operator."""
        return self.key[-2]

    @property
    def is_recurrent(self):
        """Whether a whole recurrent layer is the operator."""
        return self.kind in _RECURRENT

    @property
    def is_left_by_nncf(self):
        """Whether they are not given to NNCF: recurrent, or in a loop or a branch."""
        return len(self.key) > 2 or self.is_recurrent

    def replace(self, output):
        """Lets the operator take another output in their place."""
        self.node.input(self.key[-1]).replace_source_output(output)


@dataclasses.dataclass(frozen=True, eq=False)
class _GridWeights:
    """Integers and scales that shall stand for a weight.

    Attributes:
        grid: `Grid`.
        integers: int8, of the weight's shape.
        channel_axes: axes of the scales where there is one for each channel.
    """

    grid: Grid
    integers: np.ndarray
    channel_axes: tuple[int, ...]


def weight_inputs(model):
    """Yields a `WeightInput` for each constant that is multiplied by, or looked up in.

    Args:
        model: `openvino.Model`.
    """
    for key, node in operators(model):
        kind = node.get_type_name()
        for place, axes in _places(node, kind).items():
            values = _float_constant(node.input_value(place).get_node())
            if values is not None and values.size and values.ndim > 1:
                yield WeightInput((*key, place), kind, node, values, axes)


def has_weights(model):
    """Returns whether an operator that is quantized takes a float constant."""
    kinds = {"MatMul", "Gather", *_WEIGHTED, *_RECURRENT}
    return any(
        values is not None and values.ndim > 1
        for _, node in operators(model)
        if node.get_type_name() in kinds
        for values in (
            _float_constant(node.input_value(place).get_node())
            for place in range(node.get_input_size())
        )
    )


def operators(model, prefix=()):
    """Yields (names of the loops around it and its own, operator)."""
    for node in model.get_ordered_ops():
        key = (*prefix, node.get_friendly_name())
        yield key, node
        for body in _bodies(node):
            yield from operators(body, key)


def _bodies(node):
    kind = node.get_type_name()
    if kind in _LOOPS:
        return [node.get_function()]
    return [node.get_function(0), node.get_function(1)] if kind == "If" else []


def _places(node, kind):
    """Returns the places of an operator's weights -> axes of the channels."""
    if kind == "MatMul" and len(node.input_value(1).get_partial_shape()) == 2:
        return {1: (int(not node.get_attributes()["transpose_b"]),)}
    if kind == "Gather" and len(node.input_value(0).get_partial_shape()) == 2:
        return {0: (0,)}
    return _WEIGHTED.get(kind) or _RECURRENT.get(kind) or {}


def _float_constant(node):
    """Returns the float32 array of a constant, also of one in float16, or None."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    kind = node.get_element_type().get_type_name()
    if node.get_type_name() != "Constant" or kind not in ("f32", "f16"):
        return None
    return np.asarray(node.data, np.float32)


def find_grids(model):
    """Finds the weights that lie on a grid.

    Args:
        model: `openvino.Model` in float32.
    Returns:
        Dict for `restore_grids`, empty where there are none.
    """
    found = {}
    for weights in weight_inputs(model):
        grid = find_grid(_by_channel(weights), 0)
        if grid is not None:
            found[weights.key] = _on_grid(weights, grid)
    return found


def _by_channel(weights):
    """Returns the weights with a row for each channel."""
    axes = weights.channel_axes
    values = np.moveaxis(weights.values, axes, range(len(axes)))
    return values.reshape(int(np.prod(values.shape[: len(axes)])), -1)


def _on_grid(weights, grid):
    scale = grid.scale.reshape(_scale_shape(grid, weights.values, weights.channel_axes))
    integers = np.rint(weights.values / scale).astype(np.int8)
    return _GridWeights(grid, integers, weights.channel_axes)


def _scale_shape(grid, values, channel_axes):
    shape = [1] * values.ndim
    if not grid.is_per_tensor:
        for axis in channel_axes:
            shape[axis] = values.shape[axis]
    return shape


def restore_grids(model, grids, *, packs_4_bits):
    """Replaces what NNCF made of weights on a grid by their own integers and scales.

    Args:
        model: `openvino.Model` that NNCF has quantized; changed in place.
        grids: what `find_grids` returned for the model before.
        packs_4_bits: whether weights on a grid of 4 bits are stored as int4.
    """
    for key, node in list(operators(model)):
        for place in _places(node, node.get_type_name()):
            weights = grids.get((*key, place))
            source = node.input_value(place).get_node()
            # That is left alone.
            if weights is not None and _float_constant(source) is None:
                packs = packs_4_bits and weights.grid.num_bits == 4
                restored = _dequantized(weights, packs)
                node.input(place).replace_source_output(restored.output(0))
    model.validate_nodes_and_infer_types()


def compress_rest(model, grids, left_alone):
    """Makes int8 of the weights that NNCF leaves: of recurrent layers and in loops.

    They are dequantized where the file is loaded; what is computed stays float.

    Args:
        model: `openvino.Model`; changed in place.
        grids: what `find_grids` returned for the model before.
        left_alone: names of the operators that stay as they are.
    """
    for weights in list(weight_inputs(model)):
        if not weights.is_left_by_nncf or weights.name in left_alone:
            continue
        found = grids.get(weights.key)
        if found is None:
            bounds = np.abs(_by_channel(weights)).max(axis=1)
            scale = np.where(bounds > 0, bounds / 127, 1).astype(np.float32)
            found = _on_grid(weights, Grid(8, scale))
        folds = weights.is_recurrent
        weights.replace(_dequantized(found, False, folds=folds).output(0))
    model.validate_nodes_and_infer_types()


def _dequantized(weights, packs, *, folds=False):
    """Makes Constant -> Convert -> Multiply, as NNCF writes it.

    Recurrent layers take constants alone, and the CPU plugin keeps this form as it is
    in a file with integer activations; with a conversion more (`folds`) it does not.
    """
    ops = require("openvino.opset13", extra="quantizers")
    grid = weights.grid
    shape = _scale_shape(grid, weights.integers, weights.channel_axes)
    make_constant = _int4_constant if packs else ops.constant
    constant = make_constant(weights.integers)
    scale = ops.constant(grid.scale.reshape(shape))
    if folds:
        constant = ops.convert(constant, "i32")
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
