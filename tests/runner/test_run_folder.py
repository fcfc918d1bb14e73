"""Tests of the run folder: found again, guarded, cleared."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

from tfcompress.atomic import atomic_file
from tfcompress.errors import InvalidValueError
from tfcompress.runner.run_folder import RunFolder, run_id

FLAGS = {"seed": 0, "num_clusters": 16}


def begin(path, flags=FLAGS, code="a", *, resume=False, fresh=False):
    with RunFolder(path) as folder:
        folder.begin(flags, code, resume=resume, fresh=fresh)
        return folder


def test_run_id_depends_on_flags_and_data():
    ids = {run_id(FLAGS, "x"), run_id(FLAGS | {"seed": 1}, "x"), run_id(FLAGS, "y")}
    assert len(ids) == 3


def test_begin_same_run_goes_on_and_keeps_its_records(tmp_path):
    begin(tmp_path)
    (tmp_path / "records" / "a.json").write_text("{}")
    begin(tmp_path)
    assert (tmp_path / "records" / "a.json").exists()
    assert json.loads((tmp_path / "flags.json").read_text()) == {
        "flags": FLAGS,
        "code": "a",
    }


def test_begin_other_flags_raises_and_names_them(tmp_path):
    begin(tmp_path)
    with pytest.raises(InvalidValueError, match="other flags .--num_clusters: 16"):
        begin(tmp_path, FLAGS | {"num_clusters": 8})


def test_begin_other_code_raises_and_resume_goes_on(tmp_path):
    begin(tmp_path)
    with pytest.raises(InvalidValueError, match="Other code began.*--resume.*--fresh"):
        begin(tmp_path, code="b")
    begin(tmp_path, code="b", resume=True)
    begin(tmp_path, code="b")


@pytest.mark.parametrize(
    "content",
    [b"", b'{"flags": {"seed"', b"\xff\x00", b"[]", b'{"flags": 3, "code": 3}'],
)
def test_begin_damaged_flags_raise_and_resume_goes_on(tmp_path, content):
    begin(tmp_path)
    (tmp_path / "flags.json").write_bytes(content)
    with pytest.raises(
        InvalidValueError, match=r"flags.json is damaged.*--resume.*--run_dir.*--fresh"
    ):
        begin(tmp_path)
    begin(tmp_path, resume=True)
    with pytest.raises(InvalidValueError, match="other flags"):
        begin(tmp_path, FLAGS | {"num_clusters": 8})


def test_begin_fresh_replaces_damaged_flags(tmp_path):
    begin(tmp_path)
    (tmp_path / "flags.json").write_bytes(b"")
    begin(tmp_path, fresh=True)
    begin(tmp_path)


def test_run_folder_sweeps_what_a_killed_run_left(tmp_path):
    begin(tmp_path)
    left = [
        tmp_path / ".flags.json.12345678.tmp",
        tmp_path / "records" / ".a.json.12345678.tmp",
        tmp_path / "artifacts" / ".tfcompress.12345678.tmp",
        tmp_path / "models" / "a.checkpoint" / ".fit-0.npz.12345678.tmp",
        tmp_path / ".tmp" / "of_a_converter",
    ]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "half").touch()
    begin(tmp_path)
    assert not any(folder.exists() for folder in left)


def test_run_folder_in_use_is_not_swept(tmp_path):
    with RunFolder(tmp_path) as folder, atomic_file(folder.table) as path:
        with pytest.raises(InvalidValueError, match="in use"):
            RunFolder(tmp_path)
        path.write_text("whole")
    assert folder.table.read_text() == "whole"


def test_run_folder_holds_the_temporary_files_of_all(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/before")
    before = tempfile.gettempdir()
    with RunFolder(tmp_path) as folder:
        folder.begin(FLAGS, "a", resume=False, fresh=True)
        with tempfile.TemporaryDirectory() as path:
            assert pathlib.Path(path).is_relative_to(tmp_path)
        code = "import tempfile; print(tempfile.gettempdir())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True)
        assert pathlib.Path(done.stdout.decode().strip()).is_relative_to(tmp_path)
    assert tempfile.gettempdir() == before
    assert os.environ["TMPDIR"] == "/before"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] == ".") == [
        ".lock"
    ]


def test_begin_fresh_deletes_what_is_there(tmp_path):
    begin(tmp_path)
    (tmp_path / "records" / "a.json").write_text("{}")
    begin(tmp_path, code="b", fresh=True)
    assert list((tmp_path / "records").iterdir()) == []


def test_run_folder_in_use_raises(tmp_path):
    with RunFolder(tmp_path), pytest.raises(InvalidValueError, match="in use"):
        RunFolder(tmp_path)
    RunFolder(tmp_path).__exit__()  # free again


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_run_folder_without_permission_raises(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        RunFolder(tmp_path / "run")


def test_run_folder_below_a_file_raises(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        RunFolder(tmp_path / "file" / "run")


def test_link_latest_points_at_the_newest(tmp_path):
    for name in ("one", "two"):
        with RunFolder(tmp_path / name) as folder:
            folder.link_latest("reviews")
    assert (tmp_path / "latest").resolve() == tmp_path / "two"
    assert (tmp_path / "latest-reviews").resolve() == tmp_path / "two"


def test_failure_before_the_first_model_leaves_the_folder_free(tmp_path):
    with pytest.raises(OSError), RunFolder(tmp_path) as folder:
        folder.begin(FLAGS, "a", resume=False, fresh=False)
        with folder.abandoned_if_empty():
            raise OSError
    begin(tmp_path, FLAGS | {"num_clusters": 8})


def test_failure_after_a_model_keeps_what_the_run_is(tmp_path):
    with pytest.raises(OSError), RunFolder(tmp_path) as folder:
        folder.begin(FLAGS, "a", resume=False, fresh=False)
        with folder.abandoned_if_empty():
            (folder.models / "baseline.keras").write_text("")
            raise OSError
    with pytest.raises(InvalidValueError, match="other flags"):
        begin(tmp_path, FLAGS | {"num_clusters": 8})
