"""Tests of children: what becomes of them, and that none outlives its parent."""

import os
import pathlib
import select
import signal
import subprocess
import sys

import pytest

from tfcompress.processes import (
    child_environment,
    child_process,
    describe_end,
    run_child,
)

ROOT = pathlib.Path(__file__).parents[1]
PATIENCE_SECONDS = 120  # nothing takes as long, even on a machine with much to do

# Says that it runs, and then does nothing: its end is seen by the end of its fifo.
WAITS = """
import os, sys, time
descriptor = os.open(sys.argv[1], os.O_WRONLY)
os.write(descriptor, b"+")
time.sleep(3600)
"""
# Starts another child, and shares the fifo with it.
STARTS_ANOTHER = """
import os, sys
from tfcompress.processes import child_environment, run_child
descriptor = os.open(sys.argv[1], os.O_WRONLY)
run_child("waits", sys.argv[1:], environment=child_environment(1),
          output_path=os.devnull, timeout_seconds=3600)
"""
FORKS = "import os, sys\nos.fork()\n" + WAITS
SPEAKS = "import sys; print(*sys.argv[1:]); print('oh', file=sys.stderr); sys.exit(3)"


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Environment in which `-m` finds the modules above; their folder is `tmp_path`."""
    modules = {
        "waits": WAITS,
        "starts_another": STARTS_ANOTHER,
        "forks": FORKS,
        "speaks": SPEAKS,
    }
    for name, source in modules.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    return child_environment(1)


@pytest.fixture
def fifo(tmp_path):
    """A fifo's path, and `read()`: the next bytes, none once all writers have ended."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read():
        assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0]
        return os.read(descriptor, 1)

    yield path, read
    os.close(descriptor)


def start_parent(module, fifo_path):
    """Starts a process that runs `module` as its child."""
    code = (
        "import os, signal, sys\n"
        # A shell lets what it starts in the background ignore an interrupt.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tfcompress.processes import child_environment, run_child\n"
        f"run_child({module!r}, [{str(fifo_path)!r}],\n"
        "          environment=child_environment(1), output_path=os.devnull,\n"
        "          timeout_seconds=3600)\n"
    )
    return subprocess.Popen([sys.executable, "-c", code])


def test_run_child_gives_status_and_output(tmp_path, environment):
    output_path = tmp_path / "output.txt"
    output_path.write_text("before\n")
    status = run_child(
        "speaks",
        ["one", tmp_path],
        environment=environment,
        output_path=output_path,
        timeout_seconds=PATIENCE_SECONDS,
    )
    assert status == 3
    lines = output_path.read_text().splitlines()
    assert lines[0] == "before"
    assert sorted(lines[1:]) == ["oh", f"one {tmp_path}"]


def test_run_child_too_slow_is_ended(environment, fifo):
    status = run_child(
        "waits",
        [fifo[0]],
        environment=environment,
        output_path=os.devnull,
        timeout_seconds=0.1,
    )
    assert status is None


def test_child_that_is_stopped_is_ended_with_what_it_forked(environment, fifo):
    path, read = fifo
    with child_process(
        "forks", [path], environment=environment, output_path=os.devnull
    ) as process:
        assert read() + read() == b"++"
    assert read() == b""
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("module", ["waits", "starts_another"])
def test_children_end_with_a_parent_that_is_killed(module, environment, fifo):
    path, read = fifo
    parent = start_parent(module, path)
    assert read() == b"+"
    parent.kill()
    assert read() == b""
    parent.wait()


def test_child_ends_with_a_parent_that_is_interrupted(environment, fifo):
    path, read = fifo
    parent = start_parent("waits", path)
    assert read() == b"+"
    parent.send_signal(signal.SIGINT)
    assert read() == b""
    parent.wait()


def start_as_child(path, parent, read_end, before=""):
    code = f"{before}\nfrom tfcompress.processes import _main; _main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(parent), str(read_end), "waits", str(path)],
        pass_fds=(read_end,),
        process_group=0,
    )


def test_child_whose_parent_is_gone_before_it_looks_ends(environment, fifo):
    read_end, write_end = os.pipe()  # held open: the number alone tells it
    child = start_as_child(fifo[0], parent=0, read_end=read_end)
    assert child.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    os.close(read_end)
    os.close(write_end)


def test_child_ends_by_its_pipe_where_the_system_does_not_end_it(environment, fifo):
    path, read = fifo
    read_end, write_end = os.pipe()
    child = start_as_child(
        path, os.getpid(), read_end, before="import sys; sys.platform = 'other'"
    )
    assert read() == b"+"
    os.close(write_end)
    assert child.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    os.close(read_end)


def test_child_environment_pins_threads():
    environment = child_environment(3)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["TF_NUM_INTEROP_THREADS"] == "1"
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("status", "printed", "words"),
    [
        (None, "", "took longer than 2.5 s and was stopped."),
        (-9, "", "was ended by SIGKILL; was there too little memory?"),
        (-11, "Traceback", "was ended by SIGSEGV."),
        (-77, "", "was ended by signal 77."),
        (1, "Traceback\nValueError: no\n", "failed with exit status 1: ValueError: no"),
        (2, "", "failed with exit status 2: "),
    ],
)
def test_describe_end_names_how_it_ended(status, printed, words):
    assert describe_end(status, printed, 2.5) == words
