"""Weights read from files of every format."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.evaluate.exported_weights import (
    ExportedWeight,
    list_weights,
    summarize_weights,
)
from tfcompress.formats import FORMATS


def list_files(format, paths):
    return list_weights(format, paths[0].parent, [path.name for path in paths])


def weight(num_weights, num_distinct_values, size_bytes=None):
    return ExportedWeight(
        name="w",
        shape=(num_weights,),
        dtype="float32",
        num_weights=num_weights,
        num_nonzero=num_weights - 1,
        num_distinct_values=num_distinct_values,
        size_bytes=4 * num_weights if size_bytes is None else size_bytes,
    )


@pytest.mark.parametrize("format", FORMATS)
def test_list_weights_tiny_model_finds_table_and_kernel(format, tiny_model_files):
    found = list_files(format, tiny_model_files(format))
    (table,) = [weight for weight in found if weight.shape == (8, 2)]
    # The first column is 0 to 7, the second all 1.
    assert table.dtype == "float32"
    assert (table.num_weights, table.size_bytes) == (16, 64)
    assert (table.num_nonzero, table.num_distinct_values) == (15, 8)
    (kernel,) = [weight for weight in found if weight.num_weights == 2]
    assert (kernel.num_nonzero, kernel.num_distinct_values) == (1, 2)


def save_onnx(path, tensors, nodes=()):
    outputs = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph(list(nodes), "weights", [], outputs, list(tensors))
    onnx.save(helper.make_model(graph), path)
    return [path]


def test_list_weights_minus_zero_and_nan_are_told_apart_by_bits(tmp_path):
    values = np.array([0.0, -0.0, np.nan, np.nan, 1.0], np.float32)
    bits = values.view(np.uint32)
    bits[3] ^= 1  # another NaN
    tensor = numpy_helper.from_array(values, "w")
    (found,) = list_files("onnx", save_onnx(tmp_path / "model.onnx", [tensor]))
    assert found.num_distinct_values == 5
    assert found.num_nonzero == 3


@pytest.mark.parametrize(
    ("dtype", "size_bytes"),
    [
        ("FLOAT16", 10),
        ("BFLOAT16", 10),
        ("DOUBLE", 40),
        ("INT8", 5),
        ("UINT8", 5),
        ("INT4", 3),
        ("UINT4", 3),
    ],
)
def test_list_weights_narrow_types_are_counted(dtype, size_bytes, tmp_path):
    data_type = getattr(TensorProto, dtype)
    tensor = helper.make_tensor("w", data_type, [5], [0, 3, 3, 2, 7])
    (found,) = list_files("onnx", save_onnx(tmp_path / "model.onnx", [tensor]))
    assert found.dtype == dtype.lower().replace("double", "float64")
    assert found.size_bytes == size_bytes
    assert (found.num_nonzero, found.num_distinct_values) == (4, 4)


def test_list_weights_openvino_narrow_types_are_counted(tmp_path):
    import openvino
    from openvino import opset13 as ops

    kinds = {"float16": "f16", "bfloat16": "bf16", "int8": "i8", "uint4": "u4"}
    total = None
    for name, kind in kinds.items():
        constant = ops.constant(
            [0, 3, 3, 2, 7], getattr(openvino.Type, kind), name=name
        )
        value = ops.convert(constant, "f32")
        total = value if total is None else ops.add(total, value)
    path = tmp_path / "model.xml"
    openvino.save_model(openvino.Model([total], []), path, compress_to_fp16=False)
    found = {w.dtype: w for w in list_files("openvino", [path])}
    assert found.keys() == kinds.keys()
    assert [w.size_bytes for w in found.values()] == [10, 10, 5, 3]
    for each in found.values():
        assert (each.num_nonzero, each.num_distinct_values) == (4, 4)


def test_list_weights_integers_are_none(tmp_path):
    tensors = [
        numpy_helper.from_array(np.arange(5), "shape"),
        numpy_helper.from_array(np.arange(5, dtype=np.int32), "axes"),
    ]
    assert list_files("onnx", save_onnx(tmp_path / "model.onnx", tensors)) == ()


def test_list_weights_onnx_constants_of_nodes_and_inner_graphs(tmp_path):
    def constant(name):
        value = numpy_helper.from_array(np.ones(3, np.float32))
        return helper.make_node("Constant", [], [name], value=value)

    branches = {
        side: helper.make_graph([constant(side)], side, [], [])
        for side in ("then_branch", "else_branch")
    }
    nodes = [constant("outer"), helper.make_node("If", ["c"], ["y"], **branches)]
    found = list_files("onnx", save_onnx(tmp_path / "model.onnx", [], nodes))
    assert [w.name for w in found] == ["outer", "else_branch", "then_branch"]


def test_list_weights_onnx_external_data_is_read(tmp_path):
    tensor = numpy_helper.from_array(np.arange(1000, dtype=np.float32), "w")
    (path,) = save_onnx(tmp_path / "model.onnx", [tensor])
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.data")
    (found,) = list_weights("onnx", tmp_path, ["model.onnx", "model.data"])
    assert found.num_distinct_values == 1000


def test_list_weights_keras_leaves_out_the_optimizer(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    found = list_files("keras", [tmp_path / "model.keras"])
    assert [w.shape for w in found] == [(3, 2), (2,)]


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("tflite", "is not a TensorFlow Lite model"),
        ("onnx", "is not an ONNX model, or is truncated"),
        ("openvino", "is not an OpenVINO IR, or is truncated"),
        ("keras", r"is no \.keras file, or damaged"),
    ],
)
def test_list_weights_damaged_file_raises(format, message, tmp_path, tiny_model_files):
    name = tiny_model_files(format)[0].name
    (tmp_path / name).write_bytes(b"this is no model")
    with pytest.raises(ModelFileError, match=f"{name}' {message}"):
        list_weights(format, tmp_path, [name])


BEHIND = 1 << 16  # where the weights below begin


@pytest.fixture
def weights_behind(tmp_path, tiny_model_files):
    """Returns a .tflite file whose constants are meant to lie behind the flatbuffer."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    content = tiny_model_files("tflite")[0].read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for buffer in model.buffers:
        if buffer.data is not None:
            size = len(buffer.data)
            buffer.data, buffer.offset, buffer.size = None, BEHIND, size
    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "model.tflite"
    path.write_bytes(builder.Output())
    return path


def test_list_weights_tflite_weights_behind_the_flatbuffer_are_read(
    weights_behind, tiny_model_files
):
    expected = list_weights("tflite", *_folder_and_names(tiny_model_files("tflite")))
    with weights_behind.open("r+b") as file:
        file.seek(BEHIND)
        file.write(b"\1\0\0\0" * 4096)
    found = list_weights("tflite", weights_behind.parent, ["model.tflite"])
    assert [w.num_weights for w in found] == [w.num_weights for w in expected]
    assert {w.num_distinct_values for w in found} == {1}


def test_list_weights_tflite_weights_beyond_the_end_raise(weights_behind):
    with pytest.raises(ModelFileError, match="is truncated: .* lie beyond its end"):
        list_weights("tflite", weights_behind.parent, ["model.tflite"])


def _folder_and_names(files):
    return files[0].parent, [files[0].name]


def test_list_weights_unknown_format_raises(tmp_path):
    with pytest.raises(
        InvalidValueError, match="format 'pt'; choose one of 'tflite', '"
    ):
        list_weights("pt", tmp_path, ["model.pt"])


def test_list_weights_without_main_file_raises(tmp_path):
    with pytest.raises(ModelFileError, match=r"has one \.onnx file, got \['a'\]"):
        list_weights("onnx", tmp_path, ["a"])


def test_exported_weight_json_round_trip_is_equal():
    original = weight(3, 2)
    assert ExportedWeight.from_json(json.loads(json.dumps(original.to_json()))) == (
        original
    )


def test_summarize_weights_small_tensors_do_not_set_the_distinct_values():
    summary = summarize_weights([weight(2000, 16), weight(1000, 900)])
    assert summary == {
        "num_weights": 3000,
        "num_nonzero": 2998,
        "max_distinct_values": 16,
        "bits_per_weight": 32.0,
    }


def _row(name, dense_bytes, coded_bytes, *, num_values):
    return {
        "name": name,
        "dense_bytes": dense_bytes,
        "coded_bytes": coded_bytes,
        "num_values": num_values,
    }


def test_summarize_weights_coded_counts_the_codes_bytes():
    table = [_row("w", 8000, 1064, num_values=16), _row("b", 1, 1, num_values=1)]
    summary = summarize_weights([weight(2000, 16)], table)
    assert summary["bits_per_weight"] == 8 * 1064 / 2000


def test_summarize_weights_block_scales_count_the_entries_of_the_codebook():
    name = weight(2000, 900).name
    dense = _row(name, 8000, 8000, num_values=None)
    assert summarize_weights([weight(2000, 900)], [dense])["max_distinct_values"] == 900
    coded = _row(name, 8000, 1064, num_values=16)
    assert summarize_weights([weight(2000, 900)], [coded])["max_distinct_values"] == 16


def test_summarize_weights_of_none_is_null():
    summary = summarize_weights([])
    assert summary["max_distinct_values"] is None
    assert summary["bits_per_weight"] is None
