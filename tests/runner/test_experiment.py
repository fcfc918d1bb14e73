"""A run that fails leaves no trace as the latest."""

import pytest

from tfcompress.data.dataset import Dataset, Split, text_array
from tfcompress.errors import InvalidValueError
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import Row
from tfcompress.runner.settings import ExperimentSettings


def test_run_that_fails_at_once_is_not_the_latest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split = Split({"text": text_array(["good", "bad"])}, [1, 0])

    def refuse(dataset):
        raise InvalidValueError("refused")

    experiment = Experiment(
        name="failing",
        default_dataset="reviews",
        rows=(Row(name="baseline"),),
        make_task=refuse,
        load_dataset=lambda: Dataset.from_splits(split, split, split, ["bad", "good"]),
    )
    settings = ExperimentSettings(formats=("onnx",), codings=("dense",), rounds=0)
    with pytest.raises(InvalidValueError, match="refused"):
        run_experiment(experiment, settings)
    assert not list((tmp_path / "runs" / "failing").glob("latest*"))
