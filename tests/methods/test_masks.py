"""Tests of masks: known answers, exact counts, ties."""

import numpy as np
import pytest

from tfcompress.methods.masks import (
    block_means,
    keep_largest,
    keep_m_by_n,
    magnitude_scores,
    random_scores,
    spread_blocks,
)


def zeros(mask):
    return np.flatnonzero(~mask).tolist()


def test_magnitude_scores_of_half_precision_are_float32():
    scores = magnitude_scores(np.float16([-2, 0, 1]))
    assert scores.dtype == np.float32
    assert scores.tolist() == [2, 0, 1]


def test_keep_largest_masks_the_lowest():
    (mask,) = keep_largest([np.float32([[5, 1], [3, 2]])], 2)
    assert mask.tolist() == [[True, False], [True, False]]


@pytest.mark.parametrize("num_zeros", range(7))
def test_keep_largest_ties_go_in_order(num_zeros):
    (mask,) = keep_largest([np.ones(6, np.float32)], num_zeros)
    assert zeros(mask) == list(range(num_zeros))


def test_keep_largest_ties_over_arrays_go_in_order():
    scores = [np.float32([1, 0]), np.float32([[1, 1], [1, 9]]), np.float32([1, 0])]
    masks = keep_largest(scores, 5)
    assert [zeros(mask) for mask in masks] == [[0, 1], [0, 1], [1]]


@pytest.mark.parametrize("num_zeros", [0, 1, 333, 999, 1000])
def test_keep_largest_counts_exactly_among_many_equal_scores(num_zeros):
    scores = np.random.default_rng(0).integers(0, 5, (2, 500)).astype(np.float32)
    masks = keep_largest(list(scores), num_zeros)
    assert sum(len(zeros(mask)) for mask in masks) == num_zeros
    kept = np.concatenate([s[m] for s, m in zip(scores, masks, strict=True)])
    gone = np.concatenate([s[~m] for s, m in zip(scores, masks, strict=True)])
    assert gone.max(initial=0) <= kept.min(initial=9)


def test_keep_largest_infinite_scores_are_kept():
    (mask,) = keep_largest([np.float32([np.inf, 1, np.inf])], 2)
    assert zeros(mask) == [0, 1]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (0, [[0, 1], [0, 0], [1, 1], [1, 0]]),
        (1, [[0, 1], [0, 1], [1, 0], [1, 0]]),
    ],
)
def test_keep_m_by_n_by_axis(axis, expected):
    scores = np.float32([[1, 2], [0, 1], [9, 3], [8, 0]])
    m_by_n = (2, 4) if axis == 0 else (1, 2)
    np.testing.assert_array_equal(keep_m_by_n(scores, m_by_n, axis), expected)


def test_keep_m_by_n_counts_zeros_first():
    mask = keep_m_by_n(np.float32([1, 2, 3, 4, 4, 3, 2, 1]), (1, 4), axis=0)
    assert zeros(mask) == [0, 7]


def test_keep_m_by_n_ties_go_in_order():
    mask = keep_m_by_n(np.zeros((8, 2), np.float32), (2, 4), axis=0)
    assert np.flatnonzero(~mask[:, 1]).tolist() == [0, 1, 4, 5]


def test_blocks_of_a_convolution_lie_over_its_last_two_axes():
    scores = np.arange(16, dtype=np.float32).reshape(2, 2, 2, 2)
    means = block_means(scores, (2, 1))
    np.testing.assert_array_equal(means, [[1, 2], [5, 6], [9, 10], [13, 14]])
    mask = spread_blocks(means > 5, (2, 1), scores.shape)
    assert zeros(mask) == [0, 1, 2, 3, 4, 6]


def test_random_scores_repeat_by_seed_and_put_zeros_first():
    weight = np.float32([[1, 0], [2, 3]])
    scores = random_scores(weight, [1, 2])
    np.testing.assert_array_equal(scores, random_scores(weight, [1, 2]))
    assert not np.array_equal(scores, random_scores(weight, [1, 3]))
    assert scores[0, 1] == -1
    assert (np.delete(scores.ravel(), 1) >= 0).all()
