"""Functions of steps: each writes a file, and some do not come so far."""

import os
import pathlib
import signal
import time

from tfcompress.atomic import atomic_file
from tfcompress.errors import TrainingError


def write(path, text="done", begun=None):
    """Writes a file; `begun` is one that counts how often this was begun."""
    _count(begun)
    _write(path, text)


def join(path, inputs):
    """Writes a file of the contents of others."""
    _write(path, "".join(pathlib.Path(each).read_text() for each in inputs))


def sleep(path, seconds):
    """Takes its time."""
    time.sleep(seconds)
    _write(path, "slept")


def overlap(path, folder):
    """Writes the names of the steps that are at work while it is."""
    mark = pathlib.Path(folder, f"at_work_{pathlib.Path(path).stem}")
    mark.touch()
    time.sleep(0.2)
    found = sorted(each.name for each in pathlib.Path(folder).glob("at_work_*"))
    mark.unlink()
    _write(path, "\n".join(found))


def die(path, begun, times):
    """Ends its process as often as is said, then writes."""
    if _count(begun) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    _write(path, "survived")


def kill_ray_worker(path, begun, times):
    """Ends the Ray worker, and with it this process, as often as is said."""
    if _count(begun) <= times:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    _write(path, "survived")


def wait_for(path, begun):
    """Says through a fifo that it is at work, and never ends."""
    pathlib.Path(begun).write_text("+")
    time.sleep(3600)


def write_and_die(path):
    """Ends its process once all is done."""
    _write(path, "done")
    os.kill(os.getpid(), signal.SIGKILL)


def forget(path):
    """Does not write what it should."""


def diverge(path):
    raise TrainingError("The loss is not a number.")


def fail_with_a_bug(path):
    raise ZeroDivisionError("a bug")


def open_missing(path):
    pathlib.Path(path, "missing").read_text()


def process_number(path):
    _write(path, str(os.getpid()))


def _count(path):
    """Adds a byte to a file; returns how many it has then."""
    if path is None:
        return 0
    with open(path, "ab") as file:
        file.write(b"+")
        return file.tell()


def _write(path, text):
    with atomic_file(path) as temporary:
        temporary.write_text(text)
