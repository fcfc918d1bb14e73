"""Tests of a user's .keras file: loaded as data, refused where it holds code."""

import json
import zipfile

import keras
import numpy as np
import pytest

from tfcompress.errors import ModelFileError, UnsupportedModelError
from tfcompress.models.keras_file import load_keras_file


@keras.saving.register_keras_serializable(package="test_keras_file")
class Doubler(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def saved(path, *layers):
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.save(path)
    return model


def rewritten(path, old, new):
    """Changes the text of a .keras file's config."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["config.json"] = files["config.json"].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_load_keras_file_gives_the_model(tmp_path):
    path = tmp_path / "model.keras"
    layers = [keras.layers.Dense(4, activation="gelu"), keras.layers.Dropout(0.5)]
    model = saved(path, *layers)
    inputs = np.float32([[1, 2, 3]])
    assert np.array_equal(load_keras_file(path)(inputs), model(inputs))


def test_load_keras_file_lambda_is_refused_by_name(tmp_path):
    path = tmp_path / "model.keras"
    saved(path, keras.layers.Lambda(lambda x: x + 1, name="plus_one"))
    message = r"holds a lambda \(layer 'plus_one'\): code, which is not run"
    with pytest.raises(UnsupportedModelError, match=message):
        load_keras_file(path)


def test_load_keras_file_class_of_others_is_refused_by_name(tmp_path):
    path = tmp_path / "model.keras"
    saved(path, Doubler(name="twice"))
    message = r"holds test_keras_file>Doubler \(layer 'twice'\), which is neither"
    with pytest.raises(UnsupportedModelError, match=message):
        load_keras_file(path)


def test_load_keras_file_imports_no_module_that_it_names(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('executed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "model.keras"
    saved(path, keras.layers.Dense(4))
    rewritten(path, b'"module": "keras.layers"', b'"module": "evil_module"')
    with pytest.raises(UnsupportedModelError, match=r"holds evil_module\."):
        load_keras_file(path)


def test_load_keras_file_missing_raises(tmp_path):
    with pytest.raises(ModelFileError, match="There is no file '.*none.keras'"):
        load_keras_file(tmp_path / "none.keras")


@pytest.mark.parametrize("content", [b"", b"texts", "zip"])
def test_load_keras_file_of_another_kind_raises(tmp_path, content):
    path = tmp_path / "model.keras"
    if content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other.json", json.dumps({}))
    else:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"is no \.keras file, or a damaged one"):
        load_keras_file(path)


def test_load_keras_file_without_weights_raises(tmp_path):
    path = tmp_path / "model.keras"
    saved(path, keras.layers.Dense(4))
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", "{}")
    with pytest.raises(ModelFileError, match="Keras cannot load '.*model.keras': "):
        load_keras_file(path)
