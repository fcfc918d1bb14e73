"""A regression and a model of two outputs go through the whole house, from Python.

A classifier does in `test_building.py` and in the experiments.
"""

import keras
import numpy as np
import pytest

from tfcompress.artifact import Artifact
from tfcompress.data.dataset import Dataset, Split
from tfcompress.formats.target import Target
from tfcompress.record import read_records
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.own_model import OwnModelTask, prepare_model
from tfcompress.runner.rows import Row
from tfcompress.runner.settings import ExperimentSettings
from tfcompress.tasks import classification, regression, several_outputs
from tfcompress.training import TrainingConfig

KERAS, DENSE = Target(format="keras"), Target(format="onnx")
CODED = Target(format="onnx", coding="coded")
FILES = (KERAS, DENSE, CODED)
ROWS = (
    Row(name="baseline", targets=FILES),
    Row(name="control", parent="baseline", targets=(KERAS,)),
    Row(
        name="small",
        parent="baseline",
        recipe="cluster(8, sensitivity='fisher')",
        control="control",
        targets=FILES,
    ),
)
SMALL = {target.coding: target.key("small") for target in FILES[1:]}
BASELINE, CONTROL = KERAS.key("baseline"), KERAS.key("control")
KINDS = ["low", "middle", "high"]


def make_split(num_examples, seed):
    """Numbers whose sum is the price, and whose kind is told by it."""
    x = np.random.default_rng(seed).normal(size=(num_examples, 16)).astype(np.float32)
    price = x.sum(axis=1) / 4
    kind = np.digitize(price, [-0.5, 0.5]).astype(np.int32)
    return Split({"x": x}, {"price": price, "kind": kind, "labels": kind})


def make_model(**units):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16,), name="x")
    hidden = keras.layers.Dense(64, "relu", name="hidden")(inputs)
    outputs = [
        keras.layers.Dense(n, name=name, activation="softmax" if n > 1 else None)(
            hidden
        )
        for name, n in units.items()
    ]
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])


def run(folder, task, model):
    """Runs the rows to their end; returns exit status and records."""
    splits = [make_split(n, seed) for seed, n in enumerate((256, 64, 128))]
    config = TrainingConfig(epochs=4, batch_size=32, learning_rate=0.01)
    experiment = Experiment(
        name="numbers",
        default_dataset="numbers",
        rows=ROWS,
        make_task=lambda dataset: OwnModelTask(
            prepare_model(model, dataset, task), dataset, config, task=task
        ),
        load_dataset=lambda: Dataset.from_splits(*splits, KINDS),
    )
    settings = ExperimentSettings(
        formats=("onnx",),
        codings=("dense", "coded"),
        num_threads=1,
        rounds=0,
        run_dir=str(folder),
    )
    status = run_experiment(experiment, settings)
    return status, read_records(folder / "records"), splits[2]


def check_figures(records, task):
    """What holds of every task: intervals, pairs, and what a coded file inherits."""
    for record in records.values():
        assert record["status"] == "ok", record["error"]
        assert record["quality"]["primary"] == task.primary
        assert list(record["quality"]["metrics"]) == list(task.metrics)
        for figure in record["quality"]["metrics"].values():
            assert figure["low"] <= figure["value"] <= figure["high"]
    dense, coded = (records[SMALL[coding]] for coding in ("dense", "coded"))
    assert coded["quality"]["inherited_from"] == SMALL["dense"]
    assert coded["quality"]["metrics"] == dense["quality"]["metrics"]
    assert coded["size"]["file_bytes"] < 0.7 * dense["size"]["file_bytes"]
    assert coded["comparisons"] == dense["comparisons"]
    pairs = [(each["against"], each["metric"]) for each in dense["comparisons"]]
    assert pairs == [(key, n) for key in (BASELINE, CONTROL) for n in task.metrics]
    for found in dense["comparisons"]:
        figures = [
            record["quality"]["metrics"][found["metric"]]["value"]
            for record in (dense, records[found["against"]])
        ]
        assert found["difference"] == pytest.approx(figures[0] - figures[1])
        assert found["low"] <= found["difference"] <= found["high"]
    trained = records[BASELINE]["training"]
    assert trained["metric"] == task.primary
    assert trained["validation_score"] is not None
    assert list(trained["objective"]) == [output.name for output in task.outputs]


def test_regression_goes_through_the_house(tmp_path, capfd):
    task = regression(name="price", unit="EUR")
    status, records, test = run(tmp_path, task, make_model(price=1))
    assert status == 0
    check_figures(records, task)
    quality = records[BASELINE]["quality"]
    assert quality["metrics"]["r2"]["value"] > 0.8
    rmse = quality["metrics"]["rmse"]
    assert (rmse["unit"], rmse["higher_is_better"]) == ("EUR", False)
    assert records[SMALL["dense"]]["quality"]["keras_agreement"] is None
    assert records[SMALL["dense"]]["quality"]["output_error"] < 1e-4
    with Artifact.load(tmp_path / "artifacts" / SMALL["coded"]) as artifact:
        values = artifact.predict(dict(test.inputs)).values
    found = np.sqrt(np.mean((values[:, 0] - test.targets["price"]) ** 2))
    value = records[SMALL["coded"]]["quality"]["metrics"]["rmse"]["value"]
    assert found == pytest.approx(value, rel=1e-5)
    assert "EUR of RMSE, 95% interval" in capfd.readouterr().out
    table = (tmp_path / "table.md").read_text()
    assert "| RMSE | " in table
    assert "lower is better" in table
    assert "The files put out values, as the model does." in table


def test_two_outputs_go_through_the_house(tmp_path):
    task = several_outputs(
        {"kind": classification(KINDS), "price": regression()},
        weights={"price": 0.5},
        primary="price.mae",
    )
    status, records, test = run(tmp_path, task, make_model(kind=3, price=1))
    assert status == 0
    check_figures(records, task)
    quality = records[BASELINE]["quality"]
    assert quality["metrics"]["kind.accuracy"]["value"] > 0.7
    assert quality["metrics"]["price.r2"]["value"] > 0.8
    assert records[SMALL["dense"]]["quality"]["keras_agreement"] == 1
    with Artifact.load(tmp_path / "artifacts" / SMALL["coded"]) as artifact:
        found = artifact.predict(dict(test.inputs))
    share = np.mean(found["kind"].indices == test.targets["kind"])
    metrics = records[SMALL["coded"]]["quality"]["metrics"]
    assert share == pytest.approx(metrics["kind.accuracy"]["value"])
    error = np.abs(found["price"].values[:, 0] - test.targets["price"]).mean()
    assert error == pytest.approx(metrics["price.mae"]["value"], rel=1e-5)
    assert "| price MAE | " in (tmp_path / "table.md").read_text()
