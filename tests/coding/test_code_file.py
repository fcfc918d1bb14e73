"""Tests of tfcompress.coding.code_file: which coder, whole files, and bad input."""

import os
import shutil

import numpy as np
import pytest

from tfcompress.coding import code_file
from tfcompress.coding.tflite.graph import Graph
from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.formats.tflite_file import model_bytes, schema


def _clustered(*shape):
    return np.random.default_rng(0).choice(np.float32([1, 2, 3, 5]), shape)


@pytest.fixture
def tflite_path(tmp_path):
    """y = x * weights, 16 KB of them."""
    fb = schema()
    model, subgraph = fb.ModelT(), fb.SubGraphT()
    model.version, model.operatorCodes, model.buffers = 3, [], [fb.BufferT()]
    model.subgraphs, subgraph.tensors = [subgraph], []
    graph = Graph(model, subgraph, {})
    x, y = (graph.tensor([-1, 4096], "FLOAT32", name) for name in "xy")
    weights = graph.constant(_clustered(4096), "weights")
    subgraph.operators = [graph.operator("MUL", [x, weights], [y], "MulOptions")]
    subgraph.inputs, subgraph.outputs = np.int32([x]), np.int32([y])
    path = tmp_path / "dense.tflite"
    path.write_bytes(model_bytes(model))
    return path


def _onnx_model():
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4096])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4096])
    weights = numpy_helper.from_array(_clustered(4096), "weights")
    node = helper.make_node("Mul", ["x", "weights"], ["y"])
    graph = helper.make_graph([node], "graph", [x], [y], [weights])
    opset = helper.make_opsetid("", 17)
    # ONNX Runtime does not take the newest IR version, which is the default.
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


@pytest.fixture
def onnx_path(tmp_path):
    import onnx

    path = tmp_path / "dense.onnx"
    onnx.save(_onnx_model(), path)
    return path


@pytest.fixture
def ir_path(tmp_path):
    import openvino as ov
    from openvino import opset15 as ops

    x = ops.parameter([-1, 4096], np.float32, name="x")
    model = ov.Model([ops.multiply(x, ops.constant(_clustered(4096)))], [x], "model")
    path = tmp_path / "dense.xml"
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def _files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_code_file_tflite_writes_the_target_alone(tflite_path, tmp_path):
    target = tmp_path / "new" / "coded.tflite"
    result = code_file(str(tflite_path), str(target))
    assert (result.format, result.is_coded) == ("tflite", True)
    assert _files(target.parent) == ["coded.tflite"]
    assert target.stat().st_size == result.target_bytes < result.source_bytes / 3


def test_code_file_replaces_an_existing_target(tflite_path, tmp_path):
    target = tmp_path / "coded.tflite"
    target.write_bytes(b"old")
    assert code_file(tflite_path, target).target_bytes == target.stat().st_size


def test_code_file_onnx_writes_the_target_alone(onnx_path, tmp_path):
    target = tmp_path / "new" / "coded.onnx"
    result = code_file(onnx_path, target)
    assert (result.format, result.is_coded) == ("onnx", True)
    assert _files(target.parent) == ["coded.onnx"]


def test_code_file_ir_writes_both_files(ir_path, tmp_path):
    target = tmp_path / "new" / "coded.xml"
    result = code_file(ir_path, target)
    assert (result.format, result.is_coded) == ("openvino", True)
    assert _files(target.parent) == ["coded.bin", "coded.xml"]


def test_code_file_onnx_with_weights_outside_leaves_nothing_else(tmp_path):
    import onnx

    path = tmp_path / "dense.onnx"
    onnx.save(_onnx_model(), path, save_as_external_data=True, location="dense.data")
    target = tmp_path / "new" / "coded.onnx"
    assert code_file(path, target).is_coded
    assert not [name for name in _files(target.parent) if name.startswith(".")]


def test_code_file_passes_its_options_on(tflite_path, onnx_path, tmp_path):
    for path in (tflite_path, onnx_path):
        target = tmp_path / f"left{path.suffix}"
        result = code_file(path, target, slow_layers="leave", exclude=["wei.*"])
        assert [row.reason for row in result.tensors] == ["left as asked by 'wei.*'"]
        assert not result.is_coded
        assert target.read_bytes() == path.read_bytes()


def test_code_file_missing_raises(tmp_path):
    with pytest.raises(ModelFileError, match=r"There is no file '.*none\.tflite'"):
        code_file(tmp_path / "none.tflite", tmp_path / "coded.tflite")


def test_code_file_empty_raises(tmp_path):
    path = tmp_path / "empty.onnx"
    path.touch()
    with pytest.raises(ModelFileError, match="is empty; it holds no model"):
        code_file(path, tmp_path / "coded.onnx")


@pytest.mark.parametrize(
    ("name", "hint"), [("model.h5", ""), ("model.bin", "; of an OpenVINO IR give the")]
)
def test_code_file_unknown_suffix_raises(tmp_path, name, hint):
    path = tmp_path / name
    path.write_bytes(b"anything at all")
    message = rf"suffix must be one of \.tflite, \.onnx, \.xml{hint}"
    with pytest.raises(InvalidValueError, match=message):
        code_file(path, tmp_path / "coded.h5")


def test_code_file_with_the_suffix_of_another_format_raises(tflite_path, tmp_path):
    path = tmp_path / "renamed.onnx"
    path.write_bytes(tflite_path.read_bytes())
    with pytest.raises(ModelFileError, match=r"holds a \.tflite model. Give the file"):
        code_file(path, tmp_path / "coded.onnx")


@pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".xml"])
def test_code_file_that_is_no_model_raises_and_leaves_nothing(tmp_path, suffix):
    path = tmp_path / f"text{suffix}"
    path.write_text("Call me Ishmael. Some years ago, never mind how long precisely")
    before = _files(tmp_path)
    with pytest.raises(ModelFileError):
        code_file(path, tmp_path / f"coded{suffix}")
    assert _files(tmp_path) == before


@pytest.mark.parametrize("fixture", ["tflite_path", "onnx_path", "ir_path"])
def test_code_file_truncated_raises_and_leaves_nothing(fixture, request, tmp_path):
    path = request.getfixturevalue(fixture)
    data = path.with_suffix(".bin") if fixture == "ir_path" else path
    data.write_bytes(data.read_bytes()[:-1000])
    before = _files(tmp_path)
    with pytest.raises(ModelFileError):
        code_file(path, path.with_stem("coded"))
    assert _files(tmp_path) == before


@pytest.mark.parametrize("fixture", ["tflite_path", "onnx_path", "ir_path"])
def test_code_file_coded_already_raises_and_leaves_it(fixture, request):
    path = request.getfixturevalue(fixture)
    coded = path.with_stem("coded")
    code_file(path, coded)
    before, names = coded.read_bytes(), _files(path.parent)
    with pytest.raises(ModelFileError, match="is coded already"):
        code_file(coded, path.with_stem("again"))
    assert coded.read_bytes() == before
    assert _files(path.parent) == names


def test_code_file_onto_itself_raises(tflite_path):
    before = tflite_path.read_bytes()
    with pytest.raises(InvalidValueError, match="is the source itself. Name another"):
        code_file(tflite_path, tflite_path)
    assert tflite_path.read_bytes() == before


def test_code_file_target_of_another_suffix_raises(tflite_path, tmp_path):
    with pytest.raises(
        InvalidValueError, match=r"must have the suffix of the source, "
    ):
        code_file(tflite_path, tmp_path / "coded.onnx")


def test_code_file_target_that_is_a_folder_raises(tflite_path, tmp_path):
    (tmp_path / "coded.tflite").mkdir()
    with pytest.raises(InvalidValueError, match="is a folder; name a file"):
        code_file(tflite_path, tmp_path / "coded.tflite")


def test_code_file_target_folder_that_is_a_file_raises(tflite_path):
    with pytest.raises(InvalidValueError, match="is a file. Name a folder"):
        code_file(tflite_path, tflite_path / "coded.tflite")


def test_code_file_target_folder_that_cannot_be_made_raises(tflite_path):
    with pytest.raises(OSError, match="Not a directory"):
        code_file(tflite_path, tflite_path / "new" / "coded.tflite")


def test_code_file_full_disk_leaves_nothing(tflite_path, tmp_path):
    import resource

    before = _files(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ: a write past the limit fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            code_file(tflite_path, tmp_path / "coded.tflite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert _files(tmp_path) == before


def test_result_to_json_is_plain(tflite_path, tmp_path):
    import json

    result = code_file(tflite_path, tmp_path / "coded.tflite")
    (tensor,) = result.tensors
    text = json.dumps(tensor.to_json(), allow_nan=False)
    assert json.loads(text) == {
        "name": "weights",
        "shape": [4096],
        "dtype": "float32",
        "code": "codebook",
        "num_bits": 2,
        "num_values": 4,
        "num_nonzero": 4096,
        "dense_bytes": 16384,
        "coded_bytes": tensor.coded_bytes,
        "reason": None,
        "is_slower": False,
    }


@pytest.mark.parametrize(
    ("suffix", "head", "message"),
    [
        (".onnx", b"\x08", "bytes, more than an ONNX file can: protobuf ends at 2 GB"),
        (".tflite", b"0000TFL3", "has more than 2 GB of weights"),
        (".xml", b"<?xml", "bytes, and at most 134,217,728 are read: it is no graph"),
    ],
)
def test_code_file_sparse_file_is_refused_unread(tmp_path, suffix, head, message):
    path = tmp_path / f"model{suffix}"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match=message):
        code_file(path, tmp_path / f"out{suffix}")


def test_code_file_whose_name_is_not_utf8_is_refused(tflite_path, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tflite")
    shutil.copyfile(tflite_path, path)
    with pytest.raises(InvalidValueError, match="is not UTF-8, or holds a NUL. Rename"):
        code_file(path, tmp_path / "out.tflite")
    with pytest.raises(InvalidValueError, match="is not UTF-8, or holds a NUL. Rename"):
        code_file(tflite_path, path)
