"""Tests of the examples that an experiment's static files are calibrated on."""

import numpy as np

from tfcompress.data.dataset import Dataset, Split
from tfcompress.runner.calibration import Calibration


def _split(first, count):
    values = np.arange(first, first + count, dtype=np.float32).reshape(-1, 1)
    return Split({"x": values}, np.zeros(count, np.int32))


DATASET = Dataset.from_splits(_split(0, 50), _split(100, 9), _split(200, 9), ["a", "b"])


def test_examples_are_of_the_training_split_and_differ():
    found = Calibration(num_examples=20).data(DATASET).inputs["x"][:, 0]
    assert len(set(found)) == 20
    assert found.max() < 50


def test_same_seed_chooses_the_same_examples():
    first, again, other = (
        Calibration(num_examples=20, seed=seed).data(DATASET).inputs["x"]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_few_examples_are_all_taken_with_the_estimator():
    data = Calibration(num_examples=500, range_estimator="percentile").data(DATASET)
    assert data.num_examples == 50
    assert data.range_estimator == "percentile"
