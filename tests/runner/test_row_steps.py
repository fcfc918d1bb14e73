"""Tests of rows as steps: what they need, and what a worker refuses."""

import dataclasses
import json
import sys
import types

import pytest

from tfcompress.errors import InvalidValueError, StepError
from tfcompress.executor.step import needed_steps
from tfcompress.runner.row_steps import (
    TIMING,
    check_begun,
    row_of_part,
    row_steps,
    timing_step,
)
from tfcompress.runner.rows import Row, standard_targets
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.settings import RunSettings

VARIANTS = standard_targets(("onnx",), ("coded",))
ROWS = (
    Row(name="baseline", targets=VARIANTS),
    Row(name="control", parent="baseline", targets=VARIANTS),
    Row(name="clustered", parent="control", targets=VARIANTS),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """Of an experiment that is this module."""


@pytest.fixture
def folder(tmp_path):
    with RunFolder(tmp_path / "run") as opened:
        yield opened


def test_rows_come_after_the_baseline_and_their_parents(folder):
    steps = row_steps(ROWS, Settings(workers=2, num_threads=1), folder)
    assert needed_steps(steps) == {
        "baseline": set(),
        "control": {"baseline"},
        "clustered": {"baseline", "control"},
    }
    assert not any(step.is_done() for step in steps)
    for path in steps[0].outputs:
        (folder.path / path).write_text("{}")
    assert [step.is_done() for step in steps] == [True, False, False]
    json.dumps([step.to_json() for step in steps])
    assert {step.num_cores for step in steps} == {1}


def test_worker_gets_the_settings_and_its_part(folder):
    settings = Settings(workers=2, seed=3, formats=("onnx",), resume=True)
    step = row_steps(ROWS, settings, folder)[2]
    assert step.arguments["module"] == __name__
    values = step.arguments["values"]
    assert (values["only"], values["workers"]) == ("row:clustered", 0)
    assert (values["seed"], values["resume"]) == (3, False)
    assert values["run_dir"] == str(folder.path.absolute())
    timing = timing_step(settings, folder)
    assert timing.is_exclusive and timing.arguments["values"]["only"] == TIMING


def test_settings_of_no_module_are_refused(folder, monkeypatch):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Local(RunSettings):
        pass

    with pytest.raises(InvalidValueError, match="can import: a module with main.setti"):
        row_steps(ROWS, Local(workers=1), folder)
    monkeypatch.setattr(Settings, "__module__", "__main__")
    program = types.ModuleType("__main__")
    program.__spec__ = None
    monkeypatch.setitem(sys.modules, "__main__", program)
    with pytest.raises(InvalidValueError, match="Leave --workers out"):
        row_steps(ROWS, Settings(workers=1), folder)


def test_part_of_a_run_is_a_row_or_the_timing():
    assert row_of_part("row:control", ROWS) is ROWS[1]
    assert row_of_part("timing", ROWS) is None
    with pytest.raises(InvalidValueError, match="--only must be timing or row:NAME of"):
        row_of_part("row:nothing", ROWS)


@pytest.mark.parametrize("content", [None, b"{", b"{}", b'{"flags": {"seed": 1}}'])
def test_folder_of_another_run_is_refused(folder, content):
    if content is not None:
        (folder.path / "flags.json").write_bytes(content)
    with pytest.raises(StepError, match="holds no run of these flags and data: a work"):
        check_begun(folder.path, {"seed": 0})


def test_folder_of_the_run_is_taken(folder):
    folder.begin({"seed": 0}, "code", resume=False, fresh=False)
    check_begun(folder.path, {"seed": 0})


def test_guest_shares_the_folder_and_sweeps_nothing(folder):
    (folder.path / "records" / ".a.json.x.tmp").mkdir()
    with RunFolder(folder.path, is_guest=True):
        assert (folder.path / "records" / ".a.json.x.tmp").exists()
        (here,) = (folder.path / ".tmp").iterdir()
        assert here.name.startswith("worker-")
    assert not here.exists()
    with pytest.raises(InvalidValueError, match="in use by another process"):
        RunFolder(folder.path)


def test_address_without_workers_is_refused():
    with pytest.raises(
        InvalidValueError, match="--ray_address goes with --workers: sa"
    ):
        Settings(ray_address="auto")
    with pytest.raises(InvalidValueError, match="--workers must be at least 0, got -1"):
        Settings(workers=-1)
