"""Tests of a user's .keras file: loaded as data, refused where it holds code."""

import io
import json
import zipfile

import h5py
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


@pytest.mark.parametrize("units", [b"2000000000", b"100000000"])
def test_load_keras_file_weights_that_it_cannot_hold_are_refused_unmade(
    tmp_path, units
):
    path = tmp_path / "model.keras"
    saved(path, keras.layers.Dense(4), keras.layers.Dense(2))
    rewritten(path, b'"units": 4', b'"units": ' + units)
    with pytest.raises(ModelFileError, match=r"declares weights of [0-9,]* bytes or"):
        load_keras_file(path)


def test_load_keras_file_leaves_keras_as_it_was(tmp_path):
    path = tmp_path / "model.keras"
    saved(path, keras.layers.Dense(4))
    before = keras.layers.Layer.add_weight
    load_keras_file(path)
    assert keras.layers.Layer.add_weight is before


def test_load_keras_file_nested_deep_is_refused_unparsed(tmp_path):
    path = tmp_path / "model.keras"
    saved(path, keras.layers.Dense(4))
    rewritten(path, b'"trainable": true', b'"x": ' + b"[" * 990 + b"]" * 990)
    with pytest.raises(ModelFileError, match="is nested 99[0-9] levels deep or deeper"):
        load_keras_file(path)


@pytest.mark.parametrize(
    ("name", "num_bytes", "message"),
    [
        ("config.json", 2**30, r"unpack to 1,073,741,8\d\d, more than 20 times"),
        ("config.json", 2**27, r"config.json has 134,217,7\d\d bytes, and at most"),
        ("model.weights.h5", 3 * 2**30, r"unpack to 3,221,225,4\d\d, more than 20"),
    ],
)
def test_load_keras_file_bomb_is_refused_unread(tmp_path, name, num_bytes, message):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for entry in ("config.json", "model.weights.h5"):
            archive.writestr(entry, b"{}")
        archive.getinfo(name).file_size = num_bytes
    with pytest.raises(ModelFileError, match=message):
        load_keras_file(path)


def test_load_keras_file_weights_that_no_layer_declares_are_refused_unread(tmp_path):
    path = tmp_path / "model.keras"
    saved(path, keras.layers.Dense(4))
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", b"")
        archive.getinfo("model.weights.h5").file_size = 3 * 2**30
    padded = path.read_bytes()
    with path.open("wb") as file:  # sparse bytes before the archive: no less than held
        file.truncate(2**30)
        file.seek(2**30)
        file.write(padded)
    with pytest.raises(
        ModelFileError, match="holds weights of 3,221,225,472 bytes and"
    ):
        load_keras_file(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"chunks": (2**20,)},
            "its weights of [0-9,]* bytes unpack to 1,099,511,627,77",
        ),
        (
            {"external": [("/etc/passwd", 0, 64)]},
            "its weight 'layers/dense/vars/0' lies",
        ),
    ],
)
def test_load_keras_file_arrays_that_it_does_not_hold_are_refused(
    tmp_path, options, message
):
    path = tmp_path / "model.keras"
    saved(path, keras.layers.Dense(4))
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(files["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        del file["layers/dense/vars/0"]
        shape = (16,) if "external" in options else (2**38,)
        file.create_dataset("layers/dense/vars/0", shape=shape, dtype="f4", **options)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (files | {"model.weights.h5": weights.getvalue()}).items():
            archive.writestr(name, data)
    with pytest.raises(ModelFileError, match=message):
        load_keras_file(path)


def test_load_keras_file_other_kinds_are_told_how_to_be_converted(tmp_path):
    hdf5 = tmp_path / "model.keras"
    hdf5.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ModelFileError, match="is an HDF5 file, as Keras 2 saved"):
        load_keras_file(hdf5)
    folder = tmp_path / "saved_model"
    folder.mkdir()
    with pytest.raises(ModelFileError, match=r"is a folder. Name a \.keras file"):
        load_keras_file(folder)
    (folder / "saved_model.pb").touch()
    with pytest.raises(ModelFileError, match="is a SavedModel folder, which Keras 3"):
        load_keras_file(folder)
    old = tmp_path / "old.keras"
    with zipfile.ZipFile(old, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", '{"keras_version": "2.15.0"}')
    with pytest.raises(ModelFileError, match="was saved by Keras '2.15.0'. To convert"):
        load_keras_file(old)
