"""Tests that grids are found where there are some, and only there."""

import numpy as np
import pytest

from tfcompress.quantizers.grids import find_grid

random = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("weights", "axis", "num_bits", "scale"),
    [
        ([[7, -3], [0, 1]], 1, 4, 1.0),
        ([[127, -3], [0, 64]], 1, 8, 1.0),
        ([[12.7, -0.3], [0, 6.4]], 0, 8, 0.1),
        ([[127, 14], [50, 7]], 1, 8, 1.0),
        ([[7, 127], [1, 3]], 1, 8, 1.0),
        ([[127, 12.7], [50, 0.7]], 1, 8, [1.0, 0.1]),
        ([[127, 50], [12.7, 0.7]], 0, 8, [1.0, 0.1]),
        ([[7, 0.7], [3, 0.1]], 1, 4, [1.0, 0.1]),
        ([[127, 0], [5, 0]], 1, 8, 1.0),
        ([[0, 0], [0, 0]], 1, 4, 1.0),
        ([[0.5, -0.5], [0.5, 0.5]], 1, 4, 0.5 / 7),
    ],
)
def test_find_grid_known_answer(weights, axis, num_bits, scale):
    grid = find_grid(np.float32(weights), axis)
    assert grid.num_bits == num_bits
    assert grid.is_per_tensor == (np.ndim(scale) == 0)
    np.testing.assert_allclose(grid.scale, scale, rtol=1e-6)
    assert grid.scale.dtype == np.float32


def test_find_grid_of_random_weights_is_none():
    for _ in range(20):
        weights = random.normal(size=(64, 3)).astype(np.float32)
        assert find_grid(weights, 1) is None


def test_find_grid_of_values_shared_between_channels_is_none():
    codebook = random.normal(size=16).astype(np.float32)
    assert find_grid(codebook[random.integers(0, 16, (64, 8))], 1) is None


@pytest.mark.parametrize("scale", [1e-6, 0.0173, 3.7e4])
def test_find_grid_gives_back_integers_and_weights(scale):
    integers = random.integers(-127, 128, (200, 30)).astype(np.int8)
    integers[0, 3] = -127
    weights = (integers * np.float32(scale)).astype(np.float32)
    grid = find_grid(weights, 1)
    np.testing.assert_array_equal(grid.integers(weights, 1), integers)
    np.testing.assert_allclose(integers * grid.scale, weights, rtol=3e-7)
    np.testing.assert_array_equal(grid.scales(3), [grid.scale] * 3)


def test_find_grid_weights_off_by_a_thousandth_of_a_step_is_none():
    weights = np.float32([[127, 1.001], [64, 2]])
    assert find_grid(weights, 1) is None


def test_find_grid_of_nan_is_none():
    assert find_grid(np.float32([[np.nan, 1.0]]), 1) is None
