"""Tests of tfcompress.coding.gaps: gaps worked out by hand, and every edge of a gap."""

import numpy as np
import pytest

from tfcompress.coding import gaps


@pytest.mark.parametrize(
    ("places", "num_bits", "expected"),
    [
        ([0], 4, [0]),
        ([15], 4, [15]),
        ([16], 4, [15, 1]),
        ([0, 15, 16, 31, 47], 4, [0, 15, 1, 15, 15, 1]),
        ([45, 46], 4, [15, 15, 15, 1]),
        ([255, 510, 766], 8, [255, 255, 255, 1]),
        ([1000], 8, [255, 255, 255, 235]),
    ],
)
def test_make_gaps_known_places(places, num_bits, expected):
    places = np.array(places)
    made = gaps.make_gaps(places, num_bits)
    assert made.tolist() == expected
    assert made.dtype == np.uint8
    assert gaps.num_fillers(places, num_bits) == len(expected) - places.size


@pytest.mark.parametrize("num_bits", gaps.GAP_BITS)
@pytest.mark.parametrize("share", [0.5, 0.05, 0.001])
def test_make_gaps_running_sum_gives_every_place_once(num_bits, share):
    places = np.flatnonzero(np.random.default_rng(0).random(50_000) < share)
    found = np.cumsum(gaps.make_gaps(places, num_bits), dtype=np.int64)
    assert np.unique(found).size == found.size
    assert np.isin(places, found).all()
    assert found[-1] == places[-1]


def test_largest_gap_of_bits():
    assert [gaps.largest_gap(bits) for bits in gaps.GAP_BITS] == [15, 255]
