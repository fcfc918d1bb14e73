"""Processes of our own that never outlive the one that started them.

A worker that went on after its run was killed would take the machine from the next run
and write into its folder. So a child watches its parent in two ways. Linux itself kills
it when the parent ends, whatever it is doing; and a pipe that the parent alone holds
open tells it so on every system. Both are set up before it imports anything else, and
it looks once more afterwards: a parent that was gone by then is noticed too. What a
child starts by the same way ends with it in turn.

A child that imports a framework for seconds to work for a tenth of one can be kept for
further calls: within `kept_children()`, `run_child(..., keep_as=...)` starts it once.
"""

import contextlib
import contextvars
import json
import os
import pathlib
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback

_PACKAGE_ROOT = pathlib.Path(__file__).parents[1]
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "NPROC",  # of XLA's pool on the CPU
)
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_kept = contextvars.ContextVar("kept children", default=None)


def run_child(
    module, arguments, *, environment, output_path, timeout_seconds, keep_as=None
):
    """Runs `python -m module` in another process and waits for its end.

    Args:
        module: dotted name of the module.
        arguments: its arguments; paths are made text.
        environment: dict of its environment variables, see `child_environment`.
        output_path: file that all it prints is appended to.
        timeout_seconds: after these it is killed, with all that it has started.
        keep_as: text that the calls which may share a process have in common, where
            `kept_children` keeps them; None for a fresh process in any case.
    Returns:
        Its exit status, below 0 the number of the signal that ended it; `None` where it
        took too long. `describe_end` says it in words.
    Raises:
        OSError: if no process can be started or the output cannot be written.
    """
    arguments = list(map(str, arguments))
    kept = None if keep_as is None else _kept.get()
    if kept is not None:
        child, is_fresh = kept.child(module, environment, keep_as)
        status = child.call(arguments, output_path, timeout_seconds)
        if status is None or status >= 0 or is_fresh:
            return status
        # It crashed, maybe of what an earlier call has left: a fresh one tells.
    with child_process(
        module, arguments, environment=environment, output_path=output_path
    ) as process:
        try:
            return process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None


@contextlib.contextmanager
def child_process(module, arguments, *, environment, output_path):
    """Starts `python -m module`; whatever happens, it has ended when the block ends.

    Args:
        module, arguments, environment, output_path: as `run_child` takes them.
    Yields:
        `subprocess.Popen`; `kill_child` stops it before its time.
    Raises:
        OSError: if no process can be started or the output cannot be written.
    """
    with (
        open(output_path, "ab") as output,
        _started([module, *map(str, arguments)], environment, output) as process,
    ):
        yield process


@contextlib.contextmanager
def kept_children():
    """Keeps children for further calls of `run_child` until the block ends.

    One for each module and `keep_as`, with the environment of its first call: the
    packages that a run imports change the variables of this process. A call that
    crashes or hangs costs its child alone: the next call starts another.
    """
    kept = _KeptChildren()
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
        kept.close()


def kill_child(process):
    """Kills a process of `child_process`, if it runs, and what it has started."""
    if process.poll() is None:  # its number is not yet free for another process
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def child_environment(num_threads, *, device="cpu"):
    """Returns the parent's environment, with threads pinned and Keras on TensorFlow.

    Args:
        num_threads: threads of the process that gets it.
        device: "cpu" hides CUDA's devices; on a "gpu" memory is taken as it is needed,
            so that what is measured is the model's.
    """
    known = os.environ.get("PYTHONPATH")
    of_device = {
        "cpu": {"CUDA_VISIBLE_DEVICES": ""},
        "gpu": {
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        },
    }
    return {
        **os.environ,
        **dict.fromkeys(_THREAD_VARIABLES, str(num_threads)),
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        **of_device[device],
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), known])),
    }


def describe_end(status, printed, timeout_seconds):
    """Says how a child ended that did not do its work.

    Args:
        status: as of `run_child`.
        printed: text of what it printed.
        timeout_seconds: those that it was given.
    Returns:
        The end of a sentence that begins with the child's name, on one line.

    >>> describe_end(-11, "", 60)
    'was ended by SIGSEGV.'
    >>> describe_end(None, "", 60)
    'took longer than 60 s and was stopped.'
    """
    if status is None:
        return f"took longer than {timeout_seconds:g} s and was stopped."
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        hint = "; was there too little memory?" if name == "SIGKILL" else "."
        return f"was ended by {name}{hint}"
    lines = printed.strip().splitlines()
    return f"failed with exit status {status}: {lines[-1] if lines else ''}"


@contextlib.contextmanager
def _started(arguments, environment, output, *, keep=None):
    """Starts a child; it has ended when the block ends.

    Args:
        arguments: the module's name and arguments.
        environment: dict.
        output: open file that all it prints goes to.
        keep: descriptor of a pipe that a kept child answers by; None for one call.
    """
    # -P: no module of the current folder may take the place of an installed one.
    start = "from tfcompress.processes import _main; _main()"
    command = [sys.executable, "-P", "-c", start, str(os.getpid())]
    read_end, write_end = os.pipe()
    passed = (read_end,) if keep is None else (read_end, keep)
    try:
        process = subprocess.Popen(
            [*command, str(read_end), str(-1 if keep is None else keep), *arguments],
            stdin=subprocess.DEVNULL if keep is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=passed,
            process_group=0,  # so that what it starts can be killed with it
        )
        try:
            yield process
        finally:
            kill_child(process)
            if process.stdin is not None:
                with contextlib.suppress(OSError):  # of what it has not read
                    process.stdin.close()
    finally:
        os.close(read_end)
        os.close(write_end)


class _KeptChildren:
    """Children by module and name."""

    def __init__(self):
        self._children = {}

    def child(self, module, environment, name):
        """Returns the child to call, and whether this is its first call."""
        key = (module, name)
        child = self._children.get(key)
        if child is not None and child.is_running:
            return child, False
        self._children[key] = child = _KeptChild(module, environment)
        return child, True

    def close(self):
        for child in self._children.values():
            child.close()


class _KeptChild:
    """A child that runs its module once for each call."""

    def __init__(self, module, environment):
        self._stack = contextlib.ExitStack()
        # Without a name, so that a kill leaves nothing to sweep.
        self._output = self._stack.enter_context(
            tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
        )
        answers, write_end = os.pipe()
        self._answers = self._stack.enter_context(
            open(answers, "rb", buffering=0)  # noqa: SIM115 - the stack closes it
        )
        try:
            self._process = self._stack.enter_context(
                _started([module], environment, self._output, keep=write_end)
            )
        finally:
            os.close(write_end)
        self.is_running = True

    def call(self, arguments, output_path, timeout_seconds):
        """Runs the module; arguments and result are those of `run_child`."""
        descriptor = self._output.fileno()
        begin = os.fstat(descriptor).st_size
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is seen below
            self._process.stdin.write(json.dumps(arguments).encode() + b"\n")
            self._process.stdin.flush()
        status, answer = None, b""
        if select.select([self._answers], [], [], timeout_seconds)[0]:
            answer = self._answers.read(16)
            status = int(answer) if answer else self._process.wait()
        else:
            kill_child(self._process)
        with open(output_path, "ab") as file:
            size = os.fstat(descriptor).st_size - begin
            file.write(os.pread(descriptor, size, begin))
        if not answer:
            self.close()
        return status

    def close(self):
        """Ends the child."""
        self.is_running = False
        self._stack.close()


def _main():
    """Is the child: `PARENT DESCRIPTOR KEEP MODULE ARGUMENTS...` in `sys.argv`."""
    parent, descriptor, keep = map(int, sys.argv[1:4])
    module = sys.argv[4]
    _end_with(parent, descriptor)
    sys.argv[1:] = sys.argv[5:]
    if keep < 0:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    os.set_inheritable(keep, False)
    for line in sys.stdin:
        sys.argv[1:] = json.loads(line)
        os.write(keep, b"%d\n" % _status_of(module))


def _status_of(module):
    """Runs a module as a program; returns the status that it ends with."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return 0
    except SystemExit as error:
        return 0 if error.code is None else int(error.code)
    except BaseException:  # noqa: BLE001 - a process of its own would end by any
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _end_with(parent, descriptor):
    """Lets this process end with its parent.

    Args:
        parent: the parent's number.
        descriptor: of a pipe that the parent alone holds open, and never writes to.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_wait_for, args=(descriptor,), daemon=True).start()
    if os.getppid() != parent:  # it ended before it could be watched
        _end_group()


def _wait_for(descriptor):
    os.read(descriptor, 1)  # returns when the last one who holds the pipe has ended
    _end_group()


def _end_group():
    os.killpg(0, signal.SIGKILL)
