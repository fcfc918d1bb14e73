"""Starts a worker process for one measurement, and takes whatever becomes of it."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from tfcompress.atomic import write_json
from tfcompress.errors import InvalidValueError

TASKS = ("quality", "latency", "memory", "runtime_memory", "weights")

_PACKAGE_ROOT = pathlib.Path(__file__).parents[2]
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerRequest:
    """What a worker is to measure.

    Attributes:
        task: one of `TASKS`: "quality" writes predictions; "latency" times load, first
            run, batch 1 and batch 32; "memory" gives the peak with the model and
            "runtime_memory" without it; "weights" lists the weights in the model file.
        artifact: path of the artifact's folder.
        examples: path of a file of `write_examples`; not needed for "weights".
        predictions: path of the .npz file that "quality" writes: `indices` (int32,
            shape `(n,)`) and `outputs` (float32, shape `(n, units)`): what the model
            puts out.
        num_threads: threads of one run.
    """

    task: str
    artifact: str
    examples: str | None = None
    predictions: str | None = None
    num_threads: int = 2

    def __post_init__(self):
        if self.task not in TASKS:
            raise InvalidValueError(
                f"Unknown task {self.task!r}; choose one of "
                f"{', '.join(map(repr, TASKS))}."
            )
        if self.num_threads < 1:
            raise InvalidValueError(
                f"num_threads must be positive, got {self.num_threads!r}."
            )
        if self.examples is None and self.task != "weights":
            raise InvalidValueError(f"The task {self.task!r} needs 'examples'.")
        if (self.predictions is None) == (self.task == "quality"):
            raise InvalidValueError(
                "The task 'quality' needs 'predictions', the others do not take it."
            )
        for field in ("artifact", "examples", "predictions"):
            value = getattr(self, field)
            if value is not None:  # the worker reads the request as JSON
                object.__setattr__(self, field, str(value))


@dataclasses.dataclass(frozen=True)
class WorkerResult:
    """What a worker measured, or why it could not.

    Attributes:
        values: dict of what the task measured; None where it failed.
        error: one line; None where it went well.
        seconds: the whole process, start and imports included.
    """

    values: dict[str, Any] | None
    error: str | None
    seconds: float


def run_worker(request, *, timeout_seconds=1800, log_path=None):
    """Measures one thing in a fresh process.

    A worker that fails, crashes, is killed or takes too long is a result with an error,
    so that it ends no experiment.

    Args:
        request: `WorkerRequest`.
        timeout_seconds: after these the worker is killed.
        log_path: file that what the worker and its runtime print is appended to; None
            drops it.
    Returns:
        `WorkerResult`.
    Raises:
        OSError: if no process can be started or the log cannot be written.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
        request_path = pathlib.Path(folder, "request.json")
        response_path = pathlib.Path(folder, "response.json")
        output_path = pathlib.Path(folder, "output.txt")
        write_json(request_path, dataclasses.asdict(request))
        # -P: no module of the current folder may take the place of an installed one.
        command = [sys.executable, "-P", "-m", "tfcompress.evaluate.worker"]
        try:
            with output_path.open("wb") as output:
                status = subprocess.run(
                    [*command, str(request_path), str(response_path)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=worker_environment(request.num_threads),
                    timeout=timeout_seconds,
                    check=False,
                ).returncode
        except subprocess.TimeoutExpired:
            status = None
        printed = output_path.read_text(encoding="utf-8", errors="replace")
        if log_path is not None and printed:
            _append(log_path, request, printed)
        if status == 0:
            response = json.loads(response_path.read_text(encoding="utf-8"))
            values, error = response["values"], response["error"]
        else:
            values = None
            error = _describe_end(request, status, printed, timeout_seconds)
    return WorkerResult(values, error, time.monotonic() - start)


def worker_environment(num_threads):
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


def _append(log_path, request, printed):
    with open(log_path, "a", encoding="utf-8") as log:
        log.write(f"--- {request.task} of {request.artifact}\n{printed.rstrip()}\n")


def _describe_end(request, status, printed, timeout_seconds):
    """Says in one line how a worker ended that left no response."""
    what = f"The worker for {request.task!r} of {request.artifact!r}"
    if status is None:
        return f"{what} took longer than {timeout_seconds:g} s and was stopped."
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        hint = "; was there too little memory?" if name == "SIGKILL" else "."
        return f"{what} was ended by {name}{hint}"
    lines = printed.strip().splitlines()
    return f"{what} failed with exit status {status}: {lines[-1] if lines else ''}"
