"""How a process asks another for a measurement: a request, and an answer, as JSON.

A caller takes `call_worker`, a worker's module `answer_call`. A worker that fails,
crashes, is killed, takes too long or too much memory is a result, so that it ends no
experiment.
"""

import contextlib
import dataclasses
import json
import sys
import time
from typing import Any

from tfcompress.atomic import temporary_folder, write_json
from tfcompress.errors import TfcompressError, require
from tfcompress.processes import (
    child_environment,
    child_process,
    describe_end,
    run_child,
)

FAILED, TOO_SLOW, OUT_OF_MEMORY = "failed", "too slow", "out of memory"

_POLL_SECONDS = 0.05
_SIGKILL = -9  # where we sent none, the kernel or a container did


@dataclasses.dataclass(frozen=True)
class WorkerResult:
    """What a worker measured, or why it could not.

    Attributes:
        values: dict of what it measured; None where it failed.
        error: one line; None where it went well.
        seconds: the whole process, start and imports included.
        failure: "failed", "too slow" or "out of memory"; None where it went well.
    """

    values: dict[str, Any] | None
    error: str | None
    seconds: float
    failure: str | None = None


def call_worker(
    module,
    request,
    *,
    name,
    num_threads,
    timeout_seconds,
    device="cpu",
    variables=None,
    memory_limit=None,
    log_path=None,
    keep_as=None,
):
    """Has another process measure something.

    Args:
        module: name of a module that ends in a call of `answer_call`.
        request: dict of JSON values.
        name: what the worker is called in an error, the begin of a sentence.
        num_threads: threads of numpy and of the runtimes in it.
        timeout_seconds: after these it is killed.
        device: "cpu" or "gpu", which it sees.
        variables: name -> value of further variables of its environment.
        memory_limit: resident bytes above which it is killed; None for no limit.
        log_path: file that what it prints is appended to; None drops it.
        keep_as: as of `run_child`; not with a `memory_limit`.
    Returns:
        `WorkerResult`.
    Raises:
        OSError: if no process can be started or the log cannot be written.
    """
    began = time.monotonic()
    with temporary_folder() as folder:
        paths = [folder / f"{each}.json" for each in ("request", "response")]
        output_path = folder / "output.txt"
        write_json(paths[0], request)
        start = {
            "environment": child_environment(num_threads, device=device)
            | dict(variables or {}),
            "output_path": output_path,
        }
        if memory_limit is None:
            limits = {"timeout_seconds": timeout_seconds, "keep_as": keep_as}
            status, is_too_large = run_child(module, paths, **start, **limits), False
        else:
            with child_process(module, paths, **start) as process:
                deadline = began + timeout_seconds
                status, is_too_large = _watch(process, memory_limit, deadline)
        printed = output_path.read_text(encoding="utf-8", errors="replace")
        if log_path is not None and printed:
            with open(log_path, "a", encoding="utf-8") as log:
                log.write(f"--- {name}\n{printed.rstrip()}\n")
        if is_too_large:
            end = f"took more than {memory_limit / 1e9:g} GB and was stopped."
            answer = _failed(OUT_OF_MEMORY, f"{name} {end}")
        elif status == 0:
            answer = json.loads(paths[1].read_text(encoding="utf-8"))
        else:
            kinds = {None: TOO_SLOW, _SIGKILL: OUT_OF_MEMORY}
            end = describe_end(status, printed, timeout_seconds)
            answer = _failed(kinds.get(status, FAILED), f"{name} {end}")
    return WorkerResult(**answer, seconds=time.monotonic() - began)


def answer_call(measure, arguments=None):
    """Is the worker: reads the request, measures, and writes the answer.

    Args:
        measure: function of the request that returns a dict of JSON values.
        arguments: paths of the request and of the response. Default: `sys.argv`.
    """
    request_path, response_path = arguments or sys.argv[1:]
    try:
        with open(request_path, encoding="utf-8") as file:
            request = json.load(file)
        answer = {"values": measure(request), "error": None, "failure": None}
    except (TfcompressError, OSError) as error:
        answer = _failed(FAILED, str(error))
    except _out_of_memory_errors() as error:
        answer = _failed(OUT_OF_MEMORY, " ".join(str(error).split())[:300])
    write_json(response_path, answer)


def _failed(kind, error):
    return {"values": None, "error": error, "failure": kind}


def _watch(process, memory_limit, deadline):
    """Waits for a process; returns its status and whether it took too much memory.

    The status is None where the time was up, or the memory.
    """
    psutil = require("psutil", extra="dev")
    with contextlib.suppress(psutil.NoSuchProcess):  # it ended between two looks
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            if watched.memory_info().rss > memory_limit:
                return None, True
            if time.monotonic() > deadline:
                return None, False
            time.sleep(_POLL_SECONDS)
    return process.wait(), False


def _out_of_memory_errors():
    """Returns what numpy raises, and TensorFlow where it is loaded."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return (MemoryError,)
    return (MemoryError, tensorflow.errors.ResourceExhaustedError)
