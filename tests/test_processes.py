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
    kept_children,
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
# Says its process and how often it was called.
COUNTS = """
import os, sys
what = sys.argv[1]
sys.calls = getattr(sys, "calls", 0) + 1
if what == "crash" or (what == "crash if not first" and sys.calls > 1):
    os.abort()
if what == "raise":
    raise ValueError("no such luck")
if what == "exit":
    sys.exit(3)
print(os.getpid(), f"{sys.calls} {what}", sep="\\n")
"""
HOLDS = """
import os, sys
sys.kept = os.open(sys.argv[1], os.O_WRONLY)
os.write(sys.kept, b"+")
"""
SPEAKS = "import sys; print(*sys.argv[1:]); print('oh', file=sys.stderr); sys.exit(3)"


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Environment in which `-m` finds the modules above; their folder is `tmp_path`."""
    modules = {
        "waits": WAITS,
        "starts_another": STARTS_ANOTHER,
        "forks": FORKS,
        "speaks": SPEAKS,
        "counts": COUNTS,
        "holds": HOLDS,
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


@pytest.fixture
def call(tmp_path, environment):
    """Function: runs a module with arguments, kept; returns status and output."""

    def run(module, *arguments, timeout_seconds=PATIENCE_SECONDS):
        output_path = tmp_path / "output.txt"
        output_path.write_text("")
        status = run_child(
            module,
            arguments,
            environment=environment,
            output_path=output_path,
            timeout_seconds=timeout_seconds,
            keep_as="any",
        )
        return status, output_path.read_text().splitlines()

    return run


def test_kept_child_runs_every_call_with_its_own_output(call):
    with kept_children():
        status, first = call("counts", "one")
        assert (status, first[1:]) == (0, ["1 one"])
        status, second = call("counts", "two")
        assert (status, second) == (0, [first[0], "2 two"])  # the number of a process
    status, third = call("counts", "three")  # none is kept any more
    assert third[1:] == ["1 three"]
    assert third[0] != first[0]


def test_kept_child_that_fails_tells_how_and_serves_on(call):
    with kept_children():
        assert call("counts", "exit")[0] == 3
        status, printed = call("counts", "raise")
        assert (status, printed[-1]) == (1, "ValueError: no such luck")
        assert call("counts", "x")[1][1:] == ["3 x"]


def test_kept_child_that_crashes_is_asked_again_in_a_fresh_process(call, tmp_path):
    with kept_children():
        first = call("counts", "one")[1][0]
        # What it leaves in the process is what makes it crash: a fresh one answers.
        status, printed = call("counts", "crash if not first")
        assert (status, printed[-1]) == (0, "1 crash if not first")
        # Whatever the process: the crash is the call's own.
        assert call("counts", "crash")[0] == -signal.SIGABRT
        again = call("counts", "two")[1]
        assert again[0] != first
        assert again[1:] == ["1 two"]


def test_kept_child_too_slow_is_ended_and_the_next_call_gets_another(call, fifo):
    with kept_children():
        assert call("waits", fifo[0], timeout_seconds=0.1) == (None, [])
        assert call("counts", "x")[1][1:] == ["1 x"]


def test_kept_children_end_with_the_block(call, fifo, tmp_path):
    path, read = fifo
    with kept_children():
        assert call("holds", path)[0] == 0
        assert read() == b"+"
    assert read() == b""


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
        [
            *(sys.executable, "-c", code),
            *(str(parent), str(read_end), "-1", "waits", str(path)),
        ],
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
