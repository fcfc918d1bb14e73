"""Tests of what a run folder keeps: read once, and what is damaged removed."""

import dataclasses
import json

import numpy as np
import pytest

from tfcompress import artifact as artifact_module
from tfcompress.errors import ArtifactError
from tfcompress.formats.target import Target
from tfcompress.record import new_record, write_record
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.store import RunStore

TARGET = Target(format="onnx")
KEYS = A, B = TARGET.key("a"), TARGET.key("b")
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
            write_record(
                folder.records / f"{key}.json",
                new_record(status="ok", row=key[0], **dataclasses.asdict(TARGET)),
            )
            np.savez(folder.predictions / f"{key}.npz", output_0=np.arange(9))
            np.savez(folder.scores / f"{key}.npz", rmse=np.ones((9, 2)))
            (folder.artifacts / key).mkdir()
            for path in made.iterdir():
                (folder.artifacts / key / path.name).write_bytes(path.read_bytes())
        np.savez(folder.predictions / f"validation.{A}.npz", output_0=np.arange(9))
        folder.noise.write_text(json.dumps({A: {"batch_1": 1.0, "batch_32": 1.0}}))
        folder.write_result(run_result)
        yield folder


def test_whole_folder_is_left_alone(folder):
    before = sorted(folder.path.rglob("*"))
    assert RunStore(folder).damaged == []
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
        ("result.json", []),
        ("table.md", []),
    ],
)
def test_damaged_file_goes_with_its_record_and_the_table(folder, name, gone, damage):
    path = folder.path / name
    path.write_bytes(damage(path.read_bytes()))
    assert RunStore(folder).damaged == [name]
    for each in (name, "table.md", *gone):
        assert not (folder.path / each).exists()
    left = [path.name for path in folder.records.iterdir()]
    assert f"{B}.json" in left
    assert (f"{A}.json" in left) == (f"records/{A}.json" not in (name, *gone))
    assert RunStore(folder).damaged == []


def test_record_without_predictions_is_made_again(folder):
    (folder.predictions / f"{A}.npz").unlink()
    assert RunStore(folder).damaged == [f"predictions/{A}.npz"]
    assert not (folder.records / f"{A}.json").exists()


def test_record_without_scores_is_made_again_unless_the_run_is_finished(folder):
    (folder.scores / f"{A}.npz").unlink()
    assert RunStore(folder).damaged == []  # as of a finished run of older code
    folder.table.unlink()
    assert RunStore(folder).damaged == [f"scores/{A}.npz"]
    assert [path.name for path in folder.records.iterdir()] == [f"{B}.json"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("file", ["model.onnx", "manifest.json", "tokenizer.json"])
def test_damaged_artifact_is_made_again_unless_the_run_is_finished(
    folder, file, damage
):
    path = folder.artifacts / f"{A}" / file
    path.write_bytes(damage(path.read_bytes()))
    assert RunStore(folder).damaged == []  # nobody reads it any more
    folder.table.unlink()
    assert RunStore(folder).damaged == [f"artifacts/{A}"]
    assert [path.name for path in folder.records.iterdir()] == [f"{B}.json"]


def test_failed_record_needs_nothing(folder):
    record = new_record(status="failed", row="c")
    write_record(folder.records / "c.onnx.json", record)
    store = RunStore(folder)
    assert store.damaged == []
    assert store.is_left


def test_store_has_the_result_of_a_run_that_has_ended(folder, run_result):
    assert RunStore(folder).result == run_result
    folder.table.unlink()
    assert RunStore(folder).result is None


def test_keep_takes_the_end_of_a_run_back_unless_it_failed_again(folder):
    store = RunStore(folder)
    store.keep(f"{A}", store.records[f"{A}"] | {"timing_error": "No."})
    assert not store.has_ended
    assert store.is_untimed

    folder.table.write_text("table")
    store.keep("c.onnx", new_record(status="failed", error="No."))
    assert not store.has_ended
    folder.table.write_text("table")
    store.keep("c.onnx", new_record(status="failed", error="Not now."))
    assert store.has_ended
    store.keep("c.onnx", new_record(status="ok"))
    assert not store.has_ended


def test_artifact_is_verified_once(folder, monkeypatch):
    folder.table.unlink()
    store = RunStore(folder)

    def refuse(*_):
        raise AssertionError("hashed again")

    monkeypatch.setattr(artifact_module, "_describe", refuse)
    assert store.artifact(f"{A}") is store.artifact(f"{A}")
    with pytest.raises(ArtifactError, match="is no artifact"):
        store.artifact("c.onnx")
