"""Tests of external_locations: found wherever a tensor can stand."""

import onnx
import pytest
from onnx import helper

from tfcompress.formats.onnx_wire import external_locations


def external(name):
    tensor = onnx.TensorProto(name=name, data_type=1, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=name)
    return tensor


def test_external_locations_are_found_everywhere(tmp_path):
    body = helper.make_graph([], "body", [], [], [external("branch")])
    function = helper.make_function("d", "f", [], ["c"], [], [])
    function.node.append(helper.make_node("Constant", [], ["c"], value=external("fn")))
    sparse = onnx.SparseTensorProto(values=external("values"), dims=[1])
    sparse.indices.CopyFrom(external("indices"))
    nodes = [
        helper.make_node("If", ["x"], ["y"], then_branch=body),
        helper.make_node("Constant", [], ["c"], value=external("constant")),
        helper.make_node("Constant", [], ["d"], sparse_value=sparse),
    ]
    graph = helper.make_graph(nodes, "g", [], [], [external("w"), external("w")])
    model = helper.make_model(graph, functions=[function])
    model.training_info.add().initialization.initializer.append(external("training"))
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    names = "branch constant fn indices training values w"
    assert sorted(external_locations(path)) == names.encode().split()


@pytest.mark.parametrize(
    "data", [b"", b"\x3a\xff\x01", b"\x3a" + b"\xff" * 11, b"\x3f"]
)
def test_external_locations_of_no_message_raise(tmp_path, data):
    path = tmp_path / "a.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError):
        external_locations(path)
