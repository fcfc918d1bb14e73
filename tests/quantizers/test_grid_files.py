"""Tests that weights on a grid are, in every file, the integers that they were."""

import numpy as np
import onnx
import openvino
import pytest
from ai_edge_litert import schema_py_generated as schema

from tfcompress.quantizers import quantize_file
from tfcompress.runtime import load_session

DENSE_8_BITS = ("by_channel", "by_tensor")
DENSE_4_BITS = ("four_bits", "logits")
DENSE = DENSE_8_BITS + DENSE_4_BITS

# Format, precision, layers whose integers are in the file, largest error of the output.
CASES = [
    ("tflite", "dynamic_range_wi8_ei8", ("table", *DENSE), 0.02),
    ("tflite", "dynamic_range_wi8_efp32", DENSE, 0.02),
    ("tflite", "dynamic_range_wi4_ei8", ("table", *DENSE), 0.02),
    ("tflite", "dynamic_range_wi4", DENSE, 0.02),
    ("tflite", "dynamic_range_wi4b32", DENSE, 0.02),
    ("tflite", "static_range_wi8_ai8", ("table", *DENSE), 0.05),
    ("tflite", "static_range_wi8_ai8_full", ("table", *DENSE), None),
    ("onnx", "dynamic_range_wi8", ("table", *DENSE), 0.02),
    ("onnx", "weight_only_wi8", ("table", *DENSE), 0.03),
    ("onnx", "static_range_wi8_ai8", ("table", *DENSE), 0.02),
    ("openvino", "weight_only_wi8", ("table", *DENSE), 0.03),
    ("openvino", "weight_only_wi4", ("table", *DENSE), 0.03),
    ("openvino", "static_range_wi8_ai8", ("table", *DENSE), 0.05),
]


def _tflite_integers(path):
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is None or tensor.shape is None or len(tensor.shape) != 2:
            continue
        if tensor.type == schema.TensorType.INT8:
            yield data.view(np.int8).reshape(tensor.shape)
        elif tensor.type == schema.TensorType.INT4:
            yield _unpack(data, tensor.shape)


def _onnx_integers(path):
    for tensor in onnx.load(path).graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2:
            yield onnx.numpy_helper.to_array(tensor)
        elif tensor.data_type == onnx.TensorProto.UINT8 and len(tensor.dims) == 2:
            yield onnx.numpy_helper.to_array(tensor).astype(np.int16) - 128
        elif len(tensor.dims) == 3:  # a MatMulNBits's, in blocks
            blocks = onnx.numpy_helper.to_array(tensor).astype(np.int16) - 128
            rows = blocks.reshape(len(blocks), -1)
            yield np.trim_zeros(rows, "b", axis=1)  # without what fills the last block


def _openvino_integers(path):
    for node in openvino.Core().read_model(path).get_ops():
        if node.get_type_name() == "Constant" and len(node.shape) == 2:
            kind = node.get_element_type().get_type_name()
            if kind == "i8":
                yield node.data
            elif kind == "i4":
                yield _unpack(node.data.ravel().view(np.uint8), node.shape)


def _unpack(data, shape):
    """Returns int8 of elements of 4 bits, two in a byte, the first one low."""
    halves = np.stack([data & 15, data >> 4], axis=1).astype(np.int8).ravel()
    return (halves - 16 * (halves > 7))[: np.prod(shape)].reshape(shape)


READERS = {
    "tflite": _tflite_integers,
    "onnx": _onnx_integers,
    "openvino": _openvino_integers,
}


@pytest.mark.parametrize(
    ("format", "precision", "layers", "most"),
    CASES,
    ids=[f"{case[0]}-{case[1]}" for case in CASES],
)
def test_quantize_file_keeps_the_integers_of_a_grid(
    tmp_path, dense_file, grid_integers, calibration, format, precision, layers, most
):
    source = dense_file(format)
    files = quantize_file(
        source,
        tmp_path / "quantized",
        format,
        precision=precision,
        calibration=calibration if "static" in precision else None,
    )
    found = list(READERS[format](tmp_path / "quantized" / files[0]))
    for layer in layers:
        forms = (grid_integers[layer], grid_integers[layer].T)
        kept = [np.array_equal(array, form) for array in found for form in forms]
        assert any(kept), layer
    if most is None:  # its outputs are integers
        return
    inputs = calibration.inputs
    with load_session(format, source.parent, _names(source)) as session:
        (dense,) = session.run(inputs).values()
    with load_session(format, tmp_path / "quantized", files) as session:
        (quantized,) = session.run(inputs).values()
    assert np.abs(quantized - dense).max() < most * np.abs(dense).max()


def _names(source):
    return [path.name for path in source.parent.iterdir()]
