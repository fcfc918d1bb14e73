"""Tests of damaged run folders: what is damaged is removed with its record."""

import dataclasses
import json

import numpy as np
import pytest

from tfcompress.formats.target import Target
from tfcompress.runner.damage import remove_damaged
from tfcompress.runner.run_folder import RunFolder

A, B = (Target(format="onnx").key(row) for row in "ab")
DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "garbage": lambda content: bytes(range(256)) * 4,
}


def _record(row, status):
    target = dataclasses.asdict(Target(format="onnx"))
    return {"schema_version": 2, "status": status, "row": row, **target}


@pytest.fixture
def folder(tmp_path, tiny_artifact):
    """A run folder of two files that are scored; its table is written."""
    with RunFolder(tmp_path / "run") as folder:
        made = tiny_artifact().folder
        for key in (A, B):
            record = _record(key[0], "ok")
            (folder.records / f"{key}.json").write_text(json.dumps(record))
            np.savez(folder.predictions / f"{key}.npz", output_0=np.arange(9))
            np.savez(folder.scores / f"{key}.npz", rmse=np.ones((9, 2)))
            (folder.artifacts / key).mkdir()
            for path in made.iterdir():
                (folder.artifacts / key / path.name).write_bytes(path.read_bytes())
        np.savez(folder.predictions / f"validation.{A}.npz", output_0=np.arange(9))
        folder.noise.write_text(json.dumps({A: {"batch_1": 1.0, "batch_32": 1.0}}))
        folder.table.write_text("# title\n\n| a |\n\nVersions: python 3.\n")
        yield folder


def test_whole_folder_is_left_alone(folder):
    before = sorted(folder.path.rglob("*"))
    assert remove_damaged(folder) == []
    assert sorted(folder.path.rglob("*")) == before


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(
    ("name", "gone"),
    [
        (f"records/{A}.json", []),
        (f"predictions/{A}.npz", [f"records/{A}.json"]),
        (f"predictions/validation.{A}.npz", []),
        (f"scores/{A}.npz", [f"records/{A}.json"]),
        ("noise.json", []),
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
    assert f"{B}.json" in left
    assert (f"{A}.json" in left) == (f"records/{A}.json" not in (name, *gone))
    assert remove_damaged(folder) == []


def test_record_without_predictions_is_made_again(folder):
    (folder.predictions / f"{A}.npz").unlink()
    assert remove_damaged(folder) == [f"predictions/{A}.npz"]
    assert not (folder.records / f"{A}.json").exists()


def test_record_without_scores_is_made_again_unless_the_run_is_finished(folder):
    (folder.scores / f"{A}.npz").unlink()
    assert remove_damaged(folder) == []  # as of a finished run of older code
    folder.table.unlink()
    assert remove_damaged(folder) == [f"scores/{A}.npz"]
    assert [path.name for path in folder.records.iterdir()] == [f"{B}.json"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("file", ["model.onnx", "manifest.json", "tokenizer.json"])
def test_damaged_artifact_is_made_again_unless_the_run_is_finished(
    folder, file, damage
):
    path = folder.artifacts / A / file
    path.write_bytes(damage(path.read_bytes()))
    assert remove_damaged(folder) == []  # nobody reads it any more
    folder.table.unlink()
    assert remove_damaged(folder) == [f"artifacts/{A}"]
    assert [path.name for path in folder.records.iterdir()] == [f"{B}.json"]


def test_failed_record_needs_nothing(folder):
    record = _record("c", "failed")
    (folder.records / "c.onnx.json").write_text(json.dumps(record))
    assert remove_damaged(folder) == []


def test_damaged_artifact_takes_all_records_that_share_it(folder):
    target = Target(format="onnx", runtime="openvino")
    record = _record("a", "ok") | dataclasses.asdict(target)
    key = target.key("a")
    (folder.records / f"{key}.json").write_text(json.dumps(record))
    for kept in (folder.predictions, folder.scores):
        (kept / f"{key}.npz").write_bytes((kept / f"{A}.npz").read_bytes())
    folder.table.unlink()
    assert remove_damaged(folder) == []
    (folder.artifacts / A / "model.onnx").unlink()
    assert remove_damaged(folder) == [f"artifacts/{A}"]
    assert [path.name for path in folder.records.iterdir()] == [f"{B}.json"]
