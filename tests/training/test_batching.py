"""Batches: every example once, the same for a seed, of like length."""

import numpy as np
import pytest

from tfcompress.training.batching import (
    POOL_BATCHES,
    epoch_batches,
    example_lengths,
    padded_length,
    sorted_batches,
)


def draw_lengths(num_examples):
    return np.random.RandomState(1).randint(1, 65, num_examples)


def as_lists(batches):
    return [batch.tolist() for batch in batches]


def test_example_lengths_holes_and_left_padding_count_to_the_last():
    mask = [[1, 1, 1], [1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert example_lengths(np.array(mask)).tolist() == [3, 1, 2, 3, 1]


@pytest.mark.parametrize(
    ("lengths", "limit", "expected"),
    [([1, 2], 64, 8), ([8, 3], 64, 8), ([9], 64, 16), ([61], 62, 62)],
)
def test_padded_length_is_rounded_up_to_eight_and_cut_at_the_limit(
    lengths, limit, expected
):
    assert padded_length(lengths, limit) == expected


def test_epoch_batches_without_lengths_are_the_seeded_order_cut():
    order = np.random.RandomState([3, 1]).permutation(7)
    batches = as_lists(epoch_batches(3, 1, 7, 3))
    assert batches == [order[:3].tolist(), order[3:6].tolist(), order[6:].tolist()]


@pytest.mark.parametrize("num_examples", [1, 5, 64, 1000])
@pytest.mark.parametrize("is_bucketed", [False, True])
def test_epoch_batches_hold_every_example_once(num_examples, is_bucketed):
    lengths = draw_lengths(num_examples) if is_bucketed else None
    batches = epoch_batches(0, 0, num_examples, 8, lengths)
    sizes = sorted(len(batch) for batch in batches)
    assert len(sizes) == -(-num_examples // 8)
    assert set(sizes[1:]) <= {8}
    assert sorted(np.concatenate(batches)) == list(range(num_examples))


def test_epoch_batches_depend_on_seed_and_epoch_alone():
    lengths = draw_lengths(100)
    first = as_lists(epoch_batches(0, 0, 100, 8, lengths))
    assert as_lists(epoch_batches(0, 0, 100, 8, lengths)) == first
    assert as_lists(epoch_batches(0, 1, 100, 8, lengths)) != first
    assert as_lists(epoch_batches(1, 0, 100, 8, lengths)) != first


def test_epoch_batches_by_length_need_little_padding():
    lengths = draw_lengths(4000)

    def positions(batches):
        return sum(len(batch) * padded_length(lengths[batch], 64) for batch in batches)

    rounded = sum(padded_length([length], 64) for length in lengths)
    assert positions(epoch_batches(0, 0, 4000, 32, lengths)) < 1.03 * rounded
    assert positions(epoch_batches(0, 0, 4000, 32)) > 1.6 * rounded


def test_epoch_batches_by_length_come_in_no_order():
    lengths = draw_lengths(4000)
    means = [lengths[batch].mean() for batch in epoch_batches(0, 0, 4000, 32, lengths)]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3


def test_epoch_batches_sort_within_pools_alone():
    # Each of two pools holds each length once: one sort over both would pair equals.
    pool_size = 2 * POOL_BATCHES
    order = np.random.RandomState([0, 0]).permutation(2 * pool_size)
    lengths = np.zeros(2 * pool_size, dtype=int)
    lengths[order] = np.arange(2 * pool_size) % pool_size
    pairs = epoch_batches(0, 0, 2 * pool_size, 2, lengths)
    assert all(lengths[b] - lengths[a] == 1 for a, b in pairs)


def test_sorted_batches_known_lengths():
    assert as_lists(sorted_batches(np.array([5, 1, 4, 1, 9]), 2)) == [
        [1, 3],
        [2, 0],
        [4],
    ]
