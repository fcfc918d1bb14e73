"""The check of keras.applications, as a user starts it: models named and misnamed."""

import pathlib

import keras
import numpy as np
import pytest

from experiments.check_applications import (
    Check,
    Settings,
    check_model,
    chosen_models,
    relative_difference,
    relative_spread,
    write_table,
)
from tfcompress.errors import InvalidValueError

NAME = "check_applications"


def test_check_writes_a_row_for_each_named_model(run, tmp_path):
    status, out, err = run(NAME, "--models=MobileNet", f"--run_dir={tmp_path / 'run'}")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("1 of 1: MobileNet ")
    assert "oneDNN" not in out
    text = (tmp_path / "run" / "table.md").read_text()
    assert f"    make experiment NAME={NAME} ARGS=" in text
    assert "1 of 1 models cross." in text
    (row,) = [line for line in text.splitlines() if line.startswith("| MobileNet |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "4,253,864"
    assert float(cells[3]) <= 1e-5
    assert cells[4:] == ["0.0e+00", "yes"]


def test_check_help_names_the_flags_and_loads_no_framework(run, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    status, out, err = run(NAME, "--help")
    assert status == 0
    assert "--models" in out
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "tfcompress.errors" in imported
    assert not imported & {"tensorflow", "keras", "tf_keras"}


def test_chosen_models_misspelled_names_the_closest():
    with pytest.raises(
        InvalidValueError,
        match="has no model 'MobilNetV2'. Did you mean 'MobileNetV2'\\? It has",
    ):
        chosen_models(["MobilNetV2"])


def test_chosen_models_by_default_are_all_of_keras_applications():
    names = chosen_models([])
    assert len(names) >= 40
    assert names == sorted(names)
    assert all(isinstance(name, str) for name in names)


def _with_layer(layer):
    def build(weights, input_shape, classifier_activation):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Flatten()(layer(inputs)))

    return build


def test_check_model_refused_by_the_bridge_is_a_row_with_its_line(monkeypatch):
    build = _with_layer(keras.layers.Lambda(lambda inputs: inputs, name="mine"))
    monkeypatch.setattr(keras.applications, "Refused", build, raising=False)
    check = check_model("Refused")
    assert check.is_refusal
    assert check.is_well
    assert "'mine'" in check.failure
    assert "Lambda" in check.failure


def test_check_model_that_cannot_be_built_is_a_row_that_failed(monkeypatch):
    monkeypatch.setattr(keras.applications, "Broken", _with_layer(None), raising=False)
    check = check_model("Broken")
    assert check.failure == "TypeError: 'NoneType' object is not callable"
    assert not check.is_refusal
    assert not check.is_well


def test_relative_difference_is_relative_to_the_largest_of_the_first():
    assert relative_difference([1.0, -4.0], [1.5, -4.0]) == 0.125


def test_relative_difference_of_what_is_no_number_raises():
    with pytest.raises(ArithmeticError, match="no finite numbers"):
        relative_difference([1.0], [np.nan])


def test_relative_spread_is_that_of_the_widest_logit():
    assert relative_spread(np.array([[1.0, 4.0], [1.5, 4.0]])) == 0.125


def test_relative_spread_of_constant_logits_raises():
    with pytest.raises(ArithmeticError, match="hardly depend on the image"):
        relative_spread(np.ones((4, 3)))


def test_table_says_what_differs_too_far_and_what_failed(tmp_path):
    path = pathlib.Path(tmp_path, "table.md")
    far = Check(
        name="Far", num_weights=1234, seconds=1.0, difference=2e-5, returned=0.0
    )
    write_table(
        path, Settings(), [far, Check(name="Failed", failure="ValueError: a | b")]
    )
    assert not far.is_well
    lines = path.read_text().splitlines()
    assert "| Far | 1,234 | 1.0 | 2.0e-05 | 0.0e+00 | too far |" in lines
    assert "| Failed | - | - | - | - | failed: ValueError: a \\| b |" in lines
    assert any(line.startswith("0 of 2 models cross.") for line in lines)
