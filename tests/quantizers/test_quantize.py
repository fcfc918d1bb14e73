"""Tests that the field's quantizers make smaller files that their runtimes open."""

import keras
import numpy as np
import pytest

from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.export import export_model
from tfcompress.quantizers import QUANTIZERS, quantize_file
from tfcompress.runtime import load_session

ROWS, WIDTH = 4, 128


@pytest.fixture(scope="module")
def model():
    initializer = keras.initializers.RandomNormal(stddev=0.1, seed=0)
    return keras.Sequential(
        [
            keras.Input((WIDTH,), name="x"),
            keras.layers.Dense(256, "relu", kernel_initializer=initializer),
            keras.layers.Dense(64, kernel_initializer=initializer),
        ]
    )


@pytest.mark.parametrize(
    ("format", "precision", "most"),
    [
        ("tflite", "dynamic_range_wi4", 0.17),
        ("tflite", "dynamic_range_wi4b32", 0.19),
        ("onnx", "dynamic_range_wi8", 0.29),
        ("openvino", "weight_only_wi8", 0.3),
        ("openvino", "weight_only_wi4", 0.18),
        ("openvino", "weight_only_nf4", 0.18),
        ("openvino", "weight_only_cb4", 0.18),
    ],
)
def test_quantize_file_is_smaller_and_runs(tmp_path, model, format, precision, most):
    dense = export_model(model, format, tmp_path / "dense")
    files = quantize_file(
        tmp_path / "dense" / dense.files[0],
        tmp_path / "quantized",
        format,
        precision=precision,
    )
    assert set(files) == set(dense.files)
    sizes = [
        sum((tmp_path / folder / name).stat().st_size for name in files)
        for folder in ("quantized", "dense")
    ]
    # An IR's .xml, which does not shrink, is most of so small a model.
    without_xml = [
        size - sum((tmp_path / folder / n).stat().st_size for n in files if "xml" in n)
        for size, folder in zip(sizes, ("quantized", "dense"), strict=True)
    ]
    assert without_xml[0] < most * without_xml[1]
    inputs = {"x": np.random.default_rng(0).normal(size=(ROWS, WIDTH))}
    inputs["x"] = inputs["x"].astype(np.float32)
    session = load_session(format, tmp_path / "quantized", files, precision=precision)
    (found,) = session.run(inputs).values()
    expected = model.predict(inputs["x"], verbose=0)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_quantizers_name_every_precision_once():
    assert {name: quantizer.tool for name, quantizer in QUANTIZERS.items()} == {
        "tflite": "ai-edge-quantizer",
        "onnx": "onnxruntime.quantization",
        "openvino": "nncf",
    }


def test_quantize_file_unknown_precision_lists_choices(tmp_path):
    message = (
        "onnxruntime.quantization quantizes 'onnx' files to dynamic_range_wi8, got"
    )
    with pytest.raises(InvalidValueError, match=message):
        quantize_file(tmp_path / "a.onnx", tmp_path / "b", "onnx", precision="int3")


def test_quantize_file_unknown_format_lists_choices(tmp_path):
    with pytest.raises(InvalidValueError, match="must be one of tflite, onnx, openv"):
        quantize_file(tmp_path / "a.pt", tmp_path / "b", "torch", precision="int8")


def test_quantize_file_missing_source_raises_and_leaves_nothing(tmp_path):
    with pytest.raises(ModelFileError, match=r"There is no \.xml file '.*a\.xml'"):
        quantize_file(
            tmp_path / "a.xml",
            tmp_path / "b",
            "openvino",
            precision="weight_only_wi4",
        )
    assert list(tmp_path.iterdir()) == []
