"""Tests of one-dimensional k-means against answers known by hand or by exhaustion."""

import itertools

import numpy as np
import pytest

from tfcompress.methods.kmeans import kmeans_1d, nearest_centroid


def squared_error(values, centroids):
    return float(((values - centroids[nearest_centroid(values, centroids)]) ** 2).sum())


def best_error_by_exhaustion(values, num_clusters):
    ordered = np.sort(values).astype(np.float64)
    return min(
        sum(((part - part.mean()) ** 2).sum() for part in np.split(ordered, borders))
        for borders in itertools.combinations(range(1, values.size), num_clusters - 1)
    )


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
    assert found == pytest.approx(
        best_error_by_exhaustion(values, num_clusters), rel=1e-5
    )


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
