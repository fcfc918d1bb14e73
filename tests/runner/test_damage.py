"""Tests of damaged run folders: what is damaged is removed with its record."""

import json

import numpy as np
import pytest

from tfcompress.runner.damage import remove_damaged
from tfcompress.runner.run_folder import RunFolder

KEYS = ("a.onnx", "b.onnx")
DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "garbage": lambda content: bytes(range(256)) * 4,
}


@pytest.fixture
def folder(tmp_path, tiny_artifact, run_result):
    """A run folder of two files that are scored; its result is written."""
    with RunFolder(tmp_path / "run") as folder:
        made = tiny_artifact().folder
        for key in KEYS:
            record = {"schema_version": 2, "status": "ok", "row": key}
            (folder.records / f"{key}.json").write_text(json.dumps(record))
            np.savez(folder.predictions / f"{key}.npz", output_0=np.arange(9))
            np.savez(folder.scores / f"{key}.npz", rmse=np.ones((9, 2)))
            (folder.artifacts / key).mkdir()
            for path in made.iterdir():
                (folder.artifacts / key / path.name).write_bytes(path.read_bytes())
        np.savez(folder.predictions / "validation.a.onnx.npz", output_0=np.arange(9))
        folder.noise.write_text('{"a.onnx": {"batch_1": 1.0, "batch_32": 1.0}}')
        folder.write_result(run_result)
        yield folder


def test_whole_folder_is_left_alone(folder):
    before = sorted(folder.path.rglob("*"))
    assert remove_damaged(folder) == []
    assert sorted(folder.path.rglob("*")) == before


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("records/a.onnx.json", []),
        ("predictions/a.onnx.npz", ["records/a.onnx.json"]),
        ("predictions/validation.a.onnx.npz", []),
        ("scores/a.onnx.npz", ["records/a.onnx.json"]),
        ("noise.json", []),
        ("result.json", []),
        ("table.md", []),
    ],
)
def test_damaged_file_goes_with_its_record_and_the_table(folder, name, gone, damage):
    path = folder.path / name
    path.write_bytes(damage(path.read_bytes()))
    assert remove_damaged(folder) == [name]
    for each in (name, "table.md", *gone):
        assert not (folder.path / each).exists()
    left = [path.name for path in folder.records.iterdir()]
    assert "b.onnx.json" in left
    assert ("a.onnx.json" in left) == ("records/a.onnx.json" not in (name, *gone))
    assert remove_damaged(folder) == []


def test_record_without_predictions_is_made_again(folder):
    (folder.predictions / "a.onnx.npz").unlink()
    assert remove_damaged(folder) == ["predictions/a.onnx.npz"]
    assert not (folder.records / "a.onnx.json").exists()


def test_record_without_scores_is_made_again_unless_the_run_is_finished(folder):
    (folder.scores / "a.onnx.npz").unlink()
    assert remove_damaged(folder) == []  # as of a finished run of older code
    folder.table.unlink()
    assert remove_damaged(folder) == ["scores/a.onnx.npz"]
    assert [path.name for path in folder.records.iterdir()] == ["b.onnx.json"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("file", ["model.onnx", "manifest.json", "tokenizer.json"])
def test_damaged_artifact_is_made_again_unless_the_run_is_finished(
    folder, file, damage
):
    path = folder.artifacts / "a.onnx" / file
    path.write_bytes(damage(path.read_bytes()))
    assert remove_damaged(folder) == []  # nobody reads it any more
    folder.table.unlink()
    assert remove_damaged(folder) == ["artifacts/a.onnx"]
    assert [path.name for path in folder.records.iterdir()] == ["b.onnx.json"]


def test_failed_record_needs_nothing(folder):
    record = {"schema_version": 2, "status": "failed", "row": "c"}
    (folder.records / "c.onnx.json").write_text(json.dumps(record))
    assert remove_damaged(folder) == []
