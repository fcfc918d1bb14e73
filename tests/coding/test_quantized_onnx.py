"""Tests of coding int8 weights of ONNX files: the same bits, and integer kernels."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfcompress.coding.onnx.coder import code_onnx

_OPSET = 17


def _integers(*shape, num_values=16, sparsity=0.0, dtype=np.int8, seed=0):
    """Integers of so many values beside the zero; every channel has 127."""
    rng = np.random.default_rng(seed)
    others = np.setdiff1d(np.arange(-126, 127), [0])
    values = np.append(rng.choice(others, num_values - 1, replace=False), 127)
    array = values[rng.integers(0, num_values, shape)]
    array[rng.random(shape) < sparsity] = 0
    array[0], array[:, 0] = 127, 127
    return (array if dtype == np.int8 else array + 128).astype(dtype)


def _float_model(weights):
    """Returns a table, a MatMul and a Gemm with these integers / 64 as weights."""
    table, first, second = (np.float32(each) / 64 for each in weights)
    bias = np.linspace(-1, 1, len(second), dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "first"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Gemm", ["mean", "second", "bias"], ["y"], transB=1),
    ]
    constants = {"table": table, "first": first, "second": second, "bias": bias}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", len(second)])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


class _Ids:
    """Calibration data as ONNX Runtime's quantizer reads it."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self._batches = iter([{"ids": rng.integers(0, 300, (4, 6))} for _ in range(4)])

    def get_next(self):
        return next(self._batches, None)


def _quantized(folder, precision, weights):
    """Writes an int8 file by ONNX Runtime's quantizer; returns its path."""
    from onnxruntime import quantization

    source, target = folder / "float.onnx", folder / "dense.onnx"
    onnx.save(_float_model(weights), source)
    int8 = {"weight_type": quantization.QuantType.QInt8}
    if precision == "dynamic":
        quantization.quantize_dynamic(source, target, **int8)
    else:
        quantization.quantize_static(source, target, _Ids(), per_channel=True, **int8)
    return target


def _weights(sparsity):
    shapes = ((300, 64), (64, 256), (128, 256))
    return [
        _integers(*shape, sparsity=sparsity, seed=seed)
        for seed, shape in enumerate(shapes)
    ]


def _optimized(path):
    """Runs a file; returns the operators that ran, sorted, and the outputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimized"))
    session = onnxruntime.InferenceSession(path, options)
    ids = np.arange(18).reshape(3, 6)
    outputs = session.run(None, {"ids": ids})
    nodes = onnx.load(path.with_suffix(".optimized")).graph.node
    return sorted(node.op_type for node in nodes), outputs


@pytest.mark.filterwarnings("ignore")  # of ONNX Runtime's quantizer
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    ("precision", "kernels"),
    [
        ("dynamic", {"MatMulInteger": 1, "DynamicQuantizeMatMul": 1}),
        ("static", {"QLinearMatMul": 1, "QGemm": 1}),
    ],
)
def test_code_onnx_int8_file_runs_the_same_integer_kernels(
    precision, kernels, sparsity, tmp_path
):
    source = _quantized(tmp_path, precision, _weights(sparsity))
    target = tmp_path / "coded.onnx"
    result = code_onnx(source, target)
    coded = [row for row in result.tensors if row.dense_bytes > 4096]
    assert len(coded) == 3
    assert all(row.dtype in ("int8", "uint8") for row in coded)
    assert all(row.code != "dense" for row in coded)
    assert result.target_bytes < result.source_bytes
    operators, outputs = _optimized(source)
    assert _optimized(target)[0] == operators
    assert {name: operators.count(name) for name in kernels} == kernels
    np.testing.assert_array_equal(_optimized(target)[1], outputs)


def _dequantize_model(weights, *, opset=_OPSET):
    """Returns y = x * (weights as floats), whose kernel is a float one."""
    constants = {"w": weights, "scale": np.float32(0.5), "x": np.float32(2)}
    constants["point"] = np.zeros((), weights.dtype)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "point"], ["wide"]),
        helper.make_node("Mul", ["wide", "x"], ["y"]),
    ]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, weights.shape)
    tensors = [numpy_helper.from_array(array, n) for n, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", [], [y], tensors)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize(
    ("num_values", "sparsity", "kind", "num_bits"),
    [
        (2, 0.0, "codebook", 1),
        (7, 0.0, "codebook", 3),
        (100, 0.0, "codebook", 7),
        (16, 0.5, "bitmap_codebook", 4),
        (200, 0.5, "bitmap", None),
        (16, 0.95, "positions_codebook", 4),
        (200, 0.95, "positions", None),
    ],
)
def test_code_onnx_integers_of_every_kind_come_back(
    num_values, sparsity, kind, num_bits, dtype, tmp_path
):
    weights = _integers(300, 401, num_values=num_values, sparsity=sparsity)
    source, target = tmp_path / "dense.onnx", tmp_path / "coded.onnx"
    onnx.save(_dequantize_model(weights.view(dtype)), source)
    result = code_onnx(source, target)
    (row,) = [row for row in result.tensors if row.dense_bytes > 1024]
    assert (row.code, row.num_bits) == (kind, num_bits)
    assert row.num_nonzero == np.count_nonzero(weights)
    (dense,), (coded,) = (
        onnxruntime.InferenceSession(path).run(None, {}) for path in (source, target)
    )
    np.testing.assert_array_equal(coded, dense)


def test_code_onnx_integers_of_few_values_a_channel_have_a_codebook_each(tmp_path):
    rng = np.random.default_rng(0)
    values = np.stack([rng.permutation(np.arange(-127, 128))[:8] for _ in range(96)])
    indices = rng.integers(0, 8, (96, 400))
    weights = np.take_along_axis(values, indices, 1).astype(np.int8)
    for each in (weights, np.ascontiguousarray(weights.T)):
        source, target = tmp_path / "dense.onnx", tmp_path / "coded.onnx"
        onnx.save(_dequantize_model(each), source)
        result = code_onnx(source, target)
        (row,) = [row for row in result.tensors if row.dense_bytes > 1024]
        assert (row.code, row.num_bits, row.num_values) == ("channel_codebook", 3, 8)
        (found,) = onnxruntime.InferenceSession(target).run(None, {})
        np.testing.assert_array_equal(found, each)


def test_code_onnx_ordinary_integers_stay(tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 40, (256, 200)).clip(-127, 127).astype(np.int8)
    source, target = tmp_path / "dense.onnx", tmp_path / "coded.onnx"
    onnx.save(_dequantize_model(weights), source)
    result = code_onnx(source, target)
    assert not result.is_coded
    assert target.read_bytes() == source.read_bytes()


def test_code_onnx_integers_are_left_as_asked(tmp_path):
    source, target = tmp_path / "dense.onnx", tmp_path / "coded.onnx"
    onnx.save(_dequantize_model(_integers(300, 401)), source)
    (row, *_) = code_onnx(source, target, exclude=["w"]).tensors
    assert (row.dtype, row.reason) == ("int8", "left as asked by 'w'")


def test_code_onnx_too_old_for_bitmaps_takes_a_codebook(tmp_path):
    weights = _integers(300, 401, sparsity=0.5)
    source, target = tmp_path / "dense.onnx", tmp_path / "coded.onnx"
    onnx.save(_dequantize_model(weights, opset=10), source)
    (row, *_) = code_onnx(source, target).tensors
    assert (row.code, row.num_bits) == ("codebook", 5)
