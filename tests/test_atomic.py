"""Tests that files and folders are whole or not there."""

import os
import pathlib
import subprocess
import sys

import pytest

from tfcompress.atomic import (
    atomic_file,
    atomic_files,
    atomic_folder,
    sweep,
    temporary_folder,
    write_json,
)


def test_atomic_file_replaces_its_target(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_file(target) as path:
        assert path.suffix == ".txt"
        path.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_file_failure_leaves_the_old_one_alone(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OSError, match="disk full"), atomic_file(target) as path:
        path.write_text("half")
        raise OSError("disk full")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_folder_replaces_its_target(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    with atomic_folder(target) as path:
        (path / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_folder_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), atomic_folder(tmp_path / "folder") as path:
        (path / "half").touch()
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_atomic_files_leaves_other_files(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "mine").touch()
    (target / "model").write_text("old")
    with atomic_files(target) as path:
        (path / "model").write_text("new")
    assert sorted(path.name for path in target.iterdir()) == ["mine", "model"]
    assert (target / "model").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_files_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), atomic_files(tmp_path / "folder") as path:
        (path / "half").touch()
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_write_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, pathlib, signal, sys
from tfcompress.atomic import atomic_file, atomic_folder, temporary_folder
makers = {"file": atomic_file, "folder": atomic_folder, "temporary": temporary_folder}
with makers[sys.argv[1]](sys.argv[2]) as path:
    print(path, flush=True)
    if sys.argv[3] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def start_writer(kind, target, end):
    """Starts a process that is killed, or waits, while it writes; with its path."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, kind, str(target), end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, pathlib.Path(process.stdout.readline().strip())


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("file", lambda target: write_json(target, 1)),
        ("folder", lambda target: atomic_folder(target).__enter__()),
    ],
)
def test_what_a_killed_process_left_is_swept_by_the_next_write(tmp_path, kind, write):
    target = tmp_path / "model.onnx"
    process, left = start_writer(kind, target, "killed")
    process.communicate()
    assert left.parent.is_dir()
    write_json(tmp_path / "model", 1)  # another target, whose name begins alike
    assert left.parent.is_dir()
    write(target)
    assert not left.parent.exists()


def test_what_a_living_process_writes_is_never_swept(tmp_path):
    target = tmp_path / "a.json"
    process, path = start_writer("file", target, "alive")
    write_json(target, 1)
    sweep(tmp_path)
    path.write_text("2\n")
    process.communicate()
    assert process.returncode == 0
    assert target.read_text() == "2\n"
    assert list(tmp_path.iterdir()) == [target]


def test_temporary_folder_of_a_killed_process_is_swept(tmp_path):
    process, left = start_writer("temporary", tmp_path, "killed")
    process.communicate()
    assert left.is_dir()
    with temporary_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_temporary_folder_is_by_default_in_that_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert folder.parent == tmp_path


def test_sweep_leaves_what_is_not_ours(tmp_path):
    names = [".a.tmp", ".a.12345678.tmp.txt", "a.12345678.tmp", ".a.12345678.bak"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".link.12345678.tmp").symlink_to(tmp_path / "elsewhere")
    sweep(tmp_path)
    assert (tmp_path / "elsewhere").is_dir()
    assert {".link.12345678.tmp", *names} <= {path.name for path in tmp_path.iterdir()}
    sweep(tmp_path / "none")


def test_atomic_file_takes_along_what_belongs_to_it(tmp_path):
    target = tmp_path / "model.xml"
    target.write_text("old")
    (tmp_path / "model.bin").write_text("old")
    with atomic_file(target) as path:
        path.write_text("new")
        path.with_suffix(".bin").write_text("new")
        (path.parent / "below").mkdir()
        (path.parent / "below" / "data").write_text("new")
    texts = {p.name: p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert texts == dict.fromkeys(["model.xml", "model.bin", "data"], "new")


@pytest.fixture
def trace(monkeypatch):
    """List of (what, name of the file or folder) of the system's calls."""
    calls, paths = [], {}
    own_open, own_replace, own_sync = os.open, os.replace, os.fsync

    def open_(path, *arguments, **options):
        descriptor = own_open(path, *arguments, **options)
        paths[descriptor] = pathlib.Path(path).name
        return descriptor

    def sync(descriptor):
        calls.append(("sync", paths[descriptor]))
        own_sync(descriptor)

    def replace(source, target):
        calls.append(("rename", pathlib.Path(target).name))
        own_replace(source, target)

    monkeypatch.setattr("os.open", open_)
    monkeypatch.setattr("os.fsync", sync)
    monkeypatch.setattr("os.replace", replace)
    return calls


def test_atomic_file_is_on_the_disk_before_it_has_its_name(tmp_path, trace):
    with atomic_file(tmp_path / "a.xml") as path:
        path.touch()
        path.with_suffix(".bin").touch()
    syncs = [("sync", "a.bin"), ("sync", "a.xml")]
    renames = [("rename", "a.bin"), ("rename", "a.xml")]
    assert trace == [*syncs, *renames, ("sync", tmp_path.name)]


def test_atomic_folder_is_on_the_disk_before_it_has_its_name(tmp_path, trace):
    with atomic_folder(tmp_path / "a") as path:
        (path / "file").touch()
    syncs = [("sync", "file"), ("sync", "new")]
    assert trace == [*syncs, ("rename", "a"), ("sync", tmp_path.name)]


def test_atomic_files_removes_the_older_set_first(tmp_path, monkeypatch):
    for name in ("model.bin", "model.xml"):
        (tmp_path / name).write_text("old")

    def replace(source, target):
        raise OSError("power cut")

    with pytest.raises(OSError, match="power cut"), atomic_files(tmp_path) as path:
        for name in ("model.bin", "model.xml"):
            (path / name).write_text("new")
        monkeypatch.setattr("os.replace", replace)
    assert list(tmp_path.iterdir()) == []
