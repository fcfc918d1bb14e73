"""Tests of what is listed as integer, and of layers that rules leave in float."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError, ModelFileError, UnsupportedModelError
from tfcompress.formats import FORMATS
from tfcompress.quantizers import quantize_file, quantized_operators
from tfcompress.runtime import load_session


@pytest.fixture
def quantize(tmp_path, dense_file, calibration):
    """Function: quantizes the small classifier and lists its operators."""

    def make(format, precision, **options):
        is_static = precision.startswith("static")
        files = quantize_file(
            dense_file(format),
            tmp_path / "quantized",
            format,
            precision=precision,
            calibration=calibration if is_static else None,
            **options,
        )
        return quantized_operators(tmp_path / "quantized" / files[0])

    return make


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_quantized_operators_of_dense_file_are_float(dense_file, format):
    found = quantized_operators(dense_file(format))
    assert found.integer == found.conversions == {}
    assert sum(found.floating.values()) >= 5


@pytest.mark.parametrize(
    ("precision", "integer", "floating", "conversions"),
    [
        (
            "dynamic_range_wi8_efp32",
            {"FULLY_CONNECTED": 4},
            {"GATHER": 1, "MEAN": 1},
            {},
        ),
        (
            "dynamic_range_wi8_ei8",
            {"FULLY_CONNECTED": 4, "GATHER": 1},
            {"MEAN": 1},
            {"DEQUANTIZE": 1},
        ),
        (
            "static_range_wi8_ai8",
            {"FULLY_CONNECTED": 4, "GATHER": 1},
            {"MEAN": 1},
            {"DEQUANTIZE": 2, "QUANTIZE": 1},
        ),
        (
            "static_range_wi8_ai8_full",
            {"FULLY_CONNECTED": 4, "GATHER": 1, "MEAN": 1},
            {},
            {},
        ),
    ],
)
def test_quantized_operators_of_tflite_file(
    quantize, precision, integer, floating, conversions
):
    found = quantize("tflite", precision)
    assert found.to_json() == {
        "integer": integer,
        "floating": floating,
        "conversions": conversions,
    }


def test_quantized_operators_of_onnx_file_have_no_float_product(quantize):
    for precision in FORMATS["onnx"].quantizer.precisions:
        found = quantize("onnx", precision)
        assert sum(found.integer.values()) == 5, found  # four products and the table
        assert found.integer["Gather"] == 1
        assert not {"MatMul", "Gemm", "FusedGemm"} & set(found.floating)


def test_quantized_operators_of_onnx_file_are_listed_in_loops_too(tmp_path):
    import onnx

    from tests.quantizers import foreign_onnx

    onnx.save(foreign_onnx.loop(), tmp_path / "m.onnx")
    assert quantized_operators(tmp_path / "m.onnx").floating["MatMul"] == 2


def test_quantized_operators_of_openvino_file_have_no_float_product(quantize):
    for precision in ("static_range_wi8_ai8", "weight_only_wi8"):
        found = quantize("openvino", precision)
        assert found.integer["FullyConnected"] == 4, found
        assert "FullyConnected" not in found.floating


@pytest.mark.parametrize(
    ("format", "precision", "product"),
    [
        ("tflite", "dynamic_range_wi8_efp32", "FULLY_CONNECTED"),
        ("tflite", "static_range_wi8_ai8", "FULLY_CONNECTED"),
        ("onnx", "dynamic_range_wi8", "Gemm"),
        ("onnx", "weight_only_wi8", "Gemm"),
        ("onnx", "static_range_wi8_ai8", "Gemm"),
        ("openvino", "weight_only_wi8", "FullyConnected"),
        ("openvino", "static_range_wi8_ai8", "FullyConnected"),
    ],
)
def test_quantize_file_rule_leaves_layer_in_float(quantize, format, precision, product):
    found = quantize(format, precision, layers={".*by_channel.*": None})
    products = {
        name: count for name, count in found.floating.items() if name.endswith(product)
    }
    assert sum(products.values()) == 1, found


def test_quantize_file_mixes_bits_by_layer(quantize, tmp_path):
    rules = {".*by_channel.*": {"num_bits": 4}, ".*by_tensor.*": {"num_bits": 8}}
    sizes = []
    for options in ({}, {"layers": rules}):
        quantize("tflite", "dynamic_range_wi8_efp32", **options)
        sizes.append((tmp_path / "quantized" / "model.tflite").stat().st_size)
    # 32 x 48 weights take half a byte less.
    assert sizes[0] - sizes[1] == pytest.approx(32 * 48 / 2, abs=64)


def test_quantize_file_rule_makes_layer_dynamic(quantize):
    rules = {".*by_tensor.*": {"scheme": "dynamic_range"}}
    found = quantize("tflite", "static_range_wi8_ai8", layers=rules)
    assert found.integer["FULLY_CONNECTED"] == 4
    # Its inputs become float before it, and its outputs integers after it.
    assert found.conversions == {"DEQUANTIZE": 3, "QUANTIZE": 2}


@pytest.mark.parametrize(
    ("precision", "settings", "message"),
    [
        ("dynamic_range_wi8_efp32", {"num_bits": 5}, "num_bits .* 4 or 8 here, got 5"),
        ("static_range_wi8_ai8", {"num_bits": 4}, "num_bits .* must be 8 here, got 4"),
        (
            "dynamic_range_wi8_efp32",
            {"scheme": "static_range"},
            "scheme .* must be dynamic_range here, got 'static_range'",
        ),
        (
            "static_range_wi8_ai8",
            {"scheme": "none"},
            "scheme .* must be dynamic_range or static_range here, got 'none'",
        ),
    ],
)
def test_quantize_file_setting_that_there_are_no_kernels_for_raises(
    quantize, precision, settings, message
):
    with pytest.raises(InvalidValueError, match=message):
        quantize("tflite", precision, layers={".*logits.*": settings})


def test_quantize_file_full_int8_puts_out_integers(
    quantize, tmp_path, dense_file, inputs
):
    quantize("tflite", "static_range_wi8_ai8_full")
    source = dense_file("tflite")
    with load_session("tflite", source.parent, [source.name]) as session:
        (dense,) = session.run(inputs).values()
    with load_session("tflite", tmp_path / "quantized", ["model.tflite"]) as session:
        (found,) = session.run(inputs).values()
    assert len(np.unique(found)) <= 256  # integers, read as the numbers they stand for
    details = _output_details(tmp_path / "quantized" / "model.tflite")
    assert details["dtype"] == np.int8
    steps = found / details["quantization"][0]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    assert np.corrcoef(found.ravel(), dense.ravel())[0, 1] > 0.999


def _output_details(path):
    from ai_edge_litert.interpreter import Interpreter

    (details,) = Interpreter(str(path)).get_output_details()
    return details


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (
            "attention",
            r"multiplies activations \(BATCH_MATMUL\), as attention does; wi",
        ),
        ("sine", "holds operators without int8 kernels in TFLite: SIN. Use precision="),
    ],
)
def test_quantize_file_full_int8_without_kernels_raises(
    tmp_path, calibration, operator, message
):
    import tensorflow as tf

    table = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)

    class Vectors(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 12), tf.int32, "tokens")])
        def __call__(self, tokens):
            x = tf.gather(tf.constant(table), tokens)
            sine = operator == "sine"
            return {"y": tf.sin(x) if sine else tf.matmul(x, x, transpose_b=True)}

    model = Vectors()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [model.__call__.get_concrete_function()], model
    )
    path = tmp_path / "vectors.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(UnsupportedModelError, match=message):
        quantize_file(
            path,
            tmp_path / "new",
            "tflite",
            precision="static_range_wi8_ai8_full",
            calibration=calibration,
        )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["model.onnx", "model.keras"])
def test_quantized_operators_of_missing_file_raises(tmp_path, name):
    with pytest.raises(ModelFileError, match="There is no .tflite, .onnx, .xml file '"):
        quantized_operators(tmp_path / name)
