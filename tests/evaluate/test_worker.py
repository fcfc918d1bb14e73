"""Workers: real processes on the real runtimes, and every way in which one can end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.evaluate.examples import write_examples
from tfcompress.evaluate.launch import WorkerRequest, run_worker
from tfcompress.formats import FORMATS, RUNTIMES

PACKAGES = {each.package for each in RUNTIMES.values()}
OTHERS = [("tflite", "openvino"), ("onnx", "openvino"), ("keras", "jax")]
TEXTS = ["good good good good", "bad bad"]


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "examples.jsonl"
    write_examples(path, TEXTS)
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_quality_writes_what_the_file_puts_out(
    format, tmp_path, tiny_artifact, examples
):
    request = WorkerRequest(
        task="quality",
        artifact=tiny_artifact(format).folder,
        examples=examples,
        predictions=tmp_path / "out" / "predictions.npz",
    )
    result = run_worker(request)
    assert result.error is None
    assert result.values == {"num_examples": 2}
    with np.load(request.predictions, allow_pickle=False) as saved:
        assert saved.files == ["output_0"]
        assert saved["output_0"].dtype == np.float32
        np.testing.assert_allclose(saved["output_0"], [[1.0], [-0.5]], rtol=1e-6)


@pytest.mark.parametrize(("format", "runtime"), OTHERS)
def test_quality_on_another_runtime_of_the_format(
    format, runtime, tmp_path, tiny_artifact, examples
):
    request = WorkerRequest(
        task="quality",
        artifact=tiny_artifact(format).folder,
        examples=examples,
        predictions=tmp_path / "predictions.npz",
        runtime=runtime,
    )
    result = run_worker(request)
    assert result.error is None
    with np.load(request.predictions, allow_pickle=False) as saved:
        np.testing.assert_allclose(saved["output_0"], [[1.0], [-0.5]], rtol=1e-6)


def test_placement_on_the_cpu_is_nowhere_else(tiny_artifact):
    request = WorkerRequest(task="placement", artifact=tiny_artifact().folder)
    assert run_worker(request).values == {"operators_elsewhere": []}


def test_quality_of_nan_is_a_failed_result(tmp_path, tiny_artifact):
    import onnx
    from onnx import numpy_helper

    artifact = tiny_artifact()
    model = onnx.load(artifact.folder / "model.onnx")
    bias = next(t for t in model.graph.initializer if t.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(1, np.nan, np.float32), "bias"))
    onnx.save(model, tmp_path / "model.onnx")
    artifact = tiny_artifact(model_files=[tmp_path / "model.onnx"])
    write_examples(tmp_path / "a.jsonl", TEXTS)
    request = WorkerRequest(
        task="quality",
        artifact=artifact.folder,
        examples=tmp_path / "a.jsonl",
        predictions=tmp_path / "predictions.npz",
    )
    result = run_worker(request)
    assert result.values is None
    assert "gave NaN or infinity for 2 of 2 examples" in result.error
    assert not (tmp_path / "predictions.npz").exists()


def test_latency_times_load_first_run_and_batches(tiny_artifact, examples):
    request = WorkerRequest(
        task="latency",
        artifact=tiny_artifact().folder,
        examples=examples,
        num_threads=1,
    )
    values = run_worker(request).values
    assert values["num_threads"] == 1
    assert values["sequence_length"] == 4
    assert values["load_ms"] > 0
    assert values["first_run_ms"] > 0
    for batch in ("batch_1", "batch_32"):
        assert 0 < values[batch]["p50_ms"] <= values[batch]["p90_ms"]
        assert 1 <= values[batch]["num_runs"] <= 100


def make_large_artifact(tmp_path, tiny_artifact, num_rows):
    """An artifact of the tiny model with a table of `num_rows` rows of 2 floats."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(tiny_artifact().folder / "model.onnx")
    table = next(t for t in model.graph.initializer if t.name == "table")
    rows = np.random.default_rng(0).random((num_rows, 2), np.float32)
    table.CopyFrom(numpy_helper.from_array(rows, "table"))
    onnx.save(model, tmp_path / "model.onnx")
    return tiny_artifact(model_files=[tmp_path / "model.onnx"])


def test_memory_is_that_of_the_model_and_not_of_the_parent(
    tmp_path, tiny_artifact, examples
):
    artifact = make_large_artifact(tmp_path, tiny_artifact, num_rows=5_000_000)
    parent = np.ones(400_000_000, np.uint8)  # what ru_maxrss of a child would report
    fields = {"artifact": artifact.folder, "examples": examples}
    runtime = run_worker(WorkerRequest(task="runtime_memory", **fields)).values
    model = run_worker(WorkerRequest(task="memory", **fields)).values
    assert runtime["runtime_rss_bytes"] < 250_000_000 < parent.size
    growth = model["peak_rss_bytes"] - runtime["runtime_rss_bytes"]
    assert 40_000_000 < growth < 150_000_000


@pytest.mark.parametrize("format", FORMATS)
def test_weights_lists_the_model_file(format, tiny_artifact):
    request = WorkerRequest(task="weights", artifact=tiny_artifact(format).folder)
    (table,) = [
        weight
        for weight in run_worker(request).values["weights"]
        if weight["shape"] == [8, 2]
    ]
    assert table["num_distinct_values"] == 8


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
@pytest.mark.parametrize("task", ["quality", "latency", "memory", "runtime_memory"])
def test_worker_imports_one_runtime(format, task, tmp_path, tiny_artifact, examples):
    loaded = loaded_modules(tmp_path, tiny_artifact(format), examples, task)
    heavy = {*PACKAGES, "keras", "tf_keras", "onnx", "pandas", "torch"}
    assert loaded & heavy == {FORMATS[format].runtime.package}


@pytest.mark.parametrize(
    ("format", "runtime", "packages"),
    [("onnx", "openvino", {"openvino"}), ("keras", "jax", {"jax", "keras"})],
)
def test_worker_imports_the_runtime_that_is_asked_for(
    format, runtime, packages, tmp_path, tiny_artifact, examples
):
    artifact = tiny_artifact(format)
    loaded = loaded_modules(tmp_path, artifact, examples, "quality", runtime)
    assert loaded & {*PACKAGES, "keras", "tf_keras", "onnx"} == packages


def loaded_modules(tmp_path, artifact, examples, task, runtime=None):
    """Returns the packages that a worker has imported after its task."""
    request = {
        "task": task,
        "runtime": runtime,
        "artifact": str(artifact.folder),
        "examples": str(examples),
    }
    if task == "quality":
        request["predictions"] = str(tmp_path / "predictions.npz")
    (tmp_path / "request.json").write_text(json.dumps(request))
    code = (
        "import sys\n"
        "from tfcompress.evaluate.worker import main\n"
        "main(['request.json', 'response.json'])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **(RUNTIMES[runtime].environment if runtime else {})},
    )
    assert done.returncode == 0, done.stderr
    response = json.loads((tmp_path / "response.json").read_text())
    assert response["error"] is None
    return set(done.stdout.split())


def test_run_worker_damaged_artifact_is_a_result(tiny_artifact, examples):
    folder = tiny_artifact().folder
    (folder / "model.onnx").write_bytes(b"")
    result = run_worker(
        WorkerRequest(task="latency", artifact=folder, examples=examples)
    )
    assert result.values is None
    assert "model.onnx' has 0 bytes and its manifest says" in result.error


def test_run_worker_missing_examples_is_a_result(tmp_path, tiny_artifact):
    request = WorkerRequest(
        task="memory", artifact=tiny_artifact().folder, examples=tmp_path / "none.npz"
    )
    assert "No such file or directory" in run_worker(request).error


def test_run_worker_exception_is_a_result_and_is_logged(tmp_path, tiny_artifact):
    # The first example runs; the second, which is not checked again, does not.
    path = tmp_path / "examples.npz"
    write_examples(path, {"tokens": np.array([[1] * 4, [99] * 4], np.int32)})
    log_path = tmp_path / "log.txt"
    log_path.write_text("before\n")
    request = WorkerRequest(
        task="latency", artifact=tiny_artifact().folder, examples=path
    )
    result = run_worker(request, log_path=log_path)
    assert result.values is None
    assert "failed with exit status 1: " in result.error
    assert "out of data bounds" in result.error
    assert "\n" not in result.error
    log = log_path.read_text()
    assert log.startswith("before\n--- latency of ")
    assert "Traceback" in log


@pytest.fixture
def endless(tmp_path, tiny_artifact):
    """A request whose worker waits for its examples for ever."""
    path = tmp_path / "endless.jsonl"
    os.mkfifo(path)
    return WorkerRequest(task="memory", artifact=tiny_artifact().folder, examples=path)


def test_run_worker_too_slow_is_stopped(endless):
    result = run_worker(endless, timeout_seconds=1.5)
    assert result.values is None
    assert "took longer than 1.5 s and was stopped" in result.error
    assert result.seconds >= 1.5
    assert not psutil.Process().children()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGKILL, "was ended by SIGKILL; was there too little memory?"),
        (signal.SIGSEGV, "was ended by SIGSEGV."),
    ],
)
def test_run_worker_killed_is_a_result(number, message, endless):
    results = []
    thread = threading.Thread(target=lambda: results.append(run_worker(endless)))
    thread.start()
    while not psutil.Process().children():
        time.sleep(0.01)
    (child,) = psutil.Process().children()
    child.send_signal(number)
    thread.join()
    assert results[0].values is None
    assert results[0].error.endswith(message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "speed"}, "Unknown task 'speed'; choose one of 'quality', 'latency'"),
        ({"task": "latency", "examples": None}, "The task 'latency' needs 'examples'"),
        ({"task": "quality"}, "'quality' needs 'predictions', the others do not"),
        (
            {"task": "memory", "predictions": "p"},
            "'quality' needs 'predictions', the o",
        ),
        ({"task": "memory", "num_threads": 0}, "num_threads must be positive, got 0"),
        (
            {"task": "memory", "runtime": "cuda"},
            "Unknown runtime 'cuda'; choose one",
        ),
        (
            {"task": "memory", "device": "npu"},
            "Unknown device 'npu'; choose one of",
        ),
    ],
)
def test_worker_request_that_cannot_be_raises(fields, message):
    with pytest.raises(InvalidValueError, match=message):
        WorkerRequest(**{"artifact": "a", "examples": "e.npz"} | fields)


def test_importing_evaluate_is_light():
    code = (
        "import sys, tfcompress.evaluate\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    heavy = {
        *PACKAGES,
        "keras",
        "onnx",
        "pandas",
        "rich",
        "tokenizers",
        "h5py",
    }
    assert not set(done.stdout.split()) & heavy
