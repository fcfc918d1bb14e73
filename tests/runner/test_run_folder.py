"""Tests of the run folder: found again, guarded, cleared."""

import json
import os

import pytest

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
