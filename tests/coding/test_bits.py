"""Tests of tfcompress.coding.bits: distinct bits and their places."""

import numpy as np
import pytest

from tfcompress.coding import bits


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("num_values", [1, 2, 16, 255, 256])
def test_index_bits_is_the_place_among_the_values(dtype, num_values):
    rng = np.random.default_rng(num_values)
    limit = np.iinfo(dtype).max
    values = np.unique(rng.integers(0, limit, num_values, dtype, endpoint=True))
    places = rng.integers(0, values.size, 300_000)
    found = bits.index_bits(values[places], values)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, places)


def test_index_bits_neighbouring_values_are_told_apart():
    values = np.arange(0x3F800000, 0x3F800100, dtype=np.uint32)
    found = bits.index_bits(values[::-1], values)
    assert found.tolist() == list(range(255, -1, -1))


def test_distinct_bits_counts_bit_patterns():
    assert bits.distinct_bits(np.float32([0.0, -0.0, 0.0])).size == 2
    assert bits.distinct_bits(np.arange(300_000, dtype=np.float32)).size == 300_000
    assert bits.distinct_bits(np.arange(300_000.0), limit=256) is None


def test_same_bits_needs_the_same_shape_and_dtype():
    ones = np.ones((2, 3), np.float32)
    assert bits.same_bits(ones, ones.copy())
    assert not bits.same_bits(ones, ones.T)
    assert not bits.same_bits(ones, ones.view(np.int32))
