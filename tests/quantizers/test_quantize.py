"""Tests that the field's quantizers make smaller files that their runtimes open."""

import os

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.errors import InvalidValueError, ModelFileError, VerificationError
from tfcompress.export import export_model
from tfcompress.formats import FORMATS, Precision, shipped_formats
from tfcompress.quantizers import (
    CalibrationData,
    quantize_file,
)
from tfcompress.runtime import load_session

ROWS, WIDTH = 4, 128
EXAMPLES = np.random.default_rng(1).normal(size=(20, WIDTH)).astype(np.float32)
CALIBRATION = CalibrationData(inputs={"x": EXAMPLES})


@pytest.fixture(scope="module")
def model():
    initializer = keras.initializers.RandomNormal(stddev=0.1, seed=0)
    return keras.Sequential(
        [
            keras.Input((WIDTH,), name="x"),
            keras.layers.Dense(
                256, "relu", kernel_initializer=initializer, name="wide"
            ),
            keras.layers.Dense(64, kernel_initializer=initializer, name="narrow"),
        ]
    )


@pytest.mark.parametrize(
    ("format", "precision", "most"),
    [
        ("tflite", "dynamic_range_wi8_ei8", 0.31),
        ("tflite", "dynamic_range_wi8_efp32", 0.31),
        ("tflite", "dynamic_range_wi4_ei8", 0.17),
        ("tflite", "static_range_wi8_ai8", 0.31),
        ("tflite", "dynamic_range_wi4", 0.17),
        ("tflite", "dynamic_range_wi4b32", 0.19),
        ("onnx", "dynamic_range_wi8", 0.31),
        ("onnx", "weight_only_wi8", 0.31),
        ("onnx", "static_range_wi8_ai8", 0.31),
        ("openvino", "weight_only_wi8", 0.3),
        ("openvino", "static_range_wi8_ai8", 0.3),
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
        calibration=CALIBRATION if Precision(precision).needs_calibration else None,
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
    assert {name: FORMATS[name].quantizer.tool for name in shipped_formats()} == {
        "tflite": "ai-edge-quantizer",
        "onnx": "tfcompress.quantizers",
        "openvino": "nncf",
    }


def test_quantize_file_unknown_precision_lists_choices(tmp_path):
    message = (
        "tfcompress.quantizers quantizes 'onnx' files to dynamic_range_wi8, "
        "weight_only_wi8, static_range_wi8_ai8, got precision='int3'"
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


def test_quantize_file_leaves_other_files_of_the_folder(tmp_path, model):
    export_model(model, "tflite", tmp_path / "dense")
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "notes.txt").write_text("mine")
    precision = "dynamic_range_wi8_ei8"
    source = tmp_path / "dense" / "model.tflite"
    quantize_file(source, tmp_path / "small", "tflite", precision=precision)
    assert (tmp_path / "small" / "notes.txt").read_text() == "mine"
    assert not os.access(tmp_path / "small" / "model.tflite", os.X_OK)


def test_quantize_file_does_not_replace_its_source(tmp_path, model, monkeypatch):
    export_model(model, "onnx", tmp_path)
    source = tmp_path / "model.onnx"
    before = source.read_bytes()
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, "."):
        with pytest.raises(ModelFileError, match="would replace its source"):
            quantize_file(source, folder, "onnx", precision="dynamic_range_wi8")
    assert source.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


STATIC = [
    (format, precision)
    for format in shipped_formats()
    for precision in FORMATS[format].quantizer.precisions
    if Precision(precision).needs_calibration
]


@pytest.mark.parametrize(("format", "precision"), STATIC)
def test_quantize_file_static_without_calibration_raises(
    tmp_path, dense_file, format, precision
):
    with pytest.raises(InvalidValueError, match=f"'{precision}' needs calibration dat"):
        quantize_file(dense_file(format), tmp_path / "new", format, precision=precision)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("format", "precision"), STATIC)
def test_quantize_file_calibration_of_another_model_raises(
    tmp_path, dense_file, format, precision
):
    with pytest.raises(InvalidValueError, match="The model has no input 'x'; its inpu"):
        quantize_file(
            dense_file(format),
            tmp_path / "new",
            format,
            precision=precision,
            calibration=CALIBRATION,
        )


@pytest.mark.parametrize(
    ("format", "layer", "message"),
    [
        ("tflite", 0, "The activation '.*' is NaN or infinite on the calibration dat"),
        ("onnx", 0, "The activation '.*' is NaN or infinite on the calibration data"),
        # A ReLU makes zeros of NaN in OpenVINO.
        ("openvino", 1, "The output '.*' is NaN or infinite on the calibration data"),
    ],
)
def test_quantize_file_activations_that_are_nan_raise(
    tmp_path, model, format, layer, message
):
    broken = keras.models.clone_model(model)
    kernel, bias = broken.layers[layer].get_weights()
    bias[0] = np.nan
    broken.layers[layer].set_weights([kernel, bias])
    files = export_model(broken, format, tmp_path / "dense").files
    with pytest.raises(InvalidValueError, match=message):
        quantize_file(
            tmp_path / "dense" / files[0],
            tmp_path / "new",
            format,
            precision="static_range_wi8_ai8",
            calibration=CALIBRATION,
        )
    assert not (tmp_path / "new").exists()


EVERY = [(f, p) for f in shipped_formats() for p in FORMATS[f].quantizer.precisions]


@pytest.mark.parametrize(("format", "precision"), EVERY)
def test_quantize_file_same_arguments_give_same_bytes(
    tmp_path, dense_file, calibration, format, precision
):
    contents = []
    for name in ("1", "2"):
        files = quantize_file(
            dense_file(format),
            tmp_path / name,
            format,
            precision=precision,
            calibration=calibration if Precision(precision).needs_calibration else None,
        )
        contents.append([(tmp_path / name / file).read_bytes() for file in files])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("format", shipped_formats())
def test_quantize_file_rule_that_matches_nothing_raises(tmp_path, dense_file, format):
    with pytest.raises(InvalidValueError, match="'.*stem' matches no layer by name"):
        quantize_file(
            dense_file(format),
            tmp_path / "new",
            format,
            precision=FORMATS[format].quantizer.precisions[0],
            layers={".*stem": None},
        )


@pytest.mark.parametrize(
    ("format", "choices"),
    [
        ("tflite", "'num_bits', 'scheme'"),
        ("onnx", "nothing: use None"),
        ("openvino", "nothing"),
    ],
)
def test_quantize_file_setting_that_is_unknown_raises(
    tmp_path, dense_file, format, choices
):
    message = f"rule for layer '.*logits.*' sets 'bits'; in '{format}' .* set {choices}"
    with pytest.raises(InvalidValueError, match=message):
        quantize_file(
            dense_file(format),
            tmp_path / "new",
            format,
            precision=FORMATS[format].quantizer.precisions[0],
            layers={".*logits.*": {"bits": 4}},
        )


def test_quantize_file_says_what_became_integers(tmp_path, model, capsys):
    export_model(model, "onnx", tmp_path / "dense", verify=False)
    result = quantize_file(
        tmp_path / "dense" / "model.onnx",
        tmp_path / "small",
        "onnx",
        precision="dynamic_range_wi8",
    )
    assert capsys.readouterr().out == (
        f"{tmp_path / 'small' / 'model.onnx'}: dynamic_range_wi8, 100% of the weights' "
        "bytes and 100% of the products are integers.\n"
    )
    assert result.integers.weights == result.integers.products == 1.0
    assert list(result) == ["model.onnx"] == [result[0]] and len(result) == 1
    assert result.verification.status == "passed"
    assert result.verification.error < 0.05


def test_quantize_file_that_leaves_most_in_float_warns(tmp_path, model, caplog):
    export_model(model, "onnx", tmp_path / "dense", verify=False)
    result = quantize_file(
        tmp_path / "dense" / "model.onnx",
        tmp_path / "small",
        "onnx",
        precision="dynamic_range_wi8",
        layers={".*wide.*": None},
        verify=False,
    )
    # 128 x 256 weights stay, 256 x 64 become integers.
    assert result.integers.weights == pytest.approx(1 / 3)
    assert result.integers.products is None
    (warning,) = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("tfcompress")  # not what others log
    ]
    assert "model.onnx is dynamic_range_wi8 in name: " in warning
    assert "stays in float" in warning
    assert result.verification.status == "skipped"


def test_quantize_file_wrong_file_is_not_kept(tmp_path, model):
    # Calibrated on numbers a thousand times smaller than those it is checked on: the
    # activations of those are cut off.
    export_model(model, "onnx", tmp_path / "dense", verify=False)
    small = np.concatenate([EXAMPLES[:8], EXAMPLES / 1000])
    with pytest.raises(VerificationError, match="is not right and was not kept: its o"):
        quantize_file(
            tmp_path / "dense" / "model.onnx",
            tmp_path / "small",
            "onnx",
            precision="static_range_wi8_ai8",
            calibration=CalibrationData(
                inputs={"x": small}, range_estimator="percentile", percentile=51
            ),
        )
    assert not (tmp_path / "small").exists()


REDUCTIONS = {
    "mean": layers.GlobalAveragePooling1D(),
    "max": layers.GlobalMaxPooling1D(),
    "kept": layers.GlobalAveragePooling1D(keepdims=True),
    "sum": layers.Lambda(lambda x: keras.ops.sum(x, axis=1)),
    "min": layers.Lambda(lambda x: keras.ops.min(x, axis=1)),
    "scaled": layers.Lambda(lambda x: x * keras.ops.mean(x, axis=1, keepdims=True)),
    "max_feature": layers.Lambda(lambda x: keras.ops.max(x, axis=-1)),
}


@pytest.mark.parametrize(("kind", "activation"), [("Dense", None), ("Conv1D", "relu")])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_quantize_file_static_openvino_is_right_behind_reductions(
    tmp_path, reduction, kind, activation
):
    keras.utils.set_random_seed(1)
    examples = np.random.default_rng(0).normal(size=(64, 16, 8)).astype("float32")
    options = {"Dense": {}, "Conv1D": {"kernel_size": 3, "padding": "same"}}[kind]
    layer = getattr(layers, kind)(12, activation=activation, **options)
    stack = [
        layer,
        REDUCTIONS[reduction],
        layers.Flatten(),
        layers.Dense(48, "relu"),
        layers.Dense(48, "relu"),
        layers.Dense(4),
    ]
    model = keras.Sequential([keras.Input((16, 8), name="x"), *stack])
    # Not all outputs 0, as the least of many ReLUs would be.
    layer.bias.assign(np.full(12, 2 if reduction == "min" else 0.1, "float32"))
    files = export_model(model, "openvino", tmp_path / "dense", verify=False).files
    files = quantize_file(
        tmp_path / "dense" / files[0],
        tmp_path / "small",
        "openvino",
        precision="static_range_wi8_ai8",
        calibration=CalibrationData(inputs={"x": examples}),
        verify=False,
    ).files
    session = load_session("openvino", tmp_path / "small", list(files))
    (found,) = session.run({"x": examples}).values()
    wanted = model.predict(examples, verbose=0)
    assert np.abs(found - wanted).max() <= 0.2 * np.abs(wanted).max()
