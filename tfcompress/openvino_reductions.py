"""Reductions that OpenVINO's CPU plugin computes wrong, written as it computes right.

Seen in OpenVINO 2026.4.1, by trying all axes of 2 to 5 axes beside numpy. A reduction
of the last of three axes, such as the mean over the steps of a Conv1D, is wrong with
what follows it channel by channel, also in float32: the plugin computes both at once
and takes the factors of other channels. A quantizer that follows a reduction is
computed with it and with its factors, and a maximum of int8 values is wrong.
"""

import numpy as np

from tfcompress.errors import require

# Operators of one tensor and constants that change each value, or the shape alone.
_PASSING = {
    *("Add", "Clamp", "Divide", "Elu", "Gelu", "HardSigmoid", "HSigmoid", "HSwish"),
    *("Mish", "Multiply", "PRelu", "Relu", "Reshape", "Sigmoid", "SoftPlus"),
    *("Squeeze", "Subtract", "Swish", "Tanh", "Transpose", "Unsqueeze"),
}
_MOVING = {"Reshape", "Squeeze", "StridedSlice", "Transpose", "Unsqueeze"}
_BY_CHANNEL = ("Convolution", "GroupConvolution")  # int8 ones: a factor a channel
_OF_INTEGERS = ("ReduceMax", "ReduceMin")


def widen_reductions(model):
    """Reduces the last of three axes as the last two of four; the values are the same.

    A reduction that keeps its axes is left as it is unless a convolution is before it
    or a constant of several values behind: normalizations have such ones, which the
    runtime knows by their pattern.

    Args:
        model: `openvino.Model`; changed in place.
    """
    openvino = require("openvino", extra="openvino")
    ops = openvino.opset13
    for node in model.get_ordered_ops():
        if not _is_of_last_of_three(node):
            continue
        keeps_axes = node.get_attributes()["keep_dims"]
        if keeps_axes and not (_follows(node, _BY_CHANNEL) or _leads_to_channels(node)):
            continue
        place = ops.constant(np.array([2], np.int64))
        wide = ops.unsqueeze(node.input_value(0), place)
        axes = ops.constant(np.array([2, 3], np.int64))
        node.input(0).replace_source_output(wide.output(0))
        node.input(1).replace_source_output(axes.output(0))
        if keeps_axes:
            _squeeze(node.output(0), place)
    model.validate_nodes_and_infer_types()


def _squeeze(output, place):
    """Puts a Squeeze behind an output, which takes over its names and its users."""
    ops = require("openvino", extra="openvino").opset13
    users, names = output.get_target_inputs(), output.get_names()
    squeezed = ops.squeeze(output, place).output(0)
    for user in users:
        user.replace_source_output(squeezed)
    output.get_tensor().set_names(set())
    squeezed.get_tensor().set_names(names)


def _is_of_last_of_three(node):
    if not node.get_type_name().startswith("Reduce"):
        return False
    axes = node.input_value(1).get_node()
    rank = node.get_input_partial_shape(0).rank
    if axes.get_type_name() != "Constant" or rank.is_dynamic or len(rank) != 3:
        return False
    return [axis % 3 for axis in axes.get_data().ravel().tolist()] == [2]


def _leads_to_channels(node):
    """Whether a constant of several values changes what a reduction puts out."""
    for target in node.output(0).get_target_inputs():
        user = target.get_node()
        if user.get_type_name() not in _PASSING or len(_tensors(user)) != 1:
            continue
        sizes = [value.get_node().get_data().size for value in _constants(user)]
        changes = user.get_type_name() not in _MOVING and max(sizes, default=1) > 1
        if changes or _leads_to_channels(user):
            return True
    return False


def _constants(node):
    values = node.input_values()
    return [each for each in values if each.get_node().get_type_name() == "Constant"]


def _tensors(node):
    """Returns the operators that an operator takes tensors of, not constants."""
    inputs = [value.get_node() for value in node.input_values()]
    return [each for each in inputs if each.get_type_name() != "Constant"]


def leave_reductions(model):
    """Takes the quantizers away that follow a reduction, or feed one of integers.

    The layers behind a reduction of what a layer puts out compute in float, with
    integer weights.

    Args:
        model: `openvino.Model` that NNCF has quantized; changed in place.
    """
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "FakeQuantize" and _follows_reduced_products(node):
            _bypass(node, node.output(0).get_target_inputs())
        elif kind in _OF_INTEGERS:
            user = node.input(0)
            while user.get_source_output().get_node().get_type_name() in _MOVING:
                user = user.get_source_output().get_node().input(0)
            source = user.get_source_output().get_node()
            if source.get_type_name() == "FakeQuantize":
                _bypass(source, [user])
    model.validate_nodes_and_infer_types()


def _bypass(quantizer, users):
    for user in users:
        user.replace_source_output(quantizer.input_value(0))


def _follows_reduced_products(node):
    """Whether a tensor comes from a reduction of what a layer puts out.

    Its integers have a factor for each channel; those of a table have none. All layers
    behind count: one that takes floats is wrong before a quantizer, too.
    """
    source = _source(node)
    if source is None:
        return False
    kind = source.get_type_name()
    if kind.startswith("Reduce"):
        return _follows(source, ("MatMul", *_BY_CHANNEL))
    passes = kind in _PASSING or kind == "MatMul"
    return passes and _follows_reduced_products(source)


def _follows(node, kinds):
    """Whether the one tensor that an operator takes comes from such an operator."""
    source = _source(node)
    if source is None:
        return False
    kind = source.get_type_name()
    return kind.startswith(kinds) or (kind in _PASSING and _follows(source, kinds))


def _source(node):
    """Returns the operator of the one tensor that an operator takes, or None."""
    if node.get_type_name() in (*_MOVING, "MatMul", "FakeQuantize"):
        return node.input_value(0).get_node()  # the others are shapes, weights, ranges
    tensors = _tensors(node)
    return tensors[0] if len(tensors) == 1 else None
