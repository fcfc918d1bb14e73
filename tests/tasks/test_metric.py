"""Metrics with a bootstrap: known values, coverage, pairs, and what is refused."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.tasks import (
    R2,
    MacroF1,
    MeanAbsoluteError,
    Metric,
    RootMeanSquaredError,
)
from tfcompress.tasks.metric import check_scores

RMSE, MAE, R_SQUARED = RootMeanSquaredError("EUR"), MeanAbsoluteError(), R2()
PREDICTED, TRUTH = np.float32([1, 2, 3, 4]), np.float32([1, 4, 3, 0])


@pytest.mark.parametrize(
    ("metric", "value"),
    [(RMSE, np.sqrt(20 / 4)), (MAE, 6 / 4), (R_SQUARED, 1 - 20 / 10)],
)
def test_estimate_is_known(metric, value):
    scores = metric.score(PREDICTED, TRUTH)
    found = metric.estimate(scores)
    assert found.value == pytest.approx(value)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("metric", [RMSE, MAE, R_SQUARED])
def test_score_of_a_number_of_shape_1_is_that_of_the_number(metric):
    scores = metric.score(PREDICTED[:, None], TRUTH)
    np.testing.assert_array_equal(scores, metric.score(PREDICTED, TRUTH))


def test_r2_is_the_mean_over_the_numbers_of_a_target():
    truth = np.float32([[0, 10], [1, 20], [2, 30]])
    predicted = truth + np.float32([[0, 5], [0, 0], [0, -5]])
    assert R_SQUARED.estimate(R_SQUARED.score(predicted, truth)).value == (
        pytest.approx((1 + (1 - 50 / 200)) / 2)
    )


def test_r2_of_targets_that_are_all_the_same_is_0_or_1():
    same = np.ones(3)
    for predicted, value in ((same, 1), (same * 2, 0)):
        assert R_SQUARED.estimate(R_SQUARED.score(predicted, same)).value == value


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    errors = np.random.default_rng(0).normal(10, 2, 2000)
    found = MAE.estimate(MAE.score(errors, np.zeros(2000)))
    spread = 1.96 * errors.std() / np.sqrt(2000)
    assert found.high - found.value == pytest.approx(spread, rel=0.15)
    assert found.value - found.low == pytest.approx(spread, rel=0.15)


def test_bootstrap_of_counts_is_that_of_examples(monkeypatch):
    """Cells of a confusion matrix drawn as counts, and one example after the other."""
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 900)
    predicted = np.where(random.random(900) < 0.8, truth, random.integers(0, 3, 900))
    metric = MacroF1()
    scores = metric.score(predicted, truth)
    counted = metric.estimate(scores)
    monkeypatch.setattr("tfcompress.tasks.metric._FEW_ROWS", 0)
    drawn = metric.estimate(scores)
    assert drawn.value == counted.value
    assert (drawn.low, drawn.high) == pytest.approx(
        (counted.low, counted.high), abs=0.005
    )


def test_paired_is_narrower_than_the_two_intervals():
    """Two files that err alike differ by little, however much both are uncertain."""
    random = np.random.default_rng(2)
    truth = random.normal(size=500)
    first = truth + random.normal(size=500)
    second = first + 0.05
    scores = [MAE.score(each, truth) for each in (first, second)]
    found = MAE.paired(*scores)
    estimates = [MAE.estimate(each) for each in scores]
    assert found.value == pytest.approx(estimates[0].value - estimates[1].value)
    assert found.high - found.low < 0.2 * (estimates[0].high - estimates[0].low)
    assert found.low <= found.value <= found.high


def test_paired_of_the_same_file_is_nothing():
    scores = RMSE.score(PREDICTED, TRUTH)
    found = RMSE.paired(scores, scores)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_same_scores_give_the_same_interval():
    scores = R_SQUARED.score(PREDICTED, TRUTH)
    assert R_SQUARED.estimate(scores) == R_SQUARED.estimate(scores.copy())


def test_worse_is_the_larger_error_and_the_lower_score():
    before = MAE.score([1, 1, 1], [1, 1, 1])
    now = MAE.score([1, 2, 3], [1, 1, 1])
    assert MAE.worse_and_better(before, now) == (2, 0)
    before = R_SQUARED.score([1, 2, 1], [1, 1, 2])
    now = R_SQUARED.score([3, 1, 1], [1, 1, 2])
    assert R_SQUARED.worse_and_better(before, now) == (1, 1)


@pytest.mark.parametrize("scores", [np.zeros((0, 2)), np.zeros(3), np.zeros((3, 0))])
def test_metric_without_scores_raises(scores):
    message = "'rmse' has no scores: it needs an array of shape"
    with pytest.raises(InvalidValueError, match=message):
        RMSE.estimate(scores)
    with pytest.raises(InvalidValueError, match=message):
        RMSE.paired(scores, scores)


def test_score_that_is_no_number_raises():
    with pytest.raises(InvalidValueError, match="NaN or infinity, first for example 1"):
        MAE.estimate([[1, 1], [np.nan, 1]])


def test_paired_of_other_examples_raises():
    scores = MAE.score(PREDICTED, TRUTH)
    with pytest.raises(InvalidValueError, match=r"shapes \(4, 2\) and \(3, 2\)"):
        MAE.paired(scores, scores[:3])


def test_score_of_other_sizes_raises():
    with pytest.raises(InvalidValueError, match=r"of shape \(4,\) and targets of \(3,"):
        MAE.score(PREDICTED, TRUTH[:3])


def test_metric_of_ones_own_needs_a_score_for_each_example():
    class Mine(Metric):
        name = "mine"

        def score(self, prediction, target):
            return np.mean(prediction == target)

    message = r"'mine' must give a score for each of 4 examples, .* got \(\)"
    with pytest.raises(InvalidValueError, match=message):
        check_scores(Mine(), Mine().score(PREDICTED, TRUTH), 4)
