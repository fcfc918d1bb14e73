"""Scales and zero points in model files: what belongs to which quantized constant.

A quantized constant stands for scale * (integer - zero point). Scales and zero points
lie in ONNX files and IRs as constants of their own, which are told from weights by the
operators that take them; in .tflite files the tensor itself has them.

Source: the ONNX specification (QuantizeLinear and its like), ONNX Runtime's contributed
operators; OpenVINO's decompression (Convert, Subtract, Multiply).
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Quantization:
    """What belongs to a quantized constant.

    Attributes:
        zero_point: integers that stand for 0; broadcasts with the constant.
        size_bytes: bytes of its scales and zero points.
    """

    zero_point: np.ndarray
    size_bytes: int


# Operator -> for each quantized operand the inputs (data, scale, zero point). Of those
# whose data is an output the first is None; None too for what the operator has not.
_ONNX_OPERANDS = {
    "ConvInteger": ((0, None, 2), (1, None, 3)),
    "DequantizeLinear": ((0, 1, 2),),
    "DynamicQuantizeMatMul": ((1, 2, 3),),
    "MatMulInteger": ((0, None, 2), (1, None, 3)),
    "MatMulIntegerToFloat": ((0, 2, 4), (1, 3, 5)),
    "MatMulNBits": ((1, 2, 3),),
    "QGemm": ((0, 1, 2), (3, 4, 5), (None, 7, 8)),
    "QLinearAdd": ((0, 1, 2), (3, 4, 5), (None, 6, 7)),
    "QLinearConv": ((0, 1, 2), (3, 4, 5), (None, 6, 7)),
    "QLinearMatMul": ((0, 1, 2), (3, 4, 5), (None, 6, 7)),
    "QLinearMul": ((0, 1, 2), (3, 4, 5), (None, 6, 7)),
    "QuantizeLinear": ((None, 1, 2),),
}

# Between a constant and what takes it: operators that move elements and no more.
_ONNX_MOVES = ("Gather", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


# UINT8 and INT8, of TensorProto.
_BYTES = (2, 3)


def find_onnx_quantizations(nodes, constants, read):
    """Finds the scales and zero points among the constants of an ONNX graph.

    Args:
        nodes: the NodeProtos.
        constants: name -> TensorProto.
        read: function that returns a TensorProto as an array.
    Returns:
        (dict, set): name of a quantized constant -> its `Quantization`; names of the
        constants that are scales or zero points.
    """
    made_by = {name: node for node in nodes for name in node.output}
    quantizations, parameters = {}, set()
    for node in nodes:
        parameters |= _multiplied_scales(node, made_by, constants)
        name, scale, middle = _read_back(node, made_by, constants)
        if name is not None:
            parameters |= {scale, middle} - {None}
            point = np.zeros(()) if middle is None else read(constants[middle])
            size = read(constants[scale]).nbytes
            quantizations[name] = Quantization(point.astype(np.int64), size)
        for data, *rest in _ONNX_OPERANDS.get(node.op_type, ()):
            names = [_input(node, place) for place in rest]
            parameters |= {name for name in names if name}
            name = _moved_constant(_input(node, data), made_by)
            found = [read(constants[n]) if n in constants else None for n in names]
            if name in constants:
                quantization = _onnx_quantization(
                    node, tuple(constants[name].dims), *found
                )
                known = quantizations.get(name, quantization)
                if known.size_bytes <= quantization.size_bytes:
                    quantizations[name] = quantization
    return quantizations, parameters.intersection(constants)


def find_openvino_quantizations(model):
    """Finds the scales and zero points among the constants of an `openvino.Model`.

    Returns:
        (dict, set) as of `find_onnx_quantizations`; the names are friendly names.
    """
    quantizations, parameters = {}, set()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "FakeQuantize":
            ends = [node.input_value(place).get_node() for place in range(1, 5)]
            parameters |= {end.get_friendly_name() for end in ends}
        elif kind == "Constant" and node.get_element_type().is_integral_number():
            found = _decompression(node)
            if "Multiply" in found:
                parameters |= {each.get_friendly_name() for each in found.values()}
                point = found.get("Subtract")
                quantizations[node.get_friendly_name()] = Quantization(
                    np.zeros((), np.int64) if point is None else _integers(point),
                    sum(each.data.nbytes for each in found.values()),
                )
    return quantizations, parameters


def tflite_quantization(tensor):
    """Returns the `Quantization` of a tensor of the flatbuffer, which may have none.

    Args:
        tensor: the schema's `TensorT`.
    """
    found = tensor.quantization
    points, num_scales = np.zeros(0, np.int64), 0
    if found is not None:
        num_scales = 0 if found.scale is None else len(found.scale)
        points = points if found.zeroPoint is None else np.asarray(found.zeroPoint)
    size = 4 * num_scales + 8 * points.size
    if points.size <= 1:
        return Quantization(points.reshape(-1)[:1].sum(), size)
    shape = [1] * len(tensor.shape)
    shape[found.quantizedDimension] = -1
    return Quantization(points.reshape(shape), size)


def tflite_parameter_tensors(schema, graph):
    """Returns the indices of a subgraph's tensors that hold the scales of blocks.

    Args:
        schema: LiteRT's schema module.
        graph: the schema's `SubGraphT`.
    """
    kind = schema.QuantizationDetails.BlockwiseQuantization
    found = [tensor.quantization for tensor in graph.tensors]
    blocks = [each.details for each in found if each and each.detailsType == kind]
    return {index for each in blocks for index in (each.scales, each.zeroPoints)}


def _input(node, place):
    """Returns the name of an input, None where the node has none there."""
    if place is None or place >= len(node.input):
        return None
    return node.input[place] or None


def _moved_constant(name, made_by):
    """Follows a name through operators that only move elements."""
    while name in made_by and made_by[name].op_type in _ONNX_MOVES:
        name = made_by[name].input[0]
    return name


def _multiplied_scales(node, made_by, constants):
    """Returns the names that are multiplied with a scale of activations, or with each
    other though both are constants: of a table that is looked up and of a weight."""
    if node.op_type != "Mul":
        return set()
    makers = [made_by.get(name) for name in set(node.input).difference(constants)]
    are_scales = all(
        maker is not None and maker.op_type == "DynamicQuantizeLinear"
        for maker in makers
    )
    return set(node.input) if are_scales else set()


def _read_back(node, made_by, constants):
    """Returns the names of integers that become floats by Cast, Sub and Mul, of their
    scale and of what is subtracted; None for what there is not."""
    if node.op_type != "Mul" or len(node.input) != 2:
        return None, None, None
    wide, scale = made_by.get(node.input[0]), _moved_constant(node.input[1], made_by)
    middle = None
    if wide is not None and wide.op_type == "Sub":
        middle, wide = wide.input[1], made_by.get(wide.input[0])
    if wide is None or wide.op_type != "Cast" or scale not in constants:
        return None, None, None
    name = _moved_constant(wide.input[0], made_by)
    is_integer = name in constants and constants[name].data_type in _BYTES
    if not is_integer or (middle is not None and middle not in constants):
        return None, None, None
    return name, scale, middle


def _onnx_quantization(node, shape, scales, points=None):
    size = sum(each.nbytes for each in (scales, points) if each is not None)
    if points is None:
        # MatMulNBits has unsigned integers around the middle unless it says otherwise.
        point = 128 if node.op_type == "MatMulNBits" else 0
        return Quantization(np.int64(point), size)
    points = points.astype(np.int64)
    if (points == points.reshape(-1)[0]).all():
        return Quantization(points.reshape(-1)[0], size)
    options = {entry.name: entry.i for entry in node.attribute}
    axis = options.get("axis", 1 if node.op_type == "DequantizeLinear" else -1)
    if options.get("block_size"):
        points = points.repeat(options["block_size"], axis)
        return Quantization(points.take(range(shape[axis]), axis), size)
    channels = [1] * len(shape)
    channels[axis] = -1
    return Quantization(points.reshape(channels), size)


def _decompression(node):
    """Returns "Subtract" and "Multiply" -> their constant, as far as a constant goes
    through them on its way to a layer."""
    found, operators = {}, ("Convert", "Subtract", "Multiply")
    while True:
        targets = list(node.output(0).get_target_inputs())
        if len(targets) != 1 or targets[0].get_node().get_type_name() not in operators:
            return found
        node, place = targets[0].get_node(), targets[0].get_index()
        kind = node.get_type_name()
        if kind == "Subtract" and place == 1:
            return {}  # It is the zero point itself.
        if kind != "Convert":
            other = node.input_value(1 - place).get_node()
            while other.get_type_name() in ("Convert", "Reshape", "Unsqueeze"):
                other = other.input_value(0).get_node()
            if other.get_type_name() != "Constant" or kind in found:
                return found
            found[kind] = other


def _integers(constant):
    """Returns an integer constant of 4 or 8 bits, or a float one of whole numbers."""
    if constant.get_element_type().get_type_name() in ("i4", "u4"):
        data = np.asarray(constant.data).reshape(-1).view(np.uint8)
        halves = np.stack([data & 15, data >> 4], axis=1).reshape(-1)
        return halves[: int(np.prod(constant.shape))].reshape(constant.shape)
    return constant.data.astype(np.int64)
