"""Tests of tfcompress.formats.onnx_file: weights in other files, and damaged files."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfcompress.coding.onnx.coder import code_onnx
from tfcompress.errors import ModelFileError
from tfcompress.formats import onnx_file


def _model(*, is_clustered=True):
    """One Gemm of 64 x 96 weights and a bias."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(96, 64)).astype(np.float32)
    if is_clustered:
        weights = np.sign(weights)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        "graph",
        [info("x", TensorProto.FLOAT, ["n", 64])],
        [info("y", TensorProto.FLOAT, ["n", 96])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.ones(96, np.float32), "b"),
        ],
    )
    imports = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _save(folder, location=None, **options):
    """Saves the model, its weights in `location` where that is given."""
    path = folder / "model.onnx"
    external = {"save_as_external_data": True, "size_threshold": 0}
    if location:
        (folder / location).parent.mkdir(exist_ok=True)
        onnx.save(_model(**options), path, location=location, **external)
    else:
        onnx.save(_model(**options), path)
    return path


def _target(folder):
    (folder / "out").mkdir()
    return folder / "out" / "model.onnx"


def _assert_same_results(source, target):
    inputs = {"x": np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)}
    dense, coded = (
        onnxruntime.InferenceSession(path).run(None, inputs)[0]
        for path in (source, target)
    )
    assert dense.tobytes() == coded.tobytes()


def test_code_onnx_external_data_comes_into_one_file(tmp_path):
    source, target = _save(tmp_path, "model.onnx.data"), _target(tmp_path)
    result = code_onnx(source, target)
    assert [path.name for path in target.parent.iterdir()] == ["model.onnx"]
    data_bytes = (tmp_path / "model.onnx.data").stat().st_size
    assert result.source_bytes == source.stat().st_size + data_bytes
    _assert_same_results(source, target)


def test_code_onnx_external_data_that_stays_is_copied(tmp_path):
    source = _save(tmp_path, "weights/part.bin", is_clustered=False)
    target = _target(tmp_path)
    result = code_onnx(source, target)
    assert not result.is_coded
    assert result.source_bytes == result.target_bytes
    _assert_same_results(source, target)


def test_code_onnx_too_large_for_one_file_keeps_external_data(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "MAX_SINGLE_FILE_BYTES", 1000)
    source, target = _save(tmp_path), _target(tmp_path)
    result = code_onnx(source, target)
    files = sorted(target.parent.iterdir())
    assert [path.name for path in files] == ["model.onnx", "model.onnx.data"]
    assert result.target_bytes == sum(path.stat().st_size for path in files)
    _assert_same_results(source, target)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty. Export or copy"),
        (b"no model at all", "is not an ONNX model, or is truncated"),
        (b"\x08\x08", "is not a whole ONNX model"),
    ],
)
def test_code_onnx_no_model_raises(content, words, tmp_path):
    source, target = tmp_path / "model.onnx", _target(tmp_path)
    source.write_bytes(content)
    with pytest.raises(ModelFileError, match=words):
        code_onnx(source, target)
    assert not target.exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_code_onnx_truncated_model_raises(share, tmp_path):
    source = _save(tmp_path)
    data = source.read_bytes()
    source.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelFileError, match="model.onnx' is not a"):
        code_onnx(source, _target(tmp_path))


@pytest.mark.parametrize("damage", ["missing", "truncated", "elsewhere"])
def test_code_onnx_damaged_external_data_raises(damage, tmp_path):
    source = _save(tmp_path, "data")
    data = tmp_path / "data"
    if damage == "missing":
        data.unlink()
    elif damage == "truncated":
        data.write_bytes(data.read_bytes()[:5000])
    else:
        stored = onnx.load(source, load_external_data=False)
        stored.graph.initializer[0].external_data[0].value = "../data"
        source.write_bytes(stored.SerializeToString())
    with pytest.raises(ModelFileError, match=r"weight '.' in .*beside the model"):
        code_onnx(source, _target(tmp_path))


def test_code_onnx_too_few_values_raises(tmp_path):
    source = _save(tmp_path)
    model = onnx.load(source)
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-4]
    onnx.save(model, source)
    with pytest.raises(ModelFileError, match=r"'w' of shape \(96, 64\) lacks values"):
        code_onnx(source, _target(tmp_path))


@pytest.mark.parametrize("name", [b"Gemm", b"graph", b"w"])
def test_code_onnx_name_that_is_not_utf8_raises(tmp_path, name):
    path = _save(tmp_path)
    model = onnx.load(path)
    model.graph.node[0].name = "node"
    data = model.SerializeToString()
    tag = bytes([len(name)]) + name
    assert tag in data
    path.write_bytes(data.replace(tag, bytes([len(name)]) + b"\xff" + name[1:]))
    try:
        code_onnx(path, _target(tmp_path))
    except ModelFileError as error:
        assert "which is not UTF-8: it is damaged" in str(error)
    else:
        assert name == b"graph"  # a name that nobody asks for


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("offset", "-4", "it needs 24576 bytes from -4 on, of"),
        ("offset", "999999999999", "it needs 24576 bytes from 999999999999 on, of"),
        ("offset", "x", "invalid literal"),
        ("length", "-1", "it has -1 bytes where its shape needs 24576"),
        ("length", "99999999999", "it has 99999999999 bytes where its shape needs"),
    ],
)
def test_code_onnx_place_outside_of_its_file_raises(tmp_path, key, value, message):
    path = _save(tmp_path, "weights.data")
    model = onnx.load(path, load_external_data=False)
    (weight,) = (t for t in model.graph.initializer if t.name == "w")
    entries = {entry.key: entry for entry in weight.external_data}
    entry = entries.get(key) or weight.external_data.add(key=key)
    entry.value = value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=message):
        code_onnx(path, _target(tmp_path))
