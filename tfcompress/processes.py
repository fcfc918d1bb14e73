"""Processes of our own that never outlive the one that started them.

A worker that went on after its run was killed would take the machine from the next run
and write into its folder. So a child watches its parent in two ways. Linux itself kills
it when the parent ends, whatever it is doing; and a pipe that the parent alone holds
open tells it so on every system. Both are set up before it imports anything else, and
it looks once more afterwards: a parent that was gone by then is noticed too. What a
child starts by the same way ends with it in turn.
"""

import contextlib
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import threading

_PACKAGE_ROOT = pathlib.Path(__file__).parents[1]
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def run_child(module, arguments, *, environment, output_path, timeout_seconds):
    """Runs `python -m module` in a fresh process and waits for its end.

    Args:
        module: dotted name of the module.
        arguments: its arguments; paths are made text.
        environment: dict of its environment variables, see `child_environment`.
        output_path: file that all it prints is appended to.
        timeout_seconds: after these it is killed, with all that it has started.
    Returns:
        Its exit status, below 0 the number of the signal that ended it; `None` where it
        took too long. `describe_end` says it in words.
    Raises:
        OSError: if no process can be started or the output cannot be written.
    """
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
    # -P: no module of the current folder may take the place of an installed one.
    start = "from tfcompress.processes import _main; _main()"
    command = [sys.executable, "-P", "-c", start, str(os.getpid())]
    read_end, write_end = os.pipe()
    try:
        with open(output_path, "ab") as output:
            process = subprocess.Popen(
                [*command, str(read_end), module, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(read_end,),
                process_group=0,  # so that what it starts can be killed with it
            )
        try:
            yield process
        finally:
            kill_child(process)
    finally:
        os.close(read_end)
        os.close(write_end)


def kill_child(process):
    """Kills a process of `child_process`, if it runs, and what it has started."""
    if process.poll() is None:  # its number is not yet free for another process
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def child_environment(num_threads):
    """Returns the parent's environment, with threads pinned and no GPU.

    Args:
        num_threads: threads of the process that gets it.
    """
    known = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        **dict.fromkeys(_THREAD_VARIABLES, str(num_threads)),
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "",  # every runtime is measured on the CPU
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


def _main():
    """Is the child: `PARENT DESCRIPTOR MODULE ARGUMENTS...` in `sys.argv`."""
    parent, descriptor, module = sys.argv[1:4]
    _end_with(int(parent), int(descriptor))
    sys.argv[1:] = sys.argv[4:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


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
