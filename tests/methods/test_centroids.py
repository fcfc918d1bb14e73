"""Where centroids begin: axes, scales, importance, TFMOT's inits; known answers."""

import numpy as np
import pytest

from tfcompress.methods.centroids import (
    WeightPlan,
    block_scales,
    fit,
    has_zeros_to_keep,
    input_axis,
    output_axis,
)


def plan(num_clusters=2, **options):
    return WeightPlan(
        **{
            "num_clusters": num_clusters,
            "centroid_init": "kmeans",
            "keeps_zeros": False,
            **options,
        }
    )


def centroids(constraint):
    return constraint._initial


@pytest.mark.parametrize(
    ("kind", "ndim", "expected"),
    [
        ("Dense", 2, (0, 1)),
        ("Embedding", 2, (1, 1)),
        ("LSTM", 2, (0, 1)),
        ("Conv2D", 4, (2, 3)),
        ("Conv2DTranspose", 4, (3, 2)),
        ("DepthwiseConv2D", 4, (2, 2)),
    ],
)
def test_axes_of_inputs_and_outputs(kind, ndim, expected):
    assert (input_axis(kind, ndim), output_axis(kind, ndim)) == expected


def test_block_scales_are_the_largest_magnitudes():
    weight = np.float32([[1, 5], [-4, 2], [0, 0], [0, 1e-9]])
    found = block_scales(weight, axis=0, block_size=2)
    assert found.dtype == np.float16
    # 1e-9 is no float16: the smallest there is, since 0 would make a zero of it.
    np.testing.assert_array_equal(found, np.float16([[4, 5], [0, 6e-8]]))


@pytest.mark.parametrize(("num_zeros", "expected"), [(0, False), (1, False), (5, True)])
def test_zeros_are_kept_from_one_in_100_000(num_zeros, expected):
    weight = np.ones(200_000, np.float32)
    weight[:num_zeros] = 0
    assert has_zeros_to_keep(weight) == expected


def test_fit_tensor_returns_kmeans_and_its_error():
    constraint, error = fit(np.float32([[0, 2], [10, 12]]), plan())
    np.testing.assert_array_equal(centroids(constraint), [[1, 11]])
    assert error == 1


def test_fit_with_importance_moves_centroids_and_not_the_optimum():
    importance = np.float32([[1, 3], [1, 1]])
    constraint, error = fit(np.float32([[0, 2], [10, 12]]), plan(), importance)
    np.testing.assert_array_equal(centroids(constraint), [[1.5, 11]])
    assert error == 1


def test_fit_channels_gives_each_its_own():
    weight = np.float32([[0, 5], [2, 5], [10, 7]])
    constraint, error = fit(weight, plan(channel_axis=1))
    np.testing.assert_array_equal(centroids(constraint), [[1, 10], [5, 7]])
    assert error == pytest.approx(2 / 6)


def test_fit_blocks_weighs_quotients_by_the_square_of_their_scale():
    # Quotients 1, -1 (scale 1) and 1, -0.5 (scale 2): -1 counts 1 and -0.5 counts 4.
    weight = np.float32([[1, -1], [2, -1]])
    constraint, error = fit(weight, plan(block_axis=1, block_size=2))
    np.testing.assert_allclose(centroids(constraint), [[-0.6, 1]])
    assert error == pytest.approx((0.4**2 + 4 * 0.1**2) / 4)


def test_fit_with_zeros_takes_them_out_and_counts_them():
    weight = np.float32([[0, 0, 0, 2, 4, 9]])
    constraint, error = fit(weight, plan(3, keeps_zeros=True))
    np.testing.assert_array_equal(centroids(constraint), [[3, 9]])
    assert error == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("init", "expected"),
    [("linear", [0, 5, 10]), ("density_based", None), ("random", None)],
)
def test_fit_calls_the_inits_of_tfmot(init, expected):
    weight = np.float32([[0, 1, 2, 3, 10]])
    found = centroids(fit(weight, plan(3, centroid_init=init))[0])
    assert found.shape == (1, 3)
    assert (np.diff(found) >= 0).all()
    if expected is not None:
        np.testing.assert_allclose(found[0], expected)
