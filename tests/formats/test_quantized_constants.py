"""Tests of tfcompress.formats.quantized_constants: scales are no weights."""

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper
from openvino import opset13 as ops

from tfcompress.evaluate.exported_weights import list_weights

# Of 12 weights 5 are zero, and 4 values are different.
_WEIGHTS = np.int8([[0, 7, 0], [-7, 0, 7], [0, 3, 3], [-7, 0, 7]])

_OUTPUTS = [helper.make_empty_tensor_value_info("y")]


def _list_onnx(folder, nodes, constants, opset=21):
    tensors = [numpy_helper.from_array(array, name) for name, array in constants]
    graph = helper.make_graph(nodes, "weights", [], _OUTPUTS, tensors)
    imports = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=imports), folder / "m.onnx")
    return list_weights("onnx", folder, ["m.onnx"])


def _list_ir(folder, node):
    path = folder / "m.xml"
    openvino.save_model(openvino.Model([node], []), path, compress_to_fp16=False)
    return list_weights("openvino", folder, ["m.xml", "m.bin"])


@pytest.mark.parametrize("points", [np.int8([0, 0, 0]), np.int8([1, -2, 3])])
def test_list_weights_onnx_by_channel_counts_zeros_at_the_zero_point(points, tmp_path):
    constants = [
        ("w", _WEIGHTS + points),
        ("w_scale", np.ones(3, np.float32)),
        ("w_point", points),
    ]
    node = helper.make_node("DequantizeLinear", [n for n, _ in constants], ["y"])
    (found,) = _list_onnx(tmp_path, [node], constants)
    assert (found.name, found.dtype, found.num_weights) == ("w", "int8", 12)
    assert found.num_nonzero == 7
    assert found.size_bytes == 12 + 3 * 4 + 3


def test_list_weights_onnx_blocks_have_a_zero_point_each(tmp_path):
    points = np.uint8([[1, 2, 3], [4, 5, 6]])
    weights = np.abs(_WEIGHTS).astype(np.uint8) + points.repeat(2, 0)
    scales = np.ones((2, 3), np.float32)
    node = helper.make_node(
        "DequantizeLinear", ["w", "s", "p"], ["y"], axis=0, block_size=2
    )
    (found,) = _list_onnx(
        tmp_path, [node], [("w", weights), ("s", scales), ("p", points)]
    )
    assert found.num_nonzero == 7


def test_list_weights_onnx_dynamic_range_finds_scales_that_are_multiplied(tmp_path):
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMulInteger", ["rows", "w", "t_point", "w_point"], ["a"]),
        helper.make_node("Mul", ["t_scale", "w_scale"], ["scale"]),
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "q_scale", "q_point"]),
        helper.make_node("Mul", ["q_scale", "v_scale"], ["scale2"]),
        helper.make_node("Mul", ["x", "gamma"], ["z"]),
    ]
    constants = [
        ("table", np.abs(_WEIGHTS).T.astype(np.uint8) + np.uint8(9)),
        ("t_scale", np.float32(0.1)),
        ("t_point", np.uint8(9)),
        ("w", _WEIGHTS),
        ("w_scale", np.ones(3, np.float32)),
        ("w_point", np.zeros(3, np.int8)),
        ("v_scale", np.ones(3, np.float32)),
        ("gamma", np.ones(4, np.float32)),
    ]
    found = {w.name: w.num_nonzero for w in _list_onnx(tmp_path, nodes, constants)}
    assert found == {"table": 7, "w": 7, "gamma": 4}


@pytest.mark.parametrize("middle", [None, 128])
def test_list_weights_onnx_read_back_finds_what_is_multiplied(middle, tmp_path):
    nodes = [
        helper.make_node("Gather", ["w", "ids"], ["rows"]),
        helper.make_node("Cast", ["rows"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scales", "ids"], ["scale"]),
        helper.make_node("Mul", ["wide", "scale"], ["y"]),
    ]
    weights, constants = _WEIGHTS, [("scales", np.ones((4, 1), np.float32))]
    if middle is not None:
        weights = (weights.astype(np.int16) + middle).astype(np.uint8)
        constants.append(("middle", np.float32(middle)))
        nodes.insert(2, helper.make_node("Sub", ["wide", "middle"], ["centred"]))
        nodes[-1].input[0] = "centred"
    (found,) = _list_onnx(tmp_path, nodes, [("w", weights), *constants])
    assert (found.name, found.num_nonzero, found.num_distinct_values) == ("w", 7, 4)
    assert found.size_bytes == 12 + 4 * 4


def test_list_weights_onnx_int4_counts_zeros_at_the_zero_point(tmp_path):
    tensor = helper.make_tensor("w", TensorProto.INT4, [5], [-3, 0, -3, 2, 7])
    point = helper.make_tensor("p", TensorProto.INT4, [], [-3])
    scale = numpy_helper.from_array(np.float32(1), "s")
    node = helper.make_node("DequantizeLinear", ["w", "s", "p"], ["y"])
    graph = helper.make_graph([node], "weights", [], _OUTPUTS, [tensor, point, scale])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    (found,) = list_weights("onnx", tmp_path, ["m.onnx"])
    assert (found.num_nonzero, found.num_distinct_values) == (3, 4)


def test_list_weights_onnx_products_in_blocks_have_their_zero_in_the_middle(tmp_path):
    weights = (_WEIGHTS.astype(np.int16) + 128).astype(np.uint8)[:, None]
    constants = [("w", weights), ("scales", np.ones(4, np.float32))]
    node = helper.make_node("MatMulNBits", ["x", "w", "scales"], ["y"])
    (found,) = _list_onnx(tmp_path, [node], constants)
    assert (found.num_nonzero, found.num_distinct_values) == (7, 4)
    assert found.size_bytes == 12 + 4 * 4


@pytest.mark.parametrize("kind", ["u8", "u4"])
def test_list_weights_openvino_asymmetric_counts_zeros_at_the_zero_point(
    kind, tmp_path
):
    element_type = getattr(openvino.Type, kind)
    points = np.array([[8], [7], [8], [7]])
    weights = ops.constant(_WEIGHTS + points, element_type, name="w")
    points = ops.convert(ops.constant(points, element_type, name="point"), "f32")
    scale = ops.constant(np.ones((4, 1), np.float32), name="scale")
    wide = ops.subtract(ops.convert(weights, "f32"), points)
    (found,) = _list_ir(tmp_path, ops.relu(ops.multiply(wide, scale)))
    assert found.name == "w"
    assert found.num_nonzero == 7


def test_list_weights_openvino_symmetric_leaves_scales_and_ranges_out(tmp_path):
    weights = ops.constant(_WEIGHTS, openvino.Type.i8, name="w")
    scale = ops.constant(np.ones((4, 1), np.float16), name="scale")
    wide = ops.multiply(ops.convert(weights, "f16"), scale)
    ends = [ops.constant(np.float32([end] * 3)) for end in (-1, 1, -1, 1)]
    y = ops.fake_quantize(ops.convert(wide, "f32"), *ends, 256)
    (found,) = _list_ir(tmp_path, y)
    assert (found.name, found.num_nonzero, found.num_distinct_values) == ("w", 7, 4)
    assert found.size_bytes == 12 + 4 * 2


def test_list_weights_openvino_integers_that_no_scale_multiplies_are_plain(tmp_path):
    weights = ops.constant(_WEIGHTS, openvino.Type.i8, name="w")
    (found,) = _list_ir(tmp_path, ops.relu(ops.convert(weights, "f32")))
    assert (found.num_nonzero, found.size_bytes) == (7, 12)


def _tflite(folder, quantization, *, details=None):
    """Writes the weights as a tensor of a .tflite file; a second tensor has scales."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.subgraphs, model.buffers, graph.tensors = [graph], [schema.BufferT()], []
    model.operatorCodes = []
    arrays = [_WEIGHTS, np.ones((4, 1), np.float16)]
    for array, kind in zip(arrays, ("INT8", "FLOAT16"), strict=True):
        tensor, buffer = schema.TensorT(), schema.BufferT()
        buffer.data = array.reshape(-1).view(np.uint8)
        tensor.shape, tensor.name = np.int32(array.shape), kind.encode()
        tensor.type = getattr(schema.TensorType, kind)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
    found = schema.QuantizationParametersT()
    for name, value in quantization.items():
        setattr(found, name, value)
    if details is not None:
        found.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        found.details = schema.BlockwiseQuantizationT()
        found.details.scales, found.details.zeroPoints = details
    graph.tensors[0].quantization = found
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    (folder / "m.tflite").write_bytes(bytes(builder.Output()))
    return list_weights("tflite", folder, ["m.tflite"])


def test_list_weights_tflite_by_channel_counts_zeros_at_the_zero_point(tmp_path):
    found, scales = _tflite(
        tmp_path,
        {
            "scale": np.ones(3, np.float32),
            "zeroPoint": np.int64([0, 7, 3]),
            "quantizedDimension": 1,
        },
    )
    # The zeros of column 0, the one 7 of column 1 and the one 3 of column 2.
    assert found.num_nonzero == 12 - 2 - 1 - 1
    assert found.size_bytes == 12 + 3 * 4 + 3 * 8
    assert scales.dtype == "float16"


def test_list_weights_tflite_scales_of_blocks_are_no_weights(tmp_path):
    (found,) = _tflite(tmp_path, {"quantizedDimension": 0}, details=(1, -1))
    assert found.dtype == "int8"
    assert found.num_nonzero == 7
