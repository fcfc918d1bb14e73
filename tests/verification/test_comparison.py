"""Tests of the comparison of a file's outputs with its source's."""

import numpy as np
import pytest

from tfcompress.verification.comparison import Mismatch, compare_outputs

SOURCE = {"y": np.float32([[3.0, -4.0], [0.0, 0.0]])}


def found(*values):
    return {"y": np.float32(values).reshape(2, 2)}


def test_compare_outputs_error_is_relative_to_the_source():
    # differences 0, 0, 0.5, 0: root of 0.0625 beside root of 6.25
    error = compare_outputs(SOURCE, found(3, -4, 0.5, 0), bound=1.0)
    assert error == pytest.approx(0.1)


def test_compare_outputs_equal_is_zero():
    assert compare_outputs(SOURCE, found(3, -4, 0, 0), bound=0.0) == 0.0


def test_compare_outputs_beyond_the_bound_raises():
    message = "its output 'y' is off by 0.1 of the source's, and 0.05 is allowed"
    with pytest.raises(Mismatch, match=message):
        compare_outputs(SOURCE, found(3, -4, 0.5, 0), bound=0.05)


def test_compare_outputs_of_zeros_is_absolute():
    zeros = {"y": np.zeros((2, 2), np.float32)}
    assert compare_outputs(zeros, found(0, 0, 0, 0.2), bound=1.0) == pytest.approx(0.1)


def test_compare_outputs_whole_numbers_count_those_that_differ():
    labels = {"label": np.int64([1, 2, 3, 4])}
    other = {"label": np.int64([1, 2, 3, 5])}
    assert compare_outputs(labels, other, bound=0.3) == 0.25


def test_compare_outputs_missing_output_raises():
    with pytest.raises(Mismatch, match="it has no output 'y'; its outputs are 'z'"):
        compare_outputs(SOURCE, {"z": SOURCE["y"]}, bound=1.0)


@pytest.mark.parametrize("other", [np.zeros((2, 1), np.float32), np.zeros((2, 2))])
def test_compare_outputs_other_shape_or_type_raises(other):
    with pytest.raises(Mismatch, match="the source's float32 of shape"):
        compare_outputs(SOURCE, {"y": other}, bound=1.0)


def test_compare_outputs_nan_that_is_not_the_sources_raises():
    with pytest.raises(Mismatch, match="'y' holds NaN or infinity where the source's"):
        compare_outputs(SOURCE, found(3, np.nan, 0, 0), bound=1.0)


def test_compare_outputs_leaves_out_what_is_no_number_in_the_source():
    source = {"y": np.float32([[np.nan, 2.0], [np.inf, 0.0]])}
    assert compare_outputs(source, found(1, 2, 3, 0), bound=0.1) == 0.0


def test_compare_outputs_without_a_number_gives_none():
    source = {"y": np.float32([np.nan]), "z": np.zeros((0, 3), np.float32)}
    assert compare_outputs(source, source, bound=0.1) is None
