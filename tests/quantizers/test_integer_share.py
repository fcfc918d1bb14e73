"""Tests of what part of a file is said to be integer, on files with known weights."""

import numpy as np
import pytest

from tfcompress.quantizers.integer_share import FloatWeight, IntegerShare, integer_share

FLOATS, INTEGERS = np.ones((4, 6), np.float32), np.ones((6, 2), np.int8)


@pytest.fixture
def onnx_path(tmp_path):
    """x (n, 4) times 24 float weights, times 12 int8 weights with a scale."""
    import onnx
    from onnx import helper, numpy_helper

    constants = {
        "floats": FLOATS,
        "integers": INTEGERS,
        "scale": np.ones((1, 2), np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "floats"], ["hidden"]),
            helper.make_node("DequantizeLinear", ["integers", "one"], ["weights"]),
            helper.make_node("MatMul", ["hidden", "weights"], ["y"]),
        ],
        "two_products",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])],
        [
            *(numpy_helper.from_array(a, name) for name, a in constants.items()),
            numpy_helper.from_array(np.float32(1), "one"),
        ],
    )
    path = tmp_path / "model.onnx"
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def ir_path(tmp_path):
    """The same as an IR."""
    import openvino
    from openvino import opset13 as ops

    x = ops.parameter([-1, 4], np.float32, name="x")
    hidden = ops.matmul(x, ops.constant(FLOATS, name="floats"), False, False)
    stored = ops.convert(ops.constant(INTEGERS), "f32")
    scale = ops.constant(np.ones((1, 2), np.float32))
    weights = ops.multiply(stored, scale)
    model = openvino.Model([ops.matmul(hidden, weights, False, False)], [x], "m")
    path = tmp_path / "model.xml"
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


@pytest.mark.parametrize("path", ["onnx_path", "ir_path"])
def test_integer_share_counts_weights_and_no_scales(request, path):
    share = integer_share(request.getfixturevalue(path), count_products=False)
    assert share.weights == pytest.approx(12 / 36)
    assert share.floating == (FloatWeight("floats", "MatMul", 24),)
    assert share.products is None


def test_integer_share_counts_products_as_the_runtime_computes_them(onnx_path):
    # ONNX Runtime makes one integer product of the dequantization and what follows.
    assert integer_share(onnx_path).products == 0.5


def test_integer_share_of_a_tflite_file(tiny_model_files):
    (path,) = tiny_model_files("tflite")
    share = integer_share(path)
    assert (share.weights, share.products) == (0.0, 0.0)
    assert {weight.size for weight in share.floating} == {16, 2}


def test_integer_share_reads_weights_inside_of_loops(tmp_path):
    import onnx
    from onnx import helper, numpy_helper

    kinds = onnx.TensorProto
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "inner"], ["next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", kinds.INT64, []),
            helper.make_tensor_value_info("go", kinds.BOOL, []),
            helper.make_tensor_value_info("state", kinds.FLOAT, [1, 2]),
        ],
        [
            helper.make_tensor_value_info("go_on", kinds.BOOL, []),
            helper.make_tensor_value_info("next", kinds.FLOAT, [1, 2]),
        ],
        [numpy_helper.from_array(np.eye(2, dtype=np.float32), "inner")],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)],
        "loop",
        [helper.make_tensor_value_info("x", kinds.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", kinds.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.int64(3), "count")],
    )
    path = tmp_path / "model.onnx"
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    share = integer_share(path, count_products=False)
    assert share.floating == (FloatWeight("inner", "MatMul", 4),)


def test_integer_share_says_which_operators_stay_in_float():
    weights = [FloatWeight(f"w{number}", "Conv", 10) for number in range(7)]
    share = IntegerShare(weights=0.2, products=None, floating=tuple(weights))
    assert share.warning() == "Conv stays in float (w0, w1, w2, w3, w4 and 2 more)"
    assert str(share) == "20% of the weights' bytes and none of the products"
    assert share.to_json() == {"weights": 0.2, "products": None}


def test_integer_share_that_is_mostly_integer_warns_of_nothing():
    share = IntegerShare(weights=0.5, products=1.0, floating=())
    assert share.warning() is None


def test_integer_share_without_weights_says_so():
    share = IntegerShare(weights=None, products=None, floating=())
    assert share.warning() == "it has no weights to quantize"
