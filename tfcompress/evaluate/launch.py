"""Starts a worker process for one measurement, and takes whatever becomes of it."""

import dataclasses
import json
import time
from typing import Any

from tfcompress.atomic import temporary_folder, write_json
from tfcompress.errors import InvalidValueError
from tfcompress.formats import DEVICES, runtime_named
from tfcompress.processes import child_environment, describe_end, run_child

TASKS = ("quality", "latency", "memory", "runtime_memory", "weights", "placement")
_WITHOUT_EXAMPLES = ("weights", "placement")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerRequest:
    """What a worker is to measure.

    Attributes:
        task: one of `TASKS`: "quality" writes what the file puts out; "latency" times
            load, first run, batch 1 and batch 32; "memory" gives the peak with the
            model and "runtime_memory" without it; "weights" lists the
            weights in the model file; "placement" the operators that do not run on the
            device.
        artifact: path of the artifact's folder.
        examples: path of a file of `write_examples`; not needed for
            "weights" and "placement".
        predictions: path of the .npz file that "quality" writes: `output_0` and so on,
            float32, shape `(n, ...)`: what the model puts out, in the order of the
            manifest's heads.
        num_threads: threads of one run.
        runtime: name of a runtime of the artifact's format; None takes its own.
        device: of `DEVICES`.
    """

    task: str
    artifact: str
    examples: str | None = None
    predictions: str | None = None
    num_threads: int = 2
    runtime: str | None = None
    device: str = "cpu"

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
        if self.runtime is not None:
            runtime_named(self.runtime)
        if self.device not in DEVICES:
            raise InvalidValueError(
                f"Unknown device {self.device!r}; choose one of "
                f"{', '.join(map(repr, DEVICES))}."
            )
        if self.examples is None and self.task not in _WITHOUT_EXAMPLES:
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


def run_worker(request, *, timeout_seconds=1800, log_path=None, keep_as=None):
    """Measures one thing in a process of its own.

    A worker that fails, crashes, is killed or takes too long is a result with an error,
    so that it ends no experiment.

    Args:
        request: `WorkerRequest`.
        timeout_seconds: after these the worker is killed.
        log_path: file that what the worker and its runtime print is appended to; None
            drops it.
        keep_as: as of `run_child`: the runtime and device, for a task that may share
            its process with earlier ones; None where it is measured what a fresh one
            takes.
    Returns:
        `WorkerResult`.
    Raises:
        OSError: if no process can be started or the log cannot be written.
    """
    start = time.monotonic()
    with temporary_folder() as folder:
        request_path = folder / "request.json"
        response_path = folder / "response.json"
        output_path = folder / "output.txt"
        write_json(request_path, dataclasses.asdict(request))
        status = run_child(
            "tfcompress.evaluate.worker",
            [request_path, response_path],
            environment=_environment(request),
            output_path=output_path,
            timeout_seconds=timeout_seconds,
            keep_as=keep_as,
        )
        printed = output_path.read_text(encoding="utf-8", errors="replace")
        if log_path is not None and printed:
            _append(log_path, request, printed)
        if status == 0:
            response = json.loads(response_path.read_text(encoding="utf-8"))
            values, error = response["values"], response["error"]
        else:
            what = f"The worker for {request.task!r} of {request.artifact!r}"
            values = None
            error = f"{what} {describe_end(status, printed, timeout_seconds)}"
    return WorkerResult(values, error, time.monotonic() - start)


def _environment(request):
    own = {} if request.runtime is None else runtime_named(request.runtime).environment
    return child_environment(request.num_threads, device=request.device) | dict(own)


def _append(log_path, request, printed):
    with open(log_path, "a", encoding="utf-8") as log:
        log.write(f"--- {request.task} of {request.artifact}\n{printed.rstrip()}\n")
