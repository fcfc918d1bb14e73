"""Tests of tfcompress.coding.onnx.check: a wrong file is found and removed."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfcompress.coding.driver import Expected
from tfcompress.coding.onnx.check import check_coded_model
from tfcompress.coding.onnx.coder import code_onnx
from tfcompress.errors import ModelFileError

_WEIGHTS = np.sign(np.random.default_rng(0).normal(size=(64, 96))).astype(np.float32)
_EXPECTED = Expected(
    graph_index=0,
    name="w",
    element_type=TensorProto.FLOAT,
    shape=(64, 96),
    sha256=hashlib.sha256(_WEIGHTS).hexdigest(),
)


@pytest.fixture
def files(tmp_path):
    """A dense file and its coded one."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 96])],
        [numpy_helper.from_array(_WEIGHTS, "w")],
    )
    imports = [helper.make_opsetid("", 17)]
    source, target = tmp_path / "dense.onnx", tmp_path / "coded.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), source)
    code_onnx(source, target)
    return source, target


def test_check_coded_model_right_file_stays(files):
    source, target = files
    check_coded_model(source, target, [_EXPECTED])
    assert target.exists()


@pytest.mark.parametrize("what", ["codebook", "packed"])
def test_check_coded_model_one_wrong_byte_raises_and_removes_the_file(what, files):
    source, target = files
    model = onnx.load(target)
    (tensor,) = (t for t in model.graph.initializer if t.name.endswith(what))
    tensor.raw_data = bytes([tensor.raw_data[0] ^ 1]) + tensor.raw_data[1:]
    onnx.save(model, target)
    with pytest.raises(ModelFileError, match="does not decode 'w' to the same bits"):
        check_coded_model(source, target, [_EXPECTED])
    assert not target.exists()


def test_check_coded_model_other_shape_raises(files):
    source, target = files
    model = onnx.load(target)
    (tensor,) = (t for t in model.graph.initializer if t.name.endswith("shape"))
    tensor.CopyFrom(numpy_helper.from_array(np.array([96, 64]), tensor.name))
    onnx.save(model, target)
    with pytest.raises(ModelFileError, match="does not decode 'w' to the same bits"):
        check_coded_model(source, target, [_EXPECTED])


def test_check_coded_model_new_fault_of_the_graph_raises(files):
    source, target = files
    model = onnx.load(target)
    model.graph.node[-1].op_type = "NoSuchOperator"
    onnx.save(model, target)
    with pytest.raises(ModelFileError, match="is no valid ONNX: No Op registered"):
        check_coded_model(source, target, [_EXPECTED])
    assert not target.exists()
