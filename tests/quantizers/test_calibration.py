"""Tests of calibration data and of the ranges that are made of it."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.quantizers import CalibrationData
from tfcompress.quantizers.calibration import check_calibration
from tfcompress.runtime import TensorSpec

TOKENS = np.arange(6, dtype=np.int32).reshape(3, 2)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({}, {}, "holds no examples, got sizes {}"),
        ({"x": TOKENS[:0]}, {}, r"holds no examples, got sizes \{'x': 0\}"),
        ({"x": TOKENS, "y": TOKENS[:2]}, {}, r"same number of examples, got \{'x': 3,"),
        ({"x": np.float32([[np.nan, 1]])}, {}, "'x' holds NaN or infinity"),
        ({"x": np.float32([[1, 2], [1, np.inf]])}, {}, "'x' holds NaN or infinity"),
        ({"x": np.ones((4, 2), np.int32)}, {}, "is constant: every example of 'x'"),
        ({"x": np.tile(TOKENS[1:2], (3, 1))}, {}, "is constant: every example of 'x'"),
        ({"x": np.ones((1, 2), np.int32)}, {}, "is constant: every example of 'x'"),
        ({"x": TOKENS}, {"range_estimator": "max"}, "one of min_max, percentile, got"),
        ({"x": TOKENS}, {"percentile": 50}, r"must be in \(50, 100\], got 50"),
        ({"x": TOKENS}, {"percentile": 100.5}, r"must be in \(50, 100\], got 100.5"),
    ],
)
def test_calibration_data_that_cannot_be_used_raises(inputs, options, message):
    with pytest.raises(InvalidValueError, match=message):
        CalibrationData(inputs=inputs, **options)


def test_calibration_data_constant_mask_beside_tokens_is_taken():
    data = CalibrationData(inputs={"x": TOKENS, "mask": np.ones_like(TOKENS)})
    assert data.num_examples == 3


def test_calibration_data_batches_hold_every_example_once():
    data = CalibrationData(inputs={"x": TOKENS})
    batches = [batch["x"] for batch in data.batches(2)]
    assert [len(batch) for batch in batches] == [2, 1]
    np.testing.assert_array_equal(np.concatenate(batches), TOKENS)


def make_ranges(*batches, **options):
    ranges = CalibrationData(inputs={"x": TOKENS}, **options).ranges()
    for batch in batches:
        ranges.add("a", np.float32(batch))
    return ranges["a"]


def test_ranges_min_max_spans_all_batches():
    assert make_ranges([-1.0, 2.0], [0.5, 7.0], [-3.0]) == (-3.0, 7.0)


@pytest.mark.parametrize(
    ("values", "expected"), [([2.0, 5.0], (0, 5)), ([-4, -1], (-4, 0))]
)
def test_ranges_enclose_zero(values, expected):
    assert make_ranges(values) == expected


def test_ranges_percentile_clips_either_end():
    values = np.linspace(-1, 1, 10_001)
    least, greatest = make_ranges(
        values[:5000],
        values[5000:],
        [100.0],
        range_estimator="percentile",
        percentile=99,
    )
    # The bins of a histogram that reaches to 128 are a sixteenth wide.
    assert least == pytest.approx(-0.98, abs=0.07)
    assert greatest == pytest.approx(0.98, abs=0.07)


def test_ranges_percentile_of_100_keeps_all():
    found = make_ranges([-1.0, 3.0], range_estimator="percentile", percentile=100)
    assert found == (-1.0, 3.0)


def test_ranges_do_not_depend_on_the_order_of_batches():
    random = np.random.default_rng(0)
    batches = [random.normal(0, 10.0**i, 500) for i in range(-2, 3)]
    options = {"range_estimator": "percentile", "percentile": 99.5}
    first = make_ranges(*batches, **options)
    # Bins merge earlier or later as the range grows, so that a value may move by one.
    assert make_ranges(*batches[::-1], **options) == pytest.approx(first, abs=0.5)


def test_ranges_of_activation_that_is_nan_raises():
    with pytest.raises(InvalidValueError, match="activation 'a' is NaN or infinite on"):
        make_ranges([1.0, np.nan])


def test_batches_of_a_fixed_size_are_whole():
    data = CalibrationData(inputs={"x": np.arange(7.0)})
    assert [len(b["x"]) for b in data.batches(3, whole=True)] == [3, 3]


@pytest.mark.parametrize(("size", "found"), [(None, None), (2, 2)])
def test_check_calibration_returns_the_batch_that_a_model_fixes(size, found):
    data = CalibrationData(inputs={"x": np.arange(10, dtype=np.float32).reshape(5, 2)})
    assert check_calibration([TensorSpec("x", (size, 2), "float32")], data) == found


def test_check_calibration_with_fewer_examples_than_one_run_takes_raises():
    data = CalibrationData(inputs={"x": np.arange(10, dtype=np.float32).reshape(5, 2)})
    with pytest.raises(InvalidValueError, match=r"must have shape \(8, 2\), got \(5"):
        check_calibration([TensorSpec("x", (8, 2), "float32")], data)
