"""Tests of coding ONNX files and IRs by gaps, by channel and with block scales."""

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import helper, numpy_helper
from openvino import opset15 as ops

from tfcompress.coding import code_file

_ROWS = 192


def _save_onnx(weights, folder, *, opset=17, ir_version=8):
    """Saves y = x @ weights; returns the path."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [info("x", onnx.TensorProto.FLOAT, ["n", weights.shape[0]])],
        [info("y", onnx.TensorProto.FLOAT, ["n", weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")],
    )
    if ir_version < 4:
        graph.input.append(info("w", onnx.TensorProto.FLOAT, weights.shape))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )
    onnx.save(model, folder / "dense.onnx")
    return folder / "dense.onnx"


def _save_ir(weights, folder, *, layer="matmul"):
    """Saves a layer of these weights, transposed where the layer wants it."""
    if layer == "lstm":
        model = _lstm(weights)
    else:
        x = ops.parameter([-1, weights.shape[0]], np.float32, name="x")
        stored = weights.T if layer == "transposed" else weights
        constant = ops.constant(np.ascontiguousarray(stored))
        y = ops.matmul(x, constant, False, layer == "transposed")
        model = openvino.Model([y], [x], "model")
    openvino.save_model(model, folder / "dense.xml", compress_to_fp16=False)
    return folder / "dense.xml"


def _lstm(weights):
    """An LSTM refuses weights that are not constants when it is made."""
    size = weights.shape[1] // 4
    x = ops.parameter([2, 5, weights.shape[0]], np.float32, name="x")
    state = ops.constant(np.zeros((2, 1, size), np.float32))
    lstm = ops.lstm_sequence(
        x,
        state,
        state,
        ops.constant(np.int32([5, 5])),
        ops.constant(np.ascontiguousarray(weights.T)[None]),
        ops.constant(np.zeros((1, 4 * size, size), np.float32)),
        ops.constant(np.zeros((1, 4 * size), np.float32)),
        size,
        "forward",
    )
    return openvino.Model([lstm.output(0)], [x], "model")


def _run(path):
    """Returns the outputs for fixed inputs."""
    rng = np.random.default_rng(0)
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (value,) = session.get_inputs()
        x = rng.normal(size=(3, value.shape[1])).astype(np.float32)
        return session.run(None, {"x": x})[0]
    compiled = openvino.Core().compile_model(
        path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    shape = [
        d.get_length() if d.is_static else 3 for d in compiled.input().partial_shape
    ]
    return compiled([rng.normal(size=shape).astype(np.float32)])[0]


def _operators(path, tmp_path):
    """Returns what the runtime makes of a file: the kinds of its operators."""
    if path.suffix == ".onnx":
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
        return sorted(node.op_type for node in graph.node)
    compiled = openvino.Core().compile_model(
        path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    nodes = compiled.get_runtime_model().get_ops()
    return sorted(node.get_rt_info()["layerType"].astype(str) for node in nodes)


def _noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _pruned(weights, share_there):
    is_there = np.random.default_rng(1).random(weights.shape) < share_there
    return np.where(is_there, weights, np.float32(0))


def _clustered(*shape, num_values):
    values = np.sort(_noise(num_values))
    return values[np.random.default_rng(0).integers(0, num_values, shape)]


def _with_zeros(weights_and_hint, share_there):
    weights, hint = weights_and_hint
    return _pruned(weights, share_there), hint


# Name, which begins with the code -> (weights, hint).
_CASES = {
    "positions": lambda made: (_pruned(_noise(_ROWS, 480), 0.04), None),
    "positions, fillers": lambda made: (_pruned(_noise(_ROWS, 1920), 0.003), None),
    "positions_codebook, 8-bit gaps": lambda made: (
        _pruned(_clustered(_ROWS, 961, num_values=15), 0.04),
        None,
    ),
    "positions_codebook, 4-bit gaps": lambda made: (
        _pruned(_clustered(_ROWS, 961, num_values=15), 0.1),
        None,
    ),
    "channel_codebook": lambda made: made.channels((1024, 48), 1),
    "channel_codebook, 3 bits": lambda made: made.channels((1023, 48), 1, num_values=8),
    "channel_codebook, rows": lambda made: made.channels((48, 1024), 0),
    "block_codebook": lambda made: made.blocks((_ROWS, 96), 0),
    "block_codebook, 3 bits": lambda made: made.blocks((_ROWS, 201), 0, num_values=8),
    "block_codebook, rows": lambda made: made.blocks((96, _ROWS), 1),
    "bitmap_block_codebook": lambda made: _with_zeros(
        made.blocks((_ROWS, 480), 0), 0.5
    ),
    "positions_block_codebook": lambda made: _with_zeros(
        made.blocks((_ROWS, 960), 0), 0.04
    ),
}


def _code(source, hint):
    """Codes a file; returns (target, row of the weights)."""
    target = source.with_stem("coded")
    structures = {("layer", "kernel"): hint} if hint else None
    result = code_file(source, target, structures=structures)
    assert result.is_coded
    return target, max(result.tensors, key=lambda tensor: tensor.dense_bytes)


@pytest.mark.parametrize("name", _CASES)
@pytest.mark.parametrize("save", [_save_onnx, _save_ir], ids=["onnx", "ir"])
def test_code_file_gives_the_same_bits(name, save, structured, tmp_path):
    weights, hint = _CASES[name](structured)
    source = save(weights, tmp_path)
    target, row = _code(source, hint)
    assert row.code == name.partition(",")[0]
    assert row.num_nonzero == np.count_nonzero(weights)
    assert _run(source).tobytes() == _run(target).tobytes()


@pytest.mark.parametrize("name", _CASES)
@pytest.mark.parametrize("version", [(11, 6), (23, 11)])
def test_code_file_onnx_of_any_opset_becomes_the_dense_graph(
    name, version, structured, tmp_path
):
    opset, ir_version = version
    weights, hint = _CASES[name](structured)
    source = _save_onnx(weights, tmp_path, opset=opset, ir_version=ir_version)
    target, _ = _code(source, hint)
    onnx.checker.check_model(onnx.load(target))
    assert _operators(target, tmp_path) == ["MatMul"]
    assert _run(source).tobytes() == _run(target).tobytes()


@pytest.mark.parametrize("name", ["block_codebook", "channel_codebook"])
def test_code_file_onnx_of_opset_7_knows_structures(name, structured, tmp_path):
    weights, hint = _CASES[name](structured)
    source = _save_onnx(weights, tmp_path, opset=7, ir_version=3)
    target, row = _code(source, hint)
    assert row.code == name
    assert _run(source).tobytes() == _run(target).tobytes()


def test_code_file_ir_block_scales_become_the_dense_graph(structured, tmp_path):
    weights, hint = structured.blocks((_ROWS, 96), 0)
    source = _save_ir(weights, tmp_path)
    target, _ = _code(source, hint)
    assert _operators(target, tmp_path) == _operators(source, tmp_path)


@pytest.mark.parametrize("name", ["block_codebook", "channel_codebook"])
@pytest.mark.parametrize("layer", ["transposed", "lstm"])
def test_code_file_ir_finds_a_transposed_weight(name, layer, structured, tmp_path):
    weights, hint = _CASES[name](structured)
    source = _save_ir(weights, tmp_path, layer=layer)
    target, row = _code(source, hint)
    assert row.code == name
    assert _run(source).tobytes() == _run(target).tobytes()


def test_code_file_ir_lstm_of_few_weights_takes_a_bitmap(tmp_path):
    """Gaps are not folded in time for it."""
    source = _save_ir(_pruned(_noise(512, 256), 0.05), tmp_path, layer="lstm")
    target, row = _code(source, None)
    assert row.code == "bitmap"
    assert _run(source).tobytes() == _run(target).tobytes()


@pytest.mark.parametrize("save", [_save_onnx, _save_ir], ids=["onnx", "ir"])
def test_code_file_hint_of_other_weights_is_ignored(save, structured, tmp_path):
    weights, _ = structured.blocks((_ROWS, 96), 0)
    _, other = structured.blocks((_ROWS, 96), 0, seed=1)
    source = save(weights, tmp_path)
    target = tmp_path / f"coded{source.suffix}"
    result = code_file(source, target, structures={"any": other})
    assert "block_codebook" not in [tensor.code for tensor in result.tensors]
    assert _run(source).tobytes() == _run(target).tobytes()


@pytest.mark.parametrize("save", [_save_onnx, _save_ir], ids=["onnx", "ir"])
def test_code_file_row_of_a_structure_counts_the_entries_of_a_codebook(
    save, structured, tmp_path
):
    for number, name in enumerate(("block_codebook, 3 bits", "channel_codebook")):
        (folder := tmp_path / str(number)).mkdir()
        weights, hint = _CASES[name](structured)
        _, row = _code(save(weights, folder), hint)
        assert row.num_values == hint["codebook"].shape[-1]


@pytest.mark.parametrize("name", _CASES)
@pytest.mark.parametrize("save", [_save_onnx, _save_ir], ids=["onnx", "ir"])
def test_code_file_bytes_are_foreseen(name, save, structured, tmp_path):
    weights, hint = _CASES[name](structured)
    source = save(weights, tmp_path)
    structures = {"any": hint} if hint else {}
    result = code_file(source, source.with_stem("coded"), structures=structures)
    saved = sum(row.dense_bytes - row.coded_bytes for row in result.tensors)
    # What the tensors of an ONNX file share are up to four byte tables.
    assert abs(result.target_bytes - (result.source_bytes - saved)) < 6000
