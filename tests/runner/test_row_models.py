"""Tests of the kept models: made once, whole or not at all."""

import json
import resource

import keras
import numpy as np
import pytest

from tfcompress.errors import TrainingError
from tfcompress.runner.row_models import RowModels
from tfcompress.runner.rows import Row
from tfcompress.training import TrainingLog

ROWS = (
    Row(name="baseline"),
    Row(name="clustered", parent="baseline", recipe="cluster(4)", trains=False),
)


class Task:
    """The smallest task: a dense layer that is not really trained."""

    error = None

    def build_model(self):
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)])

    def training(self, row, on_progress, checkpoint_folder):
        return self

    def fit(self, model, callbacks=()):
        if self.error:
            raise self.error
        return TrainingLog(1, 2.0, 1.5, 0.75)


def test_make_keeps_model_and_notes_of_each_row(tmp_path):
    models = RowModels(ROWS, Task(), tmp_path)
    assert not models.is_made("baseline")
    models.make("baseline")
    models.make("clustered")
    again = RowModels(ROWS, Task(), tmp_path)
    assert again.is_made("clustered")
    assert again.notes("baseline")["training"]["seconds_per_epoch"] == 1.5
    assert again.notes("clustered")["training"] == {}
    assert again.notes("clustered")["layers"][-1]["status"] == "compressed"
    kernel = again.get("clustered").layers[-1].get_weights()[0]
    assert len(np.unique(kernel)) == 4


def test_notes_of_older_code_are_read(tmp_path):
    models = RowModels(ROWS, Task(), tmp_path)
    models.make("baseline")
    path = tmp_path / "baseline.json"
    text = path.read_text().replace('"validation_score"', '"validation_accuracy"')
    notes = json.loads(text)
    del notes["training"]["metric"]
    path.write_text(json.dumps(notes))
    found = models.notes("baseline")["training"]
    assert (found["metric"], found["validation_score"]) == ("accuracy", 0.75)


@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: c[: len(c) // 2], lambda c: b"\xff\x00" * 99]
)
@pytest.mark.parametrize("suffix", ["keras", "structures.npz", "json"])
def test_make_damaged_model_is_not_made_and_is_made_again(tmp_path, suffix, damage):
    models = RowModels(ROWS, Task(), tmp_path)
    models.make("baseline")
    models.make("clustered")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    path = tmp_path / f"clustered.{suffix}"
    path.write_bytes(damage(path.read_bytes()))
    again = RowModels(ROWS, Task(), tmp_path)
    assert [again.is_made(row.name) for row in ROWS] == [True, False]
    again.make("clustered")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_is_made_without_one_of_its_files_is_false(tmp_path):
    models = RowModels(ROWS, Task(), tmp_path)
    models.make("baseline")
    (tmp_path / "baseline.structures.npz").unlink()
    assert not models.is_made("baseline")


def test_make_loss_that_is_no_number_keeps_nothing(tmp_path):
    task = Task()
    task.error = TrainingError("the loss is nan")
    with pytest.raises(TrainingError, match="the loss is nan"):
        RowModels(ROWS, task, tmp_path).make("baseline")
    assert list(tmp_path.iterdir()) == []


def test_make_on_a_full_disk_keeps_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ: a write past the limit fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            RowModels(ROWS, Task(), tmp_path).make("baseline")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
