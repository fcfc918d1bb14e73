"""Tests of coding quantized .tflite files: int8 tables, and files of other tools."""

import numpy as np
import pytest

from tfcompress.coding.tflite.coder import code_tflite
from tfcompress.formats.tflite_file import read_model
from tfcompress.formats.tflite_graphs import type_name

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


def _classifier(table, units=4):
    """Returns a function of ids: lookup, mean, dense, sigmoid."""
    import tensorflow as tf

    kernel = np.random.default_rng(0).normal(size=(table.shape[1], units))
    kernel = kernel.astype(np.float32)

    def classify(ids):
        rows = tf.gather(tf.constant(table), ids)
        return tf.sigmoid(tf.reduce_mean(rows, axis=1) @ tf.constant(kernel))

    return classify


def _convert(path, function, num_rows, *, length=None, is_full=True):
    """Converts to int8: all of it, or the weights alone."""
    import tensorflow as tf

    spec = tf.TensorSpec((None, length), tf.int32)
    concrete = tf.function(function, input_signature=[spec]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if is_full:
        rng = np.random.default_rng(0)
        shape = (1, length or 8)
        examples = [rng.integers(0, num_rows, shape, np.int32) for _ in range(20)]
        converter.representative_dataset = lambda: ([each] for each in examples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    return path


def _grid(*shape, num_values=16, sparsity=0.0):
    """Floats that are integers of 8 bits times a scale, of few values."""
    rng = np.random.default_rng(0)
    values = np.append(rng.permutation(np.arange(1, 127))[: num_values - 1], 127)
    values = values * np.where(rng.random(num_values) < 0.5, -1, 1)
    array = values[rng.integers(0, num_values, shape)]
    array[rng.random(shape) < sparsity] = 0
    return array.astype(np.float32) / 127


def _run(path, ids):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    (source,), (result,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    interpreter.resize_tensor_input(source["index"], ids.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], ids)
    interpreter.invoke()
    return interpreter.get_tensor(result["index"])


def _tables(path, shape):
    """Returns the element types of the constants of a shape."""
    (subgraph,) = read_model(path).subgraphs
    return {
        type_name(tensor)
        for tensor in subgraph.tensors
        if tensor.buffer and tuple(tensor.shape.tolist()) == shape
    }


@pytest.mark.parametrize(
    ("is_full", "num_values", "sparsity", "kind", "num_bits"),
    [
        (True, 16, 0.0, "codebook", 4),
        (False, 16, 0.0, "codebook", 4),
        (True, 31, 0.2, "codebook", 5),
        # Where all is quantized the zero has a value of its own, the zero point.
        (True, 16, 0.8, "codebook", 5),
        (False, 16, 0.8, "bitmap_codebook", 4),
        (False, 30, 0.8, "bitmap_codebook", 5),
    ],
)
def test_code_tflite_int8_table_is_decoded_row_by_row(
    is_full, num_values, sparsity, kind, num_bits, tmp_path, monkeypatch
):
    monkeypatch.setattr("tfcompress.coding.tflite.coder._BITMAP_HAS_TO_SAVE", 0)
    table = _grid(3000, 64, num_values=num_values, sparsity=sparsity)
    path = _convert(
        tmp_path / "dense.tflite", _classifier(table), len(table), is_full=is_full
    )
    assert _tables(path, table.shape) == {"INT8"}
    result = code_tflite(path, tmp_path / "coded.tflite")
    (row,) = [row for row in result.tensors if row.dense_bytes == table.size]
    assert (row.dtype, row.code, row.num_bits) == ("int8", kind, num_bits)
    assert not row.is_slower
    assert result.target_bytes < result.source_bytes
    assert _tables(tmp_path / "coded.tflite", table.shape) == set()
    rng = np.random.default_rng(1)
    for shape in ((1, 7), (5, 30), (1, 7)):
        ids = rng.integers(0, len(table), shape, np.int32)
        np.testing.assert_array_equal(
            _run(tmp_path / "coded.tflite", ids), _run(path, ids)
        )


def test_code_tflite_int8_rows_keep_their_quantization(tmp_path):
    table = _grid(3000, 24)
    path = _convert(tmp_path / "dense.tflite", _classifier(table), len(table))
    code_tflite(path, tmp_path / "coded.tflite")
    for name in ("dense", "coded"):
        (subgraph,) = read_model(tmp_path / f"{name}.tflite").subgraphs
        rows = [t for t in subgraph.tensors if t.buffer == 0 and type_name(t) == "INT8"]
        assert all(tensor.quantization.scale.size == 1 for tensor in rows)


def test_code_tflite_int8_imdb_classifier_takes_less_than_90_kb(tmp_path):
    table = _grid(10_001, 16)
    path = _convert(
        tmp_path / "dense.tflite", _classifier(table, 1), len(table), length=250
    )
    target = tmp_path / "coded.tflite"
    result = code_tflite(path, target)
    assert path.stat().st_size > 160_000
    assert result.target_bytes == target.stat().st_size < 90_000
    ids = np.random.default_rng(1).integers(0, len(table), (3, 250), np.int32)
    np.testing.assert_array_equal(_run(target, ids), _run(path, ids))


def test_code_tflite_leaving_slow_layers_gives_no_table_a_bitmap(tmp_path):
    table = _grid(6000, 64, num_values=15, sparsity=0.9)
    path = _convert(
        tmp_path / "dense.tflite", _classifier(table), len(table), is_full=False
    )
    kinds = []
    for slow_layers in ("code", "leave_slowest", "leave"):
        result = code_tflite(path, tmp_path / "coded.tflite", slow_layers=slow_layers)
        kinds += [t.code for t in result.tensors if t.dense_bytes == table.size]
    assert kinds == ["bitmap_codebook", "bitmap_codebook", "codebook"]


def test_code_tflite_int8_table_stays_where_little_is_saved(tmp_path):
    table = _grid(3000, 64, num_values=100)
    path = _convert(tmp_path / "dense.tflite", _classifier(table), len(table))
    result = code_tflite(path, tmp_path / "coded.tflite")
    (row,) = [row for row in result.tensors if row.dense_bytes == table.size]
    assert row.code == "dense"
    assert row.reason == (
        "its lookups would be slower, for less than a quarter of its bytes"
    )


def test_code_tflite_ordinary_int8_table_stays(tmp_path):
    table = np.random.default_rng(0).uniform(-1, 1, (3000, 24)).astype(np.float32)
    path = _convert(tmp_path / "dense.tflite", _classifier(table), len(table))
    target = tmp_path / "coded.tflite"
    assert not code_tflite(path, target).is_coded
    assert target.read_bytes() == path.read_bytes()


def test_code_tflite_int8_table_that_a_lookup_makes_floats_of_stays(tmp_path):
    from tfcompress.formats.tflite_file import model_bytes, schema

    table = _grid(3000, 24)
    path = _convert(tmp_path / "dense.tflite", _classifier(table), len(table))
    model = read_model(path)
    (subgraph,) = model.subgraphs
    lookup = next(
        operator
        for operator in subgraph.operators
        if type_name(subgraph.tensors[int(operator.inputs[0])]) == "INT8"
    )
    subgraph.tensors[int(lookup.outputs[0])].type = schema().TensorType.FLOAT32
    path.write_bytes(model_bytes(model))
    result = code_tflite(path, tmp_path / "coded.tflite")
    (row,) = [row for row in result.tensors if row.dense_bytes == table.size]
    assert row.reason == "GATHER makes floats of its rows"


@pytest.mark.parametrize("recipe", ["dynamic_wi8_afp32", "dynamic_wi4c_afp32"])
def test_code_tflite_of_ai_edge_quantizer_codes_the_table_and_no_layer(
    recipe, files, tmp_path
):
    import tensorflow as tf
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    table, kernel = _grid(2000, 64), _grid(64, 96)

    def score(ids):
        return tf.nn.relu(tf.gather(tf.constant(table), ids) @ tf.constant(kernel))

    tool = quantizer.Quantizer(str(files.convert(score, files.ids(None, 6))))
    tool.load_quantization_recipe(getattr(recipes, recipe)())
    path = tmp_path / "quantized.tflite"
    tool.quantize().export_model(str(path))
    coded, result = files.code(path)
    rows = {row.dtype: row for row in result.tensors if row.dense_bytes > 2048}
    layer = rows["int8" if "wi8" in recipe else "int4"]
    assert rows["float32"].code == "codebook"
    assert layer.code == "dense"
    assert "FULLY_CONNECTED" in files.kinds(coded)[0]
    assert result.target_bytes < result.source_bytes / 4
    files.check_same_outputs(path, coded, batches=(1, 3), atol=0)
