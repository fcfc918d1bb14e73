"""Tests that a result is saved whole, and comes back in another process as it was."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfcompress import CompressionResult, code_file, compress, export_model
from tfcompress.compression_report import CompressionReport, LayerRow
from tfcompress.errors import InvalidValueError, ModelFileError, UnsupportedModelError

RECIPE = "cluster(16, block_size=8)"  # its structures do not show in the weights


class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def make_model(*more):
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(64, name="wide")
    return keras.Sequential([keras.Input((128,), name="x"), dense, *more])


@pytest.fixture(scope="module")
def result():
    return compress(make_model(), RECIPE)


@pytest.fixture
def folder(tmp_path, result):
    result.save(tmp_path / "small")
    return tmp_path / "small"


def test_load_gives_what_was_saved(folder, result):
    loaded = CompressionResult.load(folder)
    x = np.random.default_rng(0).normal(size=(3, 128)).astype("float32")
    np.testing.assert_array_equal(loaded.model(x), result.model(x))
    assert loaded.report.to_json() == result.report.to_json()
    assert loaded.report.weight_bytes == result.report.weight_bytes > 0
    assert loaded.report.structures is loaded.structures
    (key,) = result.structures
    assert loaded.structures.keys() == {key}
    for field, value in result.structures[key].items():
        np.testing.assert_array_equal(loaded.structures[key][field], value)


def test_saved_structures_serve_another_process(folder, result, tmp_path):
    dense = tmp_path / "dense"
    export_model(result.model, "onnx", dense, verify=False)
    here = code_file(
        dense / "model.onnx", tmp_path / "here.onnx", structures=result.structures
    )
    command = [sys.executable, "-m", "tfcompress.coding", dense / "model.onnx"]
    there = tmp_path / "there.onnx"
    flag = f"--structures={folder / 'structures.npz'}"
    subprocess.run([*command, there, flag], check=True, capture_output=True)
    assert there.read_bytes() == (tmp_path / "here.onnx").read_bytes()
    without = code_file(dense / "model.onnx", tmp_path / "without.onnx")
    assert here.target_bytes < 0.3 * without.target_bytes


def test_save_replaces_what_it_saved_and_nothing_else(folder, result, tmp_path):
    result.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.keras",
        "report.json",
        "structures.npz",
    ]
    (folder / "thesis.txt").write_text("mine")
    for taken in (folder, folder / "thesis.txt"):
        with pytest.raises(InvalidValueError, match="holds something that no saved re"):
            result.save(taken)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_load_of_own_layers_takes_them_by_name(tmp_path):
    model = make_model(Doubled(name="doubled"))
    compress(model, "cluster(4)").save(tmp_path / "own")
    with pytest.raises(UnsupportedModelError, match="Doubled .layer 'doubled'., which"):
        CompressionResult.load(tmp_path / "own")
    objects = {"Doubled": Doubled}
    loaded = CompressionResult.load(tmp_path / "own", custom_objects=objects)
    assert isinstance(loaded.model.layers[-1], Doubled)


def damage(folder, name, content):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("report.json", None, "is no report of a compression: there is no such file"),
        ("report.json", b"{", "is no report of a compression: JSONDecodeError: E"),
        ("report.json", b"{}", "no report of a compression: KeyError: 'schema_v"),
        ("report.json", b'{"schema_version": 9}', "it has version 9, and 1 is read"),
        ("structures.npz", None, "no structures of weights: there is no such file"),
        ("structures.npz", b"PK", "holds no structures of weights: it is no whole zip"),
        ("model.keras", None, "There is no file '.*model.keras'"),
        ("model.keras", b"PK", "model.keras' is no .keras file, or a damaged one: it"),
    ],
)
def test_load_of_damaged_folder_raises(folder, name, content, message):
    damage(folder, name, content)
    with pytest.raises(ModelFileError, match=message) as caught:
        CompressionResult.load(folder)
    assert "\n" not in str(caught.value)


def test_load_with_custom_objects_of_damaged_model_raises(folder):
    damage(folder, "model.keras", b"PK")
    with pytest.raises(ModelFileError, match="Keras cannot load .* Check custom_objec"):
        CompressionResult.load(folder, custom_objects={"Doubled": Doubled})


def test_structures_of_no_file_raise(tmp_path, folder, result):
    export_model(result.model, "onnx", tmp_path / "dense", verify=False)
    with pytest.raises(ModelFileError, match="'nowhere.npz' holds no structures of w"):
        code_file(
            tmp_path / "dense" / "model.onnx",
            tmp_path / "coded.onnx",
            structures="nowhere.npz",
        )
    assert not (tmp_path / "coded.onnx").exists()


def test_report_prints_a_line_a_layer_within_80_columns():
    found = {"num_weights": 1200, "num_nonzero": 300, "distinct_values": 16}
    rows = (
        LayerRow(name="x", kind="InputLayer", status="left_alone", reason="no weights"),
        LayerRow(
            name="a/very/long/path/of/a/layer/" * 3 + "dense",
            kind="Dense",
            status="compressed",
            stripped={"kernel": found},
        ),
    )
    text = str(CompressionReport(rows=rows, warnings=("it is undone",)))
    assert max(map(len, text.splitlines())) <= 80
    title, x, reason, dense, warning = text.splitlines()
    assert title.split() == ["layer", "kind", "status", "weights", "zeros", "values"]
    assert x.split() == ["x", "InputLayer", "left_alone", "-", "-", "-"]
    assert reason == "  no weights"
    assert dense.startswith("…") and title.index("kind") == dense.index("Dense")
    assert dense.split()[-4:] == ["compressed", "1,200", "75%", "16"]
    assert warning == "Warning: it is undone"


def test_report_to_json_is_kept_as_json(folder, result):
    saved = json.loads((folder / "report.json").read_text())
    assert saved["layers"] == result.report.to_json()
