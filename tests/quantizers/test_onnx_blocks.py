"""Tests of products in blocks on ONNX graphs that others wrote."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tfcompress.quantizers import quantize_file
from tfcompress.runtime import load_session

INPUTS = {"x": np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)}


@pytest.fixture
def operators(tmp_path):
    """Function: attributes of a Gemm -> operators and outputs, before and after."""

    def make(**attributes):
        random = np.random.default_rng(1)
        arrays = {"w": random.normal(size=(24, 32)), "b": random.normal(size=24)}
        constants = [
            numpy_helper.from_array(array.astype(np.float32), name)
            for name, array in arrays.items()
        ]
        node = helper.make_node(
            "Gemm", ["x", "w", "b"], ["y"], name="layer/Gemm", transB=1, **attributes
        )
        ends = [
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size])]
            for name, size in (("x", 32), ("y", 24))
        ]
        graph = helper.make_graph([node], "one", *ends, constants)
        imports = [helper.make_opsetid("", 21)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        onnx.save(model, tmp_path / "m.onnx")
        quantize_file(
            tmp_path / "m.onnx",
            tmp_path / "int8",
            "onnx",
            precision="weight_only_wi8",
        )
        outputs = []
        for folder in (tmp_path, tmp_path / "int8"):
            with load_session("onnx", folder, ["m.onnx"]) as session:
                outputs.append(session.run(INPUTS)["y"])
        nodes = onnx.load(tmp_path / "int8" / "m.onnx").graph.node
        return [node.op_type for node in nodes], outputs

    return make


def test_gemm_with_transposed_weights_and_bias_is_in_blocks(operators):
    names, (dense, found) = operators()
    assert names == ["MatMulNBits"]
    assert np.abs(found - dense).max() < 0.02 * np.abs(dense).max()


@pytest.mark.parametrize("attributes", [{"alpha": 2.0}, {"beta": 0.5}])
def test_gemm_that_scales_reads_its_weights_back(operators, attributes):
    names, (dense, found) = operators(**attributes)
    assert names == ["Cast", "Mul", "Gemm"]
    assert np.abs(found - dense).max() < 0.02 * np.abs(dense).max()
