"""Tests of one-dimensional k-means against answers known by hand or by exhaustion."""

import itertools

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.methods.kmeans import kmeans_1d, kmeans_rows, nearest_centroid


def squared_error(values, centroids, weights=None):
    values, centroids = values.astype(np.float64), centroids.astype(np.float64)
    squares = (values - centroids[nearest_centroid(values, centroids)]) ** 2
    return float((squares if weights is None else squares * weights).sum())


def best_error_by_exhaustion(values, num_clusters):
    ordered = np.sort(values).astype(np.float64)
    return min(
        sum(((part - part.mean()) ** 2).sum() for part in np.split(ordered, borders))
        for borders in itertools.combinations(range(1, values.size), num_clusters - 1)
    )


class Programme:
    """The exact dynamic programme over all borders, in O(k n log n).

    A layer of it solves its middle first; what is left and right of it can only choose
    borders left and right of the middle's. All of a level are solved at once.
    """

    def __init__(self, values, weights=None):
        order = np.argsort(values, kind="stable")
        points = values[order].astype(np.float64) - values.mean(dtype=np.float64)
        masses = np.ones(points.size) if weights is None else weights[order]
        self.mass = np.append(0.0, np.cumsum(masses))
        self.moment = np.append(0.0, np.cumsum(masses * points))
        self.total = float((masses * points**2).sum())

    def optima(self, most):
        """Returns the least squared error for 1 ... `most` clusters."""
        ends = np.arange(self.mass.size)
        best = self._cost(np.zeros_like(ends), ends)
        errors = [self.total + best[-1]]
        for _ in range(most - 1):
            best = self._layer(best)
            errors.append(self.total + best[-1])
        return errors

    def _cost(self, begin, end):
        mass = self.mass[end] - self.mass[begin]
        square = (self.moment[end] - self.moment[begin]) ** 2
        return -square / np.where(mass > 0, mass, 1.0)

    def _layer(self, best):
        size = best.size
        found, choice = np.empty(size), np.zeros(size, int)
        step = 1 << (size.bit_length() - 1)
        while step:
            ends = np.arange(step - 1, size, 2 * step)
            low = np.where(ends >= step, choice[ends - step], 0)
            right = ends + step
            high = np.where(right < size, choice[np.minimum(right, size - 1)], ends)
            counts = np.minimum(high, ends) - low + 1
            offsets = np.cumsum(counts) - counts
            begins = np.arange(counts.sum()) - np.repeat(offsets - low, counts)
            costs = best[begins] + self._cost(begins, np.repeat(ends, counts))
            found[ends] = np.minimum.reduceat(costs, offsets)
            hits = np.flatnonzero(costs == np.repeat(found[ends], counts))
            choice[ends] = begins[hits[np.searchsorted(hits, offsets)]]
            step //= 2
        return found


def heavy_tailed(rng, size):
    return rng.standard_t(2, size)


def bimodal(rng, size):
    return np.where(rng.random(size) < 0.3, rng.normal(-5, 0.3, size), rng.normal(size))


def half_zeros(rng, size):
    return np.where(rng.random(size) < 0.5, 0.0, rng.standard_t(3, size))


def repeated(rng, size):
    return np.round(rng.normal(size=size) * 150)


def skewed(rng, size):
    return rng.lognormal(0, 1.5, size)


def test_kmeans_two_lumps_gives_their_means():
    centroids = kmeans_1d(np.float32([[1, 2], [3, 101], [102, 103]]), 2)
    np.testing.assert_array_equal(centroids, np.float32([2, 102]))


def test_kmeans_fewer_values_than_clusters_returns_the_values():
    centroids = kmeans_1d(np.float32([3, 1, 3, 1]), 16)
    np.testing.assert_array_equal(centroids, np.float32([1, 3]))


@pytest.mark.parametrize("num_clusters", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_kmeans_small_array_reaches_the_optimum(num_clusters, seed):
    values = np.random.default_rng(seed).standard_t(3, 14).astype(np.float32)
    found = squared_error(values, kmeans_1d(values, num_clusters))
    best = best_error_by_exhaustion(values, num_clusters)
    assert found == pytest.approx(best, rel=1e-5)
    assert Programme(values).optima(num_clusters)[-1] == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("draw", [heavy_tailed, bimodal, half_zeros, repeated, skewed])
def test_kmeans_is_within_a_thousandth_of_the_optimum(draw, weighted):
    rng = np.random.default_rng(0)
    values = draw(rng, 1000).astype(np.float32)
    weights = rng.gamma(0.2, size=1000) if weighted else None
    programme = Programme(values, weights)
    optima = programme.optima(256)
    # An optimum is a difference of sums: its own rounding is not the error's.
    rounding = 1e-14 * programme.total
    for num_clusters in (2, 8, 16, 64, 256):
        centroids = kmeans_1d(values, num_clusters, weights=weights)
        assert centroids.size <= num_clusters
        error = squared_error(values, centroids, weights)
        assert error <= 1.001 * optima[num_clusters - 1] + rounding


def test_kmeans_of_more_values_than_bins_is_within_a_thousandth_of_the_optimum():
    # Neighbouring floats: twice the error of one half, and more values than are kept
    # apart.
    half = np.random.default_rng(0).standard_t(2, 40_000).astype(np.float32)
    values = np.concatenate([half, np.nextafter(half, np.float32(np.inf))])
    best = 2 * Programme(half).optima(16)[-1]
    error = squared_error(values, kmeans_1d(values, 16))
    assert error == pytest.approx(best, rel=1e-3)


def test_kmeans_weights_count_as_repetitions():
    rng = np.random.default_rng(0)
    values = rng.normal(size=300).astype(np.float32)
    counts = rng.integers(1, 5, 300)
    np.testing.assert_allclose(
        kmeans_1d(values, 8, weights=counts),
        kmeans_1d(np.repeat(values, counts), 8),
        rtol=1e-6,
    )


def test_kmeans_values_of_weight_zero_are_ignored():
    values = np.float32([0, 1, 500, 10, 11])
    centroids = kmeans_1d(values, 2, weights=np.float32([1, 1, 0, 1, 1]))
    np.testing.assert_array_equal(centroids, np.float32([0.5, 10.5]))


def test_kmeans_weights_all_zero_count_alike():
    values = np.float32([0, 1, 10, 11])
    centroids = kmeans_1d(values, 2, weights=np.zeros(4))
    np.testing.assert_array_equal(centroids, np.float32([0.5, 10.5]))


@pytest.mark.parametrize("function", [kmeans_1d, kmeans_rows])
def test_kmeans_weights_of_another_shape_raise(function):
    message = r"weights must have the shape of the values, \(2, 3\), got \(2, 2\)\."
    with pytest.raises(InvalidValueError, match=message):
        function(np.ones((2, 3)), 2, weights=np.ones((2, 2)))


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_kmeans_weights_negative_or_no_number_raise(bad):
    with pytest.raises(InvalidValueError, match="must be finite and at least 0, got"):
        kmeans_1d(np.float32([1, 2, 3]), 2, weights=[1.0, bad, 1.0])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("num_clusters", [1, 4, 16])
def test_kmeans_rows_are_as_good_as_each_row_alone(num_clusters, weighted):
    rng = np.random.default_rng(0)
    values = rng.standard_t(4, (12, 384)).astype(np.float32)
    weights = rng.random(values.shape) if weighted else np.ones(values.shape)
    found = kmeans_rows(values, num_clusters, weights=weights if weighted else None)
    assert (found.shape, found.dtype) == ((12, num_clusters), np.float32)
    assert (np.diff(found) >= 0).all()
    error = best = 0.0
    for row, line, weight in zip(found, values, weights, strict=True):
        error += squared_error(line, row, weight)
        best += squared_error(
            line, kmeans_1d(line, num_clusters, weights=weight), weight
        )
    assert error <= 1.001 * best


def test_kmeans_rows_of_few_values_repeat_the_last():
    values = np.float32([[1, 2, 1, 2], [0, 1, 10, 11], [5, 5, 5, 5]])
    found = kmeans_rows(values, 3)
    np.testing.assert_array_equal(found[0], np.float32([1, 2, 2]))
    np.testing.assert_array_equal(found[2], np.float32([5, 5, 5]))
    assert squared_error(values[1], found[1]) == 0.5


def test_kmeans_rows_of_weight_zero_count_alike():
    values = np.float32([[0, 1, 10, 11], [0, 1, 10, 11]])
    weights = np.float32([[0, 0, 0, 0], [3, 1, 1, 1]])
    found = kmeans_rows(values, 2, weights=weights)
    np.testing.assert_array_equal(found, np.float32([[0.5, 10.5], [0.25, 10.5]]))


def test_kmeans_normal_values_reaches_the_known_distortion():
    # Lloyd-Max quantizer of the normal distribution with 16 levels: 0.009497
    # (Max, Quantizing for minimum distortion, IRE Trans. Inf. Theory 6, 1960, table I).
    values = np.random.default_rng(0).normal(size=400_000).astype(np.float32)
    distortion = squared_error(values, kmeans_1d(values, 16)) / values.size
    assert distortion == pytest.approx(0.009497, rel=0.01)


def test_kmeans_far_from_zero_keeps_its_digits():
    values = np.float32(1e4) + np.float32([0, 0.01, 5, 5.01])
    centroids = kmeans_1d(values, 2)
    np.testing.assert_allclose(centroids, [1e4 + 0.005, 1e4 + 5.005], atol=2e-3)


def test_nearest_centroid_halfway_takes_the_higher():
    indices = nearest_centroid(np.float32([0.5, 0.49, 2]), np.float32([0, 1, 2]))
    np.testing.assert_array_equal(indices, [1, 0, 2])
