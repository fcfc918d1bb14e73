"""Steps as tasks of a real Ray, which is started once."""

import os
import subprocess
import sys

import pytest

from tfcompress.errors import (
    InvalidValueError,
    MissingDependencyError,
    StepError,
    TrainingError,
)
from tfcompress.executor import RayExecutor
from tfcompress.executor import call as call_module

TWO_CORES = 2
# Ends Ray's process of a name under a driver whose step takes long.
GOES_AWAY = """
import sys, threading
import psutil
from tfcompress.errors import StepError
from tfcompress.executor import RayExecutor, Step
output = sys.argv[1] + ".out"
step = Step(name="long", function="tests.executor.stub_steps:wait_for",
            arguments={"path": output, "begun": sys.argv[1]}, outputs=(output,))
def end():
    open(sys.argv[1]).read()
    for process in psutil.Process().children(recursive=True):
        if process.name() == sys.argv[2]:
            process.kill()
threading.Thread(target=end, daemon=True).start()
try:
    with RayExecutor(1, "/dev/null") as executor:
        executor.run([step])
except StepError as error:
    print("caught:", error)
"""


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "log.txt"
    with RayExecutor(TWO_CORES, log) as executor:
        yield executor


def test_tasks_are_done_after_those_that_they_read(executor, make_step, tmp_path):
    inputs = [str(tmp_path / name) for name in "ab"]
    steps = [make_step("a", text="a"), make_step("b", text="b")]
    joined = make_step("ab", "join", inputs=inputs)
    joined.arguments["inputs"] = inputs
    done = []
    executor.run([*steps, joined], lambda step: done.append(step.name))
    assert sorted(done) == ["a", "ab", "b"]
    assert (tmp_path / "ab").read_text() == "ab"


def test_exclusive_task_has_the_machine(executor, make_step, tmp_path):
    def make(name, **options):
        return make_step(name, "overlap", folder=str(tmp_path), **options)

    executor.run([make("a"), make("alone", is_exclusive=True), make("b")])
    assert (tmp_path / "alone").read_text() == "at_work_alone"


def test_what_a_task_raises_is_raised(executor, make_step):
    with pytest.raises(TrainingError, match="^The loss is not a number.$"):
        executor.run([make_step("a", "diverge")])
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug"):
        executor.run([make_step("a", "fail_with_a_bug")])


@pytest.mark.parametrize("function", ["die", "kill_ray_worker"])
def test_step_whose_worker_dies_is_done_by_another(
    executor, make_step, tmp_path, function
):
    count = str(tmp_path / "count")
    executor.run([make_step("a", function, begun=count, times=1)])
    assert (tmp_path / "a").read_text() == "survived"
    assert (tmp_path / "count").read_text() == "++"


def test_step_that_kills_every_worker_ends_the_run(executor, make_step, tmp_path):
    step = make_step("a", "die", begun=str(tmp_path / "count"), times=9)
    with pytest.raises(StepError, match="'a' was begun 3 times; .* ended by SIGKILL"):
        executor.run([step])


def test_worker_of_other_code_is_refused(executor, make_step, monkeypatch):
    other = {"version": "9.8.7", "sources": "0123456789abcdef"}
    monkeypatch.setattr(call_module, "identity", lambda: other)
    with pytest.raises(StepError, match="9.8.7 .sources 0123456789abcdef"):
        executor.run([make_step("a")])


@pytest.mark.parametrize(
    ("needs", "match"),
    [
        ({"num_cores": 99}, "'a' needs 99 cores and 0.0 GiB, and no .*: 2 cores and "),
        ({"memory_bytes": 2**50}, "'a' needs 1 cores and 1048576.0 GiB, and no "),
    ],
)
def test_step_that_no_machine_can_do_is_refused(executor, make_step, needs, match):
    with pytest.raises(StepError, match=match):
        executor.run([make_step("a", **needs)])


def test_ray_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match="pip install ray .*'ray'"):
        RayExecutor(1, tmp_path / "log")


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:port", ""])
def test_address_of_another_kind_is_refused(tmp_path, address):
    with pytest.raises(InvalidValueError, match="must be auto or HOST:PORT, got "):
        RayExecutor(1, tmp_path / "log", address)


def test_cluster_that_cannot_be_reached_is_named(make_step, tmp_path):
    with (
        RayExecutor(1, tmp_path / "log", "127.0.0.1:1") as executor,
        pytest.raises(StepError, match="no Ray cluster at 127.0.0.1:1: nobody answers"),
    ):
        executor.run([make_step("a")])


@pytest.mark.parametrize("process", ["gcs_server", "raylet"])
def test_cluster_that_goes_away_is_told(tmp_path, process):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = subprocess.run(
        [sys.executable, "-c", GOES_AWAY, str(fifo), process],
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [s for s in done.stdout.splitlines() if s.startswith("caught:")]
    assert " has gone away. What is done is kept: give the same command" in line
