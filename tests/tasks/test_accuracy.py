"""Accuracy and macro F1, against numbers that were computed by hand."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.tasks import Accuracy, MacroF1, wilson_interval
from tfcompress.tasks.metric import ratio_scores

ACCURACY, MACRO_F1 = Accuracy(), MacroF1()


def test_wilson_interval_8_of_10_is_known():
    # centre 0.992073, spread 0.313617, both over 1.384146
    assert wilson_interval(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)


def test_wilson_interval_at_the_ends_stays_inside():
    # z^2/n = 0.192073, over 1.192073
    assert wilson_interval(0, 20) == pytest.approx((0, 0.161125), abs=1e-6)
    assert wilson_interval(20, 20) == pytest.approx((0.838875, 1), abs=1e-6)
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(20, 20)[1] == 1.0


@pytest.mark.parametrize("counts", [(-1, 3), (4, 3), (0, 0)])
def test_wilson_interval_impossible_counts_raise(counts):
    with pytest.raises(InvalidValueError, match=f"{counts[0]} of {counts[1]} examples"):
        wilson_interval(*counts)


def test_three_classes_are_known():
    # F1: class 0 4/5, class 1 4/6, class 2 0.
    found, truth = [0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 2]
    accuracy = ACCURACY.estimate(ACCURACY.score(found, truth))
    assert accuracy.value == pytest.approx(4 / 6)
    assert (accuracy.low, accuracy.high) == wilson_interval(4, 6)
    macro_f1 = MACRO_F1.estimate(MACRO_F1.score(found, truth))
    assert macro_f1.value == pytest.approx((4 / 5 + 4 / 6) / 3)
    assert macro_f1.low < macro_f1.value < macro_f1.high


def test_macro_f1_leaves_out_a_class_that_never_occurs():
    assert MACRO_F1.estimate(MACRO_F1.score([0, 2], [0, 2])).value == 1.0


@pytest.mark.parametrize("metric", [ACCURACY, MACRO_F1])
@pytest.mark.parametrize(
    ("first", "second", "shapes"),
    [([1, 0], [1], r"\(2,\) and \(1,\)"), ([[1]], [[1]], r"\(1, 1\) and \(1, 1\)")],
)
def test_score_of_other_arrays_raises(metric, first, second, shapes):
    with pytest.raises(InvalidValueError, match=f"one length.*{shapes}"):
        metric.score(first, second)


@pytest.mark.parametrize("metric", [ACCURACY, MACRO_F1])
def test_worse_and_better_are_counted_both_ways(metric):
    truth = np.ones(6, int)
    before = metric.score([1, 1, 1, 0, 0, 1], truth)
    now = metric.score([1, 0, 0, 1, 0, 1], truth)
    assert metric.worse_and_better(before, now) == (2, 1)
    assert metric.worse_and_better(now, before) == (1, 2)


def correct(*runs):
    """Scores of runs of (count, whether they are right)."""
    right = np.concatenate([np.full(count, value) for count, value in runs])
    return ratio_scores(right, np.ones(len(right)))


def test_paired_difference_8_and_2_flips_of_100_is_known():
    first = correct((60, True), (8, True), (2, False), (30, False))
    second = correct((60, True), (8, False), (2, True), (30, False))
    result = ACCURACY.paired(first, second)
    assert result.value == pytest.approx(0.06)
    # centre 6/102, variance 11 - 36/102, spread 1.959964 * 3.262983 / 102
    assert (result.low, result.high) == pytest.approx((-0.003876, 0.121523), abs=1e-6)


def test_paired_difference_is_antisymmetric():
    rights = np.random.default_rng(0).random((2, 50)) < 0.7
    first, second = (ratio_scores(right, np.ones(50)) for right in rights)
    one, other = ACCURACY.paired(first, second), ACCURACY.paired(second, first)
    assert one.value == -other.value
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_paired_difference_without_flips_still_has_an_interval():
    same = correct((700, True), (300, False))
    result = ACCURACY.paired(same, same)
    assert result.value == 0
    # spread 1.959964 * sqrt(1) / 1002
    assert (result.low, result.high) == pytest.approx((-0.001956, 0.001956), abs=1e-6)
