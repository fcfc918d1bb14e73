"""Tests that files and folders are whole or not there."""

import pytest

from tfcompress.atomic import atomic_file, atomic_files, atomic_folder, write_json


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
