"""A process that may take so much memory and time; what becomes of it is a result."""

import dataclasses
import json
import pathlib
import time

from tfcompress.atomic import temporary_folder, write_json
from tfcompress.errors import require
from tfcompress.processes import child_environment, child_process

OUT_OF_MEMORY, TIMED_OUT, FAILED = "out of memory", "too slow", "failed"

_POLL_SECONDS = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a worker.

    Attributes:
        values: dict of what it measured; `None` where it came to nothing.
        failure: `None`, "out of memory", "too slow" or "failed".
        message: line that says more of the failure, or `None`.
        seconds: the whole process, start and imports included.
    """

    values: dict | None = None
    failure: str | None = None
    message: str | None = None
    seconds: float = 0.0


def run_watched(module, request, *, num_threads, memory_limit, timeout_seconds, log):
    """Runs a worker in a fresh process and stops it where it takes too much.

    Args:
        module: name of the worker's module. It is started with two paths: it reads the
            first, `request` as JSON, and writes the second, `{"values": dict or None,
            "failure": str or None, "message": str or None}`.
        request: dict of JSON values.
        num_threads: threads of TensorFlow and numpy in it.
        memory_limit: resident bytes above which it is killed.
        timeout_seconds: after these it is killed.
        log: path of the file that what it prints is appended to.
    Returns:
        `Outcome`.
    Raises:
        OSError: if no process can be started or the log cannot be written.
    """
    began = time.monotonic()
    with temporary_folder() as folder:
        paths = [folder / f"{name}.json" for name in ("request", "answer")]
        write_json(paths[0], request)
        with child_process(
            module, paths, environment=child_environment(num_threads), output_path=log
        ) as process:
            stopped = _watch(process, memory_limit, began + timeout_seconds)
        if stopped is None and process.returncode == 0:
            stopped = json.loads(paths[1].read_text(encoding="utf-8"))
    seconds = time.monotonic() - began
    if stopped is None:
        stopped = _describe_end(process.returncode, log)
    return Outcome(**stopped, seconds=seconds)


def _watch(process, memory_limit, deadline):
    """Waits for a process; returns why it was killed, or `None`."""
    psutil = require("psutil", extra="dev")
    try:
        status = psutil.Process(process.pid)
        while process.poll() is None:
            if status.memory_info().rss > memory_limit:
                return {
                    "failure": OUT_OF_MEMORY,
                    "message": f"stopped above {memory_limit / 1e9:g} GB",
                }
            if time.monotonic() > deadline:
                return {"failure": TIMED_OUT, "message": "stopped by --timeout_minutes"}
            time.sleep(_POLL_SECONDS)
    except psutil.NoSuchProcess:
        process.wait()  # it ended between two looks
    return None


def _describe_end(status, log):
    """Returns the failure of a process that left no answer."""
    if status == -9:  # not ours: the kernel's, or a container's
        return {"failure": OUT_OF_MEMORY, "message": "killed by the system"}
    lines = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return {"failure": FAILED, "message": f"exit status {status}: {last.strip()}"}
