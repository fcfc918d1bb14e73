"""Tests of the reader of IRs and of the check of coded ones: damaged files."""

import hashlib

import numpy as np
import openvino
import pytest
from openvino import opset8 as ops

from tfcompress.coding.driver import Expected
from tfcompress.coding.openvino.check import check_coded_model
from tfcompress.coding.openvino.coder import code_openvino
from tfcompress.errors import ModelFileError

_WEIGHTS = np.sign(np.random.default_rng(0).normal(size=(64, 96))).astype(np.float32)
_EXPECTED = Expected(
    graph_index=0,
    name="w",
    element_type="f32",
    shape=(64, 96),
    sha256=hashlib.sha256(_WEIGHTS).hexdigest(),
)


@pytest.fixture
def source(tmp_path):
    """An IR of one MatMul."""
    x, weights = ops.parameter([-1, 64], np.float32), ops.constant(_WEIGHTS)
    weights.set_friendly_name("w")
    y = ops.matmul(x, weights, False, False)
    path = tmp_path / "model.xml"
    model = openvino.Model([y.output(0)], [x], "model")
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def _refused(source, words):
    target = source.with_name("out.xml")
    with pytest.raises(ModelFileError, match=words) as raised:
        code_openvino(source, target)
    assert "\n" not in str(raised.value)
    assert not target.exists()
    assert not target.with_suffix(".bin").exists()


@pytest.mark.parametrize(
    "content", ["", "no model", "<a></a>", "<net version='11'><layers>"]
)
def test_code_openvino_no_ir_raises(content, source):
    source.write_text(content)
    _refused(source, "model.xml' is not an OpenVINO IR, or is truncated")


def test_code_openvino_truncated_xml_raises(source):
    source.write_bytes(source.read_bytes()[:1000])
    _refused(source, "is not an OpenVINO IR, or is truncated")


def test_code_openvino_other_version_raises(source):
    text = source.read_text().replace('version="11"', 'version="10"')
    source.write_text(text)
    _refused(source, "is an IR of version '10', and only '11' can be coded")


def test_code_openvino_missing_weights_raises(source):
    source.with_suffix(".bin").unlink()
    _refused(source, r"has its weights in 'model.bin', which is not there. Put it")


def test_code_openvino_truncated_weights_raises(source):
    weights = source.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-1])
    _refused(source, r"has 24575 bytes, and 'model.xml' needs 24576: it is truncated")


def test_code_openvino_unknown_operator_raises(source):
    source.write_text(source.read_text().replace('type="MatMul"', 'type="Unknown"'))
    _refused(source, r"cannot be read by OpenVINO .* operation with type: Unknown")


def test_code_openvino_target_that_cannot_be_written_raises(source):
    target = source / "out.xml"  # a folder that is a file
    with pytest.raises(OSError, match=r"OpenVINO cannot write 'out.xml': .* full\?"):
        code_openvino(source, target)


def test_check_coded_model_right_file_stays(source):
    target = source.with_name("out.xml")
    code_openvino(source, target)
    check_coded_model(source, target, [_EXPECTED])
    assert target.exists()


@pytest.mark.parametrize("place", [0, 100])
def test_check_coded_model_one_wrong_byte_raises_and_removes_the_files(place, source):
    target = source.with_name("out.xml")
    code_openvino(source, target)
    weights = target.with_suffix(".bin")
    data = bytearray(weights.read_bytes())
    data[place] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelFileError, match="does not decode 'w' to the same bits"):
        check_coded_model(source, target, [_EXPECTED])
    assert not target.exists()
    assert not weights.exists()
