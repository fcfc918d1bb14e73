"""Constants are read by one reader a format, within the limits on hostile files."""

import pathlib
import re
import zipfile

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper
from openvino import opset8 as ops

from tfcompress.errors import ModelFileError
from tfcompress.formats import FORMATS
from tfcompress.formats.constants import pack_halves

ROOT = pathlib.Path(__file__).parents[2] / "tfcompress"
# Calls that parse a model file. A runtime opens files for itself, and
# ai-edge-quantizer's own tools rewrite what the reader has checked.
PARSERS = re.compile(
    r"onnx\.load|load_model_from_string|Core\(\)\.read_model|GetRootAs|InitFromPacked"
)


def test_no_other_part_of_the_package_parses_model_files():
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if PARSERS.search(path.read_text("utf-8"))
    }
    assert found == {
        "formats/onnx_file.py",
        "formats/openvino_file.py",
        "formats/tflite_file.py",
    }


def _read(format, path):
    return list(FORMATS[format].read_constants(path))


def test_openvino_constants_in_bodies_of_loops_are_read(tmp_path):
    x = ops.parameter([3, 4], np.float32)
    inside = ops.parameter([1, 4], np.float32)
    weights = ops.constant(np.eye(4, dtype=np.float32), name="inside")
    body = openvino.Model([ops.matmul(inside, weights, False, False)], [inside])
    loop = ops.tensor_iterator()
    loop.set_function(body)
    loop.set_sliced_input(inside, x.output(0), 0, 1, 1, -1, 0)
    result = loop.get_concatenated_slices(body.results[0].output(0), 0, 1, 1, -1, 0)
    path = tmp_path / "loop.xml"
    openvino.save_model(openvino.Model([result], [x]), path, compress_to_fp16=False)
    names = [c.name for c in _read("openvino", path) if c.dtype == "float32"]
    assert names == ["inside"]


def test_onnx_constants_of_functions_are_read(tmp_path):
    value = numpy_helper.from_array(np.ones(3, np.float32))
    constant = helper.make_node("Constant", [], ["inside"], value=value)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "F", [], ["inside"], [constant], imports[:1])
    info = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    call = helper.make_node("F", [], ["y"], domain="own")
    graph = helper.make_graph([call], "graph", [], [info])
    model = helper.make_model(graph, functions=[function], opset_imports=imports)
    onnx.save(model, tmp_path / "m.onnx")
    (found,) = _read("onnx", tmp_path / "m.onnx")
    assert (found.name, found.shape, found.dtype) == ("inside", (3,), "float32")


def test_onnx_constant_that_reaches_beyond_its_other_file_raises(tmp_path):
    tensor = numpy_helper.from_array(np.ones(1000, np.float32), "w")
    info = helper.make_tensor_value_info("w", TensorProto.FLOAT, [1000])
    path = tmp_path / "m.onnx"
    onnx.save(
        helper.make_model(helper.make_graph([], "graph", [], [info], [tensor])),
        path,
        save_as_external_data=True,
        location="m.data",
    )
    (tmp_path / "m.data").write_bytes(bytes(3999))
    with pytest.raises(ModelFileError, match="needs 4000 bytes from 0 on, of 3999"):
        _read("onnx", path)


def test_keras_file_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(1_000_000))
    monkeypatch.setattr("tfcompress.limits.MAX_UNPACKED_BYTES", 1000)
    message = r"is no \.keras file, or damaged: its .* bytes unpack to 1,000,000"
    with pytest.raises(ModelFileError, match=message):
        _read("keras", path)


def test_halves_of_a_byte_are_packed_with_the_first_one_low():
    packed = pack_halves(np.int8([-1, 2, 3]).view(np.uint8))
    assert packed.tolist() == [0x2F, 0x03]
