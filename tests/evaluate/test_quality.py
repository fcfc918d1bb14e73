"""Quality, against numbers that were computed by hand."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.evaluate.quality import (
    agreement,
    count_flips,
    measure_quality,
    output_error,
    paired_difference,
    wilson_interval,
)


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


def test_measure_quality_three_classes_is_known():
    # F1: class 0 4/5, class 1 4/6, class 2 0.
    quality = measure_quality([0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 2])
    assert quality.accuracy == pytest.approx(4 / 6)
    assert quality.macro_f1 == pytest.approx((4 / 5 + 4 / 6) / 3)
    bounds = (quality.accuracy_low, quality.accuracy_high)
    assert bounds == wilson_interval(4, 6)


def test_measure_quality_class_that_never_occurs_is_left_out():
    assert measure_quality([0, 2], [0, 2]).macro_f1 == 1.0


@pytest.mark.parametrize(
    ("first", "second", "shapes"),
    [
        ([1, 0], [1], r"\(2,\) and \(1,\)"),
        ([], [], r"\(0,\) and \(0,\)"),
        ([[1]], [[1]], r"\(1, 1\) and \(1, 1\)"),
    ],
)
def test_agreement_of_other_arrays_raises(first, second, shapes):
    with pytest.raises(InvalidValueError, match=f"one length.*{shapes}"):
        agreement(first, second)


def test_agreement_counts_equal_labels():
    assert agreement([0, 1, 2, 2, 1], [0, 1, 2, 1, 2]) == 0.6


def test_count_flips_both_ways():
    before = np.array([1, 1, 1, 0, 0, 1], bool)
    now = np.array([1, 0, 0, 1, 0, 1], bool)
    assert count_flips(before, now) == (2, 1)
    assert count_flips(now, before) == (1, 2)


def correct(*runs):
    """Bool array of runs of (count, value)."""
    return np.concatenate([np.full(count, value) for count, value in runs])


def test_paired_difference_8_and_2_flips_of_100_is_known():
    first = correct((60, True), (8, True), (2, False), (30, False))
    second = correct((60, True), (8, False), (2, True), (30, False))
    result = paired_difference(first, second)
    assert (result.only_first, result.only_second) == (8, 2)
    assert result.difference == pytest.approx(0.06)
    # centre 6/102, variance 11 - 36/102, spread 1.959964 * 3.262983 / 102
    assert (result.low, result.high) == pytest.approx((-0.003876, 0.121523), abs=1e-6)


def test_paired_difference_is_antisymmetric():
    first, second = np.random.default_rng(0).random((2, 50)) < 0.7
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert one.difference == -other.difference
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_paired_difference_without_flips_still_has_an_interval():
    same = correct((700, True), (300, False))
    result = paired_difference(same, same)
    assert result.difference == 0
    # spread 1.959964 * sqrt(1) / 1002
    assert (result.low, result.high) == pytest.approx((-0.001956, 0.001956), abs=1e-6)


def test_output_error_is_of_the_largest_output():
    reference = [[1.0, -4.0], [0.5, 2.0]]
    assert output_error(reference, reference) == 0
    assert output_error([[1.0, -4.0], [0.5, 2.5]], reference) == 0.125
    assert output_error([[0.25]], [[0.0]]) == 0.25
    # The same label twice, and outputs that are far apart.
    assert output_error([[0.0, 6.48]], [[0.003, 0.997]]) > 5


@pytest.mark.parametrize("shapes", [((1, 2), (2, 1)), ((0, 2), (0, 2))])
def test_output_error_of_other_shapes_or_nothing_raises(shapes):
    arrays = [np.zeros(shape) for shape in shapes]
    with pytest.raises(InvalidValueError, match="Two arrays of one shape are compared"):
        output_error(*arrays)
