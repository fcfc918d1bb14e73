"""Room for the sums of int8 products on CPUs that add pairs of them in 16 bits.

CPUs with AVX2 or AVX-512 and without VNNI multiply uint8 activations with int8 weights
and add two products in 16 bits, which holds 32,767 and saturates: 255 x (127 + 127) is
64,770. NNCF's own cure halves all weights, which takes them off their grid. Activations
of 7 bits do the same for a layer at one bit of its activations' precision, so that they
are for layers that lose more by the sums of the calibration data that overflow than by
that bit: activations that are seldom near the least, such as those of both signs, whose
zero lies in the middle of uint8, or of a sigmoid, and few inputs.
"""

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.openvino_grids import operators

_MOST_ROWS = 64
_MOST_EXAMPLES = 16

# Operator -> axis of its inputs' channels.
_CHANNELS = {"MatMul": -1, "Convolution": 1, "GroupConvolution": 1}
# What lies between a layer and the quantizer of what it takes, and moves values alone.
_MOVES = {
    *("AvgPool", "BatchToSpace", "Broadcast", "Concat", "DepthToSpace", "Gather"),
    *("GatherND", "MaxPool", "Pad", "Reshape", "Reverse", "ReverseSequence", "Roll"),
    *("ShuffleChannels", "Slice", "SpaceToBatch", "SpaceToDepth", "Split"),
    *("Squeeze", "StridedSlice", "Tile", "Transpose", "Unsqueeze", "VariadicSplit"),
}


def make_room(model, calibration, batch_size):
    """Widens the ranges of activations that overflow with a layer's weights.

    Args:
        model: `openvino.Model` that NNCF has quantized; changed in place.
        calibration: `CalibrationData`.
        batch_size: examples that the model takes in one run.
    """
    layers = {}
    for key, node in operators(model):
        if len(key) == 1 and node.get_type_name() in _CHANNELS:
            weights = _pairs_of_weights(node)
            quantizers = list(_quantizers(node.input_value(0).get_node()))
            if weights is not None and quantizers:
                layers[key[0]] = weights, quantizers
    if not layers:
        return
    activations = _run(model, layers, calibration, batch_size)
    wide = {
        quantizer.get_friendly_name(): quantizer
        for name, (weights, quantizers) in layers.items()
        if _loses_by_overflow(weights, quantizers, activations[name])
        for quantizer in quantizers
    }
    for quantizer in wide.values():
        _widen(quantizer)
    model.validate_nodes_and_infer_types()


def _pairs_of_weights(node):
    """Returns int8 weights, shape `(groups, outputs, inputs)`; None of other types."""
    source, kind = node.input_value(1).get_node(), node.get_type_name()
    while source.get_type_name() in ("Multiply", "Subtract", "Convert"):
        source = source.input_value(0).get_node()
    is_constant = source.get_type_name() == "Constant"
    if not is_constant or source.get_element_type().get_type_name() != "i8":
        return None
    values = source.data
    if kind == "MatMul":
        if values.ndim != 2:
            return None
        rows = values if node.get_attributes()["transpose_b"] else values.T
        return rows[None]
    if kind == "Convolution":
        values = values[None]
    # Group, output, input, places of the kernel.
    values = np.moveaxis(values.reshape(*values.shape[:3], -1), 2, -1)
    return values.reshape(len(values), -1, values.shape[-1])


def _quantizers(node):
    """Yields the FakeQuantize operators whose integers a layer takes."""
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        yield node
    elif kind in _MOVES:
        count = node.get_input_size() if kind == "Concat" else 1
        for place in range(count):
            yield from _quantizers(node.input_value(place).get_node())


def _range(quantizer):
    ends = (quantizer.input_value(place).get_node().data for place in (1, 2))
    return tuple(float(np.ravel(end)[0]) for end in ends)


def _run(model, layers, calibration, batch_size):
    """Returns name of a layer -> float32 rows of what it takes, channels last."""
    openvino = require("openvino", extra="quantizers")
    copy = model.clone()
    nodes = {node.get_friendly_name(): node for node in copy.get_ops()}
    outputs = [nodes[name].input_value(0) for name in layers]
    probe = openvino.Model(outputs, copy.get_parameters(), "probe")
    # Without integers, so that every CPU finds the same.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}
    compiled = openvino.Core().compile_model(probe, "CPU", settings)
    found = {name: [] for name in layers}
    for count, batch in enumerate(calibration.batches(batch_size, whole=True)):
        if count * batch_size >= _MOST_EXAMPLES:
            break
        results = compiled(batch)
        for index, name in enumerate(layers):
            axis = _CHANNELS[nodes[name].get_type_name()]
            rows = np.moveaxis(results[index], axis, -1)
            found[name].append(rows.reshape(-1, rows.shape[-1]))
    return {name: np.concatenate(rows) for name, rows in found.items()}


def _loses_by_overflow(weights, quantizers, rows):
    """Returns whether sums that overflow cost a layer more than a bit would.

    Args:
        weights: int8 array, shape `(groups, outputs, inputs)`.
        quantizers: of what the layer takes.
        rows: float32 array, shape `(rows, groups * inputs)`, of what it takes.
    """
    ranges = np.array([_range(quantizer) for quantizer in quantizers])
    least, greatest = ranges[:, 0].min(), ranges[:, 1].max()
    rows = rows[:: -(-len(rows) // _MOST_ROWS)]
    steps = np.clip((rows - least) / (greatest - least) * 255, 0, 255)
    groups, _, inputs = weights.shape
    if steps.shape[1] != groups * inputs or inputs < 2:
        return False
    overflowing = coarse = 0.0
    for group, kernel in enumerate(weights.astype(np.int32)):
        for row in steps[:, group * inputs : (group + 1) * inputs]:
            rounded = np.rint(row)
            error = kernel @ (rounded - row) + _overflow(kernel, rounded)
            overflowing += np.square(error).sum()
            coarse += np.square(kernel @ (2 * np.rint(row / 2) - row)).sum()
    return overflowing > coarse


def _overflow(kernel, row):
    """Returns what saturation adds to each output, shape `(outputs,)`."""
    even = kernel.shape[1] // 2 * 2
    products = kernel[:, :even] * row[:even].astype(np.int32)
    sums = products[:, 0::2] + products[:, 1::2]
    return (np.clip(sums, -32768, 32767) - sums).sum(axis=1)


def _widen(quantizer):
    """Doubles the range upwards, so that what occurs fills its lower half."""
    ops = require("openvino.opset13", extra="quantizers")
    for low, high in ((1, 2), (3, 4)):
        least, greatest = (
            quantizer.input_value(place).get_node().data for place in (low, high)
        )
        wider = ops.constant((2 * greatest - least).astype(np.float32))
        quantizer.input(high).replace_source_output(wider.output(0))
