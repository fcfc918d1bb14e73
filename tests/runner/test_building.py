"""Rows built on real runtimes: a target that fails ends no run and hides nothing."""

import keras
import numpy as np
import pytest

from tfcompress.data.dataset import Dataset, Split
from tfcompress.errors import UnsupportedModelError
from tfcompress.formats.target import Target
from tfcompress.record import read_records, write_record
from tfcompress.runner import artifacts
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.own_model import OwnModelTask
from tfcompress.runner.rows import Row
from tfcompress.runner.settings import ExperimentSettings
from tfcompress.training import TrainingConfig

TARGETS = (Target(format="keras"), Target(format="onnx"))
ROWS = (
    Row(name="baseline", trains=False, targets=TARGETS),
    Row(
        name="small",
        parent="baseline",
        recipe="cluster(4)",
        trains=False,
        targets=TARGETS,
    ),
)
METRICS = ["accuracy", "macro_f1"]
BASELINE, SMALL = (f"{row.name}.onnx.float32.dense.onnxruntime.cpu" for row in ROWS)


def make_task(dataset):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16,), name="x")
    outputs = keras.layers.Dense(3, "softmax", name="end")(inputs)
    return OwnModelTask(keras.Model(inputs, outputs), dataset, TrainingConfig(epochs=1))


def make_dataset():
    rng = np.random.default_rng(0)
    split = Split(
        {"x": rng.normal(size=(40, 16)).astype(np.float32)}, np.arange(40) % 3
    )
    return Dataset.from_splits(split, split, split, ["a", "b", "c"])


@pytest.fixture
def run(tmp_path):
    """Function: runs the two rows to their end; returns exit status and records."""
    settings = ExperimentSettings(
        formats=("onnx",),
        codings=("dense",),
        num_threads=1,
        rounds=0,
        run_dir=str(tmp_path / "run"),
    )
    experiment = Experiment(
        name="two_rows",
        default_dataset="numbers",
        rows=ROWS,
        make_task=make_task,
        load_dataset=make_dataset,
    )

    def run_all():
        status = run_experiment(experiment, settings)
        return status, read_records(tmp_path / "run" / "records")

    run_all.folder = tmp_path / "run"
    return run_all


def fail_once(monkeypatch, error):
    """Lets the first ONNX export raise an error."""
    export, errors = artifacts.export_model, [error]

    def export_model(model, format, *args, **kwargs):
        if format == "onnx" and errors:
            raise errors.pop()
        return export(model, format, *args, **kwargs)

    monkeypatch.setattr(artifacts, "export_model", export_model)


def test_run_goes_on_without_the_baselines_file(run, monkeypatch, capfd):
    """Whoever raised it: a record, one line, no ratio, and exit status 1."""
    advice = "unsupported [operator] Erfc\nPlease file a bug at example.com"
    fail_once(monkeypatch, ValueError(advice))
    status, records = run()
    out = capfd.readouterr().out
    assert status == 1
    assert records[BASELINE]["status"] == "failed"
    assert records[BASELINE]["error"] == "ValueError: unsupported [operator] Erfc"
    assert "unsupported [operator] Erfc" in out
    assert "example.com" not in out
    assert records[SMALL]["status"] == "ok"
    assert records[SMALL]["size"]["compression_ratio"] is None
    scored = (run.folder / "predictions" / f"{SMALL}.npz").stat().st_mtime_ns

    # The next start tries the file again, and scores nothing else anew.
    status, records = run()
    assert status == 0
    assert records[BASELINE]["size"]["compression_ratio"] == 1
    sizes = [records[key]["size"]["file_bytes"] for key in (BASELINE, SMALL)]
    assert records[SMALL]["size"]["compression_ratio"] == sizes[0] / sizes[1]
    again = (run.folder / "predictions" / f"{SMALL}.npz").stat().st_mtime_ns
    assert again == scored
    assert records[SMALL]["quality"]["output_error"] < 1e-5
    assert records[SMALL]["layers"][-1]["exported"]["kernel"]["distinct_values"] == 4
    table = (run.folder / "table.md").read_text()
    assert "failed" not in table
    assert "| accuracy | 95% interval | macro F1 | agree |" in table
    quality = records[SMALL]["quality"]
    assert (quality["primary"], list(quality["metrics"])) == ("accuracy", METRICS)
    keras_key = BASELINE.replace("onnx.", "keras.").replace("onnxruntime", "tensorflow")
    compared = [(c["against"], c["metric"]) for c in records[SMALL]["comparisons"]]
    assert compared == [(keras_key, metric) for metric in METRICS]

    # It is finished now, until a timing is to be tried again.
    assert run()[0] == 0
    assert "The run is finished" in capfd.readouterr().out
    untimed = records[SMALL] | {"timing_error": "The worker was stopped."}
    write_record(run.folder / "records" / f"{SMALL}.json", untimed)
    assert run()[0] == 0
    out = capfd.readouterr().out
    assert "The run is finished" not in out
    assert "Not timed: small, onnx: The worker was stopped." in out


def test_error_of_this_package_stands_in_the_record_as_it_is(run, monkeypatch):
    fail_once(monkeypatch, UnsupportedModelError("Layer 'end' cannot be written."))
    status, records = run()
    assert status == 1
    assert records[BASELINE]["error"] == "Layer 'end' cannot be written."
