"""The process that measures one artifact.

    python -m tfcompress.evaluate.worker REQUEST.json RESPONSE.json

It reads a `WorkerRequest` and writes `{"values": ..., "error": ...}`, whole or not at
all. It needs the artifact's folder, its runtime, numpy and `tokenizers`, and imports no
other runtime. Started by `run_worker`, which also takes care of a worker that crashes.
"""

import json
import sys
import time

import numpy as np

from tfcompress.artifact import Artifact
from tfcompress.atomic import atomic_file, write_json
from tfcompress.errors import TfcompressError
from tfcompress.evaluate.examples import read_examples
from tfcompress.evaluate.exported_weights import list_weights
from tfcompress.evaluate.gpu import process_gpu_bytes
from tfcompress.evaluate.latency import make_batches, measure_latency
from tfcompress.evaluate.launch import WorkerRequest
from tfcompress.evaluate.memory import peak_rss_bytes
from tfcompress.runtime import import_runtime, operators_elsewhere

BATCH_SIZES = (1, 32)
_MEMORY_RUNS = 3  # of each batch size: the first ones grow the runtime's arenas


def measure(request):
    """Does what a request asks for, in this process.

    Args:
        request: `WorkerRequest`.
    Returns:
        Dict of JSON values; its keys depend on the task.
    Raises:
        TfcompressError: if the artifact cannot be used or a result is no number.
        OSError: if a file cannot be read or written.
    """
    artifact = Artifact.load(request.artifact)
    if request.task == "weights":
        return _list_weights(artifact)
    if request.task == "placement":
        return _list_elsewhere(artifact, request)
    examples = read_examples(request.examples)
    import_runtime(artifact.manifest.format, _runtime(artifact, request))
    return _TASKS[request.task](artifact, examples, request)


def main(arguments):
    """Runs the worker.

    Args:
        arguments: paths of the request and of the response.
    """
    request_path, response_path = arguments
    values = error = None
    try:
        with open(request_path, encoding="utf-8") as file:
            values = measure(WorkerRequest(**json.load(file)))
    except (TfcompressError, OSError) as failure:
        error = str(failure)
    write_json(response_path, {"values": values, "error": error})


def _list_weights(artifact):
    weights = list_weights(
        artifact.manifest.format, artifact.folder, artifact.manifest.model_files
    )
    return {"weights": [weight.to_json() for weight in weights]}


def _list_elsewhere(artifact, request):
    found = operators_elsewhere(
        artifact.manifest.format,
        artifact.folder,
        artifact.manifest.model_files,
        runtime=_runtime(artifact, request),
        device=request.device,
    )
    return {"operators_elsewhere": None if found is None else list(found)}


def _runtime(artifact, request):
    return request.runtime or artifact.manifest.runtime


def _open(artifact, request):
    return artifact.open(
        num_threads=request.num_threads,
        runtime=request.runtime,
        device=request.device,
    )


def _predict(artifact, examples, request):
    with _open(artifact, request):
        outputs = artifact.predict_outputs(examples)
    with atomic_file(request.predictions) as path:
        arrays = {f"output_{i}": array for i, array in enumerate(outputs.values())}
        np.savez(path, **arrays)
    return {"num_examples": len(next(iter(outputs.values())))}


def _measure_latency(artifact, examples, request):
    inputs = _full_length(artifact, examples)
    first = make_batches(inputs, 1)[0]
    start = time.perf_counter()
    _open(artifact, request)
    loaded = time.perf_counter()
    artifact.session.run(first)
    ran = time.perf_counter()
    values = {
        "load_ms": 1e3 * (loaded - start),
        "first_run_ms": 1e3 * (ran - loaded),
        "num_threads": request.num_threads,
        "sequence_length": artifact.manifest.sequence_length,
    }
    for size in BATCH_SIZES:
        values[f"batch_{size}"] = measure_latency(artifact.session, inputs, size)
    return values


def _measure_memory(artifact, examples, request):
    inputs = _full_length(artifact, examples)
    _open(artifact, request)
    for size in BATCH_SIZES:
        batch = make_batches(inputs, size)[0]
        for _ in range(_MEMORY_RUNS):
            artifact.session.run(batch)
    # Of the device the runtimes keep what they have had, so that this is the peak too.
    gpu_bytes = None if request.device == "cpu" else process_gpu_bytes()
    return {"peak_rss_bytes": peak_rss_bytes(), "gpu_bytes": gpu_bytes}


def _measure_runtime_memory(artifact, examples, request):
    del request  # nothing is run
    inputs = _full_length(artifact, examples)
    for size in BATCH_SIZES:
        make_batches(inputs, size)
    return {"runtime_rss_bytes": peak_rss_bytes()}


def _full_length(artifact, examples):
    """Returns the inputs padded to the artifact's length, whatever theirs is.

    A model that takes any length is measured at the longest, which the record states.
    """
    return artifact.to_arrays(examples, length=artifact.manifest.sequence_length)


_TASKS = {
    "quality": _predict,
    "latency": _measure_latency,
    "memory": _measure_memory,
    "runtime_memory": _measure_runtime_memory,
}

if __name__ == "__main__":
    main(sys.argv[1:])
