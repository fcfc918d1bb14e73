"""A run whose files are run by other runtimes too, added when it was finished."""

import keras
import numpy as np
import pytest

from tfcompress.data.dataset import Dataset, Split
from tfcompress.errors import InvalidValueError
from tfcompress.formats import RUNTIMES
from tfcompress.formats.target import Target
from tfcompress.record import read_records
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.own_model import OwnModelTask, prepare_model
from tfcompress.runner.rows import Row
from tfcompress.runner.settings import ExperimentSettings
from tfcompress.runtime.devices import has_device
from tfcompress.tasks import classification
from tfcompress.training import TrainingConfig

KERAS, DENSE = Target(format="keras"), Target(format="onnx")
CODED = Target(format="onnx", coding="coded")
ROWS = (
    Row(name="baseline", targets=(KERAS, DENSE)),
    Row(
        name="small",
        parent="baseline",
        recipe="cluster(8)",
        trains=False,
        targets=(KERAS, DENSE, CODED),
    ),
)
OWN = {target.key(row.name) for row in ROWS for target in row.targets}
OTHERS = {
    "baseline.keras.float32.dense.jax.cpu",
    "baseline.onnx.float32.dense.openvino.cpu",
    "small.keras.float32.dense.jax.cpu",
    "small.onnx.float32.dense.openvino.cpu",
    "small.onnx.float32.coded.openvino.cpu",
}


def make_split(num_examples, seed):
    x = np.random.default_rng(seed).normal(size=(num_examples, 32)).astype(np.float32)
    return Split({"x": x}, (x.sum(axis=1) > 0).astype(np.int32))


def run(folder, **places):
    """Runs the rows to their end; returns the exit status."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32,), name="x")
    hidden = keras.layers.Dense(64, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(hidden))
    splits = [make_split(n, seed) for seed, n in enumerate((128, 32, 64))]
    task = classification(["low", "high"])
    config = TrainingConfig(epochs=1, batch_size=32, learning_rate=0.01)
    experiment = Experiment(
        name="places",
        default_dataset="numbers",
        rows=ROWS,
        make_task=lambda dataset: OwnModelTask(
            prepare_model(model, dataset, task), dataset, config, task=task
        ),
        load_dataset=lambda: Dataset.from_splits(*splits, ["low", "high"]),
    )
    settings = ExperimentSettings(
        formats=("onnx",), num_threads=1, rounds=0, run_dir=str(folder), **places
    )
    return run_experiment(experiment, settings)


def test_finished_run_is_completed_by_other_runtimes(tmp_path, capfd):
    assert run(tmp_path) == 0
    before = read_records(tmp_path / "records")
    assert set(before) == OWN
    assert run(tmp_path, runtimes=("openvino", "jax")) == 0
    records = read_records(tmp_path / "records")
    assert set(records) == OWN | OTHERS
    assert {key: records[key] for key in OWN} == before
    assert {path.name for path in (tmp_path / "artifacts").iterdir()} == OWN
    for key in OTHERS:
        record = records[key]
        assert record["status"] == "ok", record["error"]
        assert (record["runtime"], record["device"]) == tuple(key.split(".")[-2:])
        assert record["operators_elsewhere"] == []
        assert record["quality"]["keras_agreement"] == 1
        assert record["quality"]["output_error"] < 1e-5
    coded, dense = (
        records[f"small.onnx.float32.{coding}.openvino.cpu"]
        for coding in ("coded", "dense")
    )
    assert coded["quality"]["inherited_from"] == "small.onnx.float32.dense.openvino.cpu"
    own = records[CODED.key("small")]
    assert coded["size"] == own["size"]
    assert coded["size"]["file_bytes"] < dense["size"]["file_bytes"]
    table = (tmp_path / "table.md").read_text()
    for name in ("onnx on openvino", "onnx coded on openvino", "keras on jax"):
        assert f"| small | {name} |" in table
    capfd.readouterr()
    assert run(tmp_path, runtimes=("openvino", "jax")) == 0
    assert "The run is finished" in capfd.readouterr().out


def test_device_that_is_not_here_is_told_before_anything_is_made(tmp_path):
    if has_device(RUNTIMES["onnxruntime"], "gpu"):
        pytest.skip("ONNX Runtime has a GPU here")
    message = "^There is no device 'gpu' here that onnxruntime can use: it finds "
    with pytest.raises(InvalidValueError, match=message):
        run(tmp_path, devices=("cpu", "gpu"))
    assert not [*tmp_path.iterdir()]
