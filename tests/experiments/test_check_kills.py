"""The check that runs survive kills: a small one, and what it would find."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from experiments import check_kills
from experiments.check_kills import (
    KilledRun,
    Runs,
    describe,
    differences,
    unswept,
)

NAME = "check_kills"
RECORD = {
    "row": "a",
    "training": {"seconds": 1.0, "epochs": 2},
    "environment": {"commit": "x"},
    "size": {"gzip_bytes": 5},
}


@pytest.fixture(scope="module")
def checked(run, short_run, tmp_path_factory):
    """What the check of a small run printed, its folder, and the run's command."""
    check = tmp_path_factory.mktemp("kills") / "check"
    done = run(NAME, "--kills=2", f"--run_dir={check}", "--", *short_run)
    return done, check, short_run


def test_check_kills_of_a_small_run_finds_no_fault(checked):
    (status, out, err), check, _ = checked
    assert (status, err) == (0, ""), out
    assert "2 kills of " in out
    assert out.splitlines()[-1].endswith(" runs: 0 faults.")
    page = (check / "table.md").read_text()
    assert f'make experiment NAME={NAME} ARGS="' in page
    assert " --kills=2 -- compress " in page
    assert out[out.index("| run |") :] in page
    assert differences(check / "undisturbed", check / "killed_1") == []


def test_run_with_damaged_files_makes_them_again(checked, run):
    _, check, command = checked
    folder = check / "killed_1"
    onnx = "{}.onnx.float32.dense.onnxruntime.cpu"
    damages = {
        f"predictions/{onnx.format('original')}.npz": lambda content: b"",
        f"records/{onnx.format('compressed')}.json": lambda content: content[:99],
        "table.md": lambda content: content[:99],
        f"scores/{onnx.format('original')}.npz": lambda content: b"\xff\x00",
        # These are told without a line.
        "models/compressed.keras": lambda content: content[:-99],
        "data/test.npz": lambda content: b"",
    }
    for name, damage in damages.items():
        (folder / name).write_bytes(damage((folder / name).read_bytes()))
    status, out, err = run(*command, f"--run_dir={folder}")
    assert (status, err) == (0, "")
    for name in list(damages)[:4]:
        assert f"Damaged or missing, and made again: {name}" in out
    assert "compressed: compressing" in out
    assert differences(check / "undisturbed", folder) == []
    assert (folder / "table.md").read_text().rstrip().splitlines()[-1].startswith("Ver")


@pytest.fixture
def folders(tmp_path):
    """Folders of two runs of one record and one artifact, alike but for their times."""
    for name, seconds in (("one", 1.0), ("two", 9.0)):
        (tmp_path / name / "records").mkdir(parents=True)
        (tmp_path / name / "artifacts" / "a").mkdir(parents=True)
        (tmp_path / name / "artifacts" / "a" / "model.onnx").write_text("model")
        (tmp_path / name / "log.txt").write_text(name)
        write_record(tmp_path / name, {"training": {"seconds": seconds, "epochs": 2}})
    return tmp_path / "one", tmp_path / "two"


def write_record(folder, fields):
    (folder / "records" / "a.json").write_text(json.dumps(RECORD | fields))


def test_differences_are_not_of_times(folders):
    assert differences(*folders) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"size": {"gzip_bytes": 6}}, ["records/a.json: size.gzip_bytes"]),
        (
            {"training": {"seconds": 1, "epochs": 3}},
            ["records/a.json: training.epochs"],
        ),
        ({"error": "oh"}, ["records/a.json: error"]),
        ({"environment": {"commit": "y"}}, []),
    ],
)
def test_differences_name_the_field_of_a_record(folders, fields, expected):
    write_record(folders[1], fields)
    assert differences(*folders) == expected


def test_differences_name_files_that_are_missing_more_or_other(folders):
    one, two = folders
    (two / "artifacts" / "a" / "model.onnx").write_text("other")
    (two / "predictions").mkdir()
    (two / "predictions" / "a.npz").touch()
    shutil.rmtree(two / "records")
    assert differences(one, two) == [
        *("artifacts/a/model.onnx", "predictions/a.npz", "records/a.json")
    ]


def test_unswept_names_what_lies_under_temporary_names(folders):
    (folders[0] / ".lock").touch()
    assert unswept(folders[0]) == []
    (folders[0] / "records" / ".a.json.12345678.tmp").mkdir()
    assert unswept(folders[0]) == ["records/.a.json.12345678.tmp"]


def test_processes_left_finds_the_process_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(check_kills, "_PATIENCE_SECONDS", 0)
    runs = Runs(tmp_path, ["compress"])
    assert runs.processes_left() == []
    environment = os.environ | {check_kills._MARK: str(tmp_path)}
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert [found.pid for found in runs.processes_left()] == [process.pid]
        process.kill()
    assert runs.processes_left() == []


def test_table_counts_kills_and_faults():
    kills = ["alone", "group", "worker", "group"]
    run = KilledRun(number=1, kills=kills, left=["worker"])
    lines = describe([run, KilledRun(number=2)]).splitlines()
    assert lines[2:] == [
        "| 1 | 1 | 2 | 1 | 1 | 0 | 0 |",
        "| 2 | 0 | 0 | 0 | 0 | 0 | 0 |",
        "",
        "4 kills of 2 runs: 1 faults.",
    ]
    assert run.faults == ["run 1: left at work: worker"]
