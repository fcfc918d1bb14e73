"""What every executor does alike, and what becomes of workers that end."""

import os
import signal

import pytest

from tfcompress.errors import StepError, TrainingError
from tfcompress.executor import ProcessExecutor, SerialExecutor
from tfcompress.executor import call as call_module


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    with ProcessExecutor(2, tmp_path_factory.mktemp("log") / "log.txt") as executor:
        yield executor


@pytest.fixture(params=["serial", "processes"])
def executor(request, two_processes):
    return SerialExecutor() if request.param == "serial" else two_processes


def test_steps_are_done_once_after_those_that_they_read(executor, make_step, tmp_path):
    count = str(tmp_path / "count")
    made = [make_step(name, text=name, begun=count) for name in "abc"]
    made[1].run()
    inputs = [str(tmp_path / name) for name in "abc"]
    joined = make_step("abc", "join", inputs=inputs)
    joined.arguments["inputs"] = inputs
    done = []
    executor.run([*made, joined], lambda step: done.append(step.name))
    assert sorted(done) == ["a", "abc", "c"]
    assert done[-1] == "abc"
    assert (tmp_path / "abc").read_text() == "abc"
    assert (tmp_path / "count").read_text() == "+++"
    executor.run([*made, joined], lambda step: done.append(step.name))
    assert len(done) == 3


def test_exclusive_step_is_alone(executor, make_step, tmp_path):
    def make(name, **options):
        return make_step(name, "overlap", folder=str(tmp_path), **options)

    executor.run([make("a"), make("b"), make("alone", is_exclusive=True), make("c")])
    assert (tmp_path / "alone").read_text() == "at_work_alone"


@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        ("diverge", TrainingError, "^The loss is not a number.$"),
        ("fail_with_a_bug", (RuntimeError, ZeroDivisionError), "a bug"),
        ("open_missing", (StepError, OSError), "No such file or directory: .*/missing"),
        ("forget", StepError, "'a' ended, and .*/a is not there"),
    ],
)
def test_what_a_step_raises_is_raised(executor, make_step, function, error, match):
    with pytest.raises(error, match=match):
        executor.run([make_step("a", function)])


def test_what_else_is_at_work_when_a_step_raises_is_stopped(two_processes, make_step):
    slow = make_step("slow", "sleep", seconds=3600)
    with pytest.raises(TrainingError):
        two_processes.run([slow, make_step("a", "diverge")])
    two_processes.run([make_step("b")])
    assert make_step("b").is_done()


def test_step_whose_input_is_missing_is_refused(executor, make_step):
    with pytest.raises(StepError, match="'b' needs .*/a, which is not there on "):
        executor.run([make_step("b", inputs=["a"])])


def test_step_whose_worker_dies_is_done_by_another(two_processes, make_step, tmp_path):
    died = make_step("a", "die", begun=str(tmp_path / "count"), times=2)
    done = []
    two_processes.run([died, make_step("b")], lambda step: done.append(step.name))
    assert sorted(done) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "survived"
    assert (tmp_path / "count").read_text() == "+++"


def test_step_that_was_done_when_its_worker_died_is_not_sent_again(
    two_processes, make_step, tmp_path
):
    done = []
    two_processes.run([make_step("a", "write_and_die")], done.append)
    assert len(done) == 1


def test_step_that_kills_every_worker_ends_the_run(two_processes, make_step, tmp_path):
    count = str(tmp_path / "count")
    with pytest.raises(StepError, match="'a' was begun 3 times; .* ended by SIGKILL"):
        two_processes.run([make_step("a", "die", begun=count, times=9)])


def test_worker_killed_while_it_waits_costs_nothing(two_processes, make_step):
    two_processes.run([make_step("a", "process_number")])
    for process in two_processes.process_ids:
        os.kill(process, signal.SIGKILL)
    done = []
    two_processes.run([make_step("b")], done.append)
    assert len(done) == 1


def test_worker_of_other_code_is_refused_with_both(
    two_processes, make_step, monkeypatch
):
    other = {"version": "9.8.7", "sources": "0123456789abcdef"}
    monkeypatch.setattr(call_module, "identity", lambda: other)
    with pytest.raises(StepError) as caught:
        two_processes.run([make_step("a")])
    assert "tfcompress 9.8.7 (sources 0123456789abcdef)" in str(caught.value)
    assert str(caught.value).count("(sources ") == 2


def test_worker_without_the_drivers_folder_is_refused(
    two_processes, make_step, monkeypatch
):
    monkeypatch.setattr(call_module.os, "getcwd", lambda: "/no/such/folder")
    with pytest.raises(StepError, match="'/no/such/folder', .* is not there on "):
        two_processes.run([make_step("a")])


def test_workers_end_with_the_executor(make_step, tmp_path):
    with ProcessExecutor(1, tmp_path / "log") as executor:
        executor.run([make_step("a", "process_number")])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "a").read_text()), 0)
