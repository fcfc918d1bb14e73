"""Tests of what the shared settings can be."""

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.runner.settings import (
    BertSettings,
    CalibrationSettings,
    DatasetSettings,
    FinetuningSettings,
)
from tfcompress.settings import deciding_values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"formats": ("tensorrt",)}, "--formats must be of tflite.*got 'tensorrt'"),
        ({"formats": ()}, "--formats is empty"),
        ({"codings": ("zip",)}, "--codings must be of dense, coded, got 'zip'"),
        ({"num_threads": 0}, "--num_threads must be at least 1, got 0"),
        ({"rounds": -1}, "--rounds must be at least 0"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"limit": 1}, "--limit must be at least 2"),
        ({"resume": True, "fresh": True}, "--resume and --fresh exclude each other"),
    ],
)
def test_settings_that_cannot_be_raise(values, message):
    with pytest.raises(InvalidValueError, match=message):
        DatasetSettings(**values)


def test_calibration_without_examples_raises():
    with pytest.raises(InvalidValueError, match="examples must be at least 1, got 0"):
        CalibrationSettings(calibration_examples=0)


def test_formats_named_twice_are_shipped_once():
    assert DatasetSettings(formats=("onnx", "tflite", "onnx")).formats == (
        *("onnx", "tflite"),
    )


def test_settings_that_decide_leave_out_where_the_run_lies():
    settings = DatasetSettings(formats=("onnx",), run_dir="there", data_dir="here")
    values = deciding_values(settings)
    assert values["formats"] == ["onnx"]
    assert values["seed"] == 0
    assert not {"run_dir", "resume", "fresh", "data_dir"} & set(values)


def test_settings_of_where_files_run_leave_the_run_what_it_is():
    """A finished run is found, and what is missing of it is added."""
    settings = DatasetSettings(runtimes=("openvino", "jax"), devices=("cpu", "gpu"))
    assert deciding_values(settings) == deciding_values(DatasetSettings())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"runtimes": ("cuda",)}, "^--runtimes must be of litert, .*jax, got 'cuda'.$"),
        ({"devices": ("npu",)}, "^--devices must be of cpu, gpu, got 'npu'.$"),
        ({"devices": ()}, "^--devices is empty. Name at least one of cpu, gpu.$"),
    ],
)
def test_settings_of_where_files_run_that_are_not_known_raise(fields, message):
    with pytest.raises(InvalidValueError, match=message):
        DatasetSettings(**fields)


def test_training_of_a_random_encoder_takes_longer():
    assert BertSettings().training() == {"epochs": 3, "learning_rate": 5e-4}
    settings = FinetuningSettings(preset="bert_tiny_en_uncased", epochs=2)
    assert settings.training() == {"epochs": 2, "learning_rate": 5e-5}
    assert settings.finetuning() == {"epochs": 1, "learning_rate": 0.6 * 5e-5}
    assert settings.derived(()) == {
        "epochs": 2,
        "learning_rate": 5e-5,
        "finetune_learning_rate": 0.6 * 5e-5,
        "rows": [],
    }
