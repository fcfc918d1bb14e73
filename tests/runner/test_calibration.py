"""Tests of the examples that an experiment's static files are calibrated on."""

import numpy as np

from tfcompress.data.dataset import Dataset, Split
from tfcompress.runner.calibration import Calibration


def _split(first, count):
    values = np.arange(first, first + count, dtype=np.float32).reshape(-1, 1)
    return Split({"x": values, "other": -values}, np.zeros(count, np.int32))


DATASET = Dataset.from_splits(_split(0, 50), _split(100, 9), _split(200, 9), ["a", "b"])


def test_examples_are_of_the_training_split_and_differ():
    found = Calibration(num_examples=20).data(DATASET, ["x"]).inputs["x"][:, 0]
    assert len(set(found)) == 20
    assert found.max() < 50


def test_same_seed_chooses_the_same_examples():
    first, again, other = (
        Calibration(num_examples=20, seed=seed).data(DATASET, ["x"]).inputs["x"]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_few_examples_are_all_taken_with_the_estimator():
    calibration = Calibration(num_examples=500, range_estimator="percentile")
    data = calibration.data(DATASET, ["x"])
    assert data.num_examples == 50
    assert data.range_estimator == "percentile"


def test_inputs_that_the_file_lacks_are_left_out():
    """A preset without segments still gets them from the tokenizer."""
    assert set(Calibration().data(DATASET, ["x"]).inputs) == {"x"}
    both = Calibration().data(DATASET, ["x", "other"]).inputs
    np.testing.assert_array_equal(both["x"], -both["other"])
