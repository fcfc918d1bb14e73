"""What a weight on a grid keeps: zeros, clusters of the tensor or of channels."""

import numpy as np
import pytest
import tensorflow as tf

from tfcompress.methods.quantized_weights import (
    QuantizedChannelCodebooks,
    QuantizedCodebook,
    QuantizedWeight,
    WeightGrid,
    grid_constraint,
)

GRID = WeightGrid(8, (1,), 1)


def built(weight, grid=GRID):
    """Returns the constraint of a weight, with its variables made, and the variable."""
    constraint = grid_constraint(weight, grid)
    variable = tf.Variable(weight)

    def add_weight(name, shape, dtype, initializer, trainable):
        initializer = tf.keras.initializers.get(initializer)
        return tf.Variable(initializer(shape, dtype), trainable=trainable)

    constraint.build("kernel", variable, add_weight)
    return constraint, variable


def random_weight(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_grid_constraint_dense_weight_is_free():
    constraint, variable = built(random_weight(20, 3))
    assert type(constraint) is QuantizedWeight
    values = constraint(variable, False).numpy()
    assert np.abs(values - variable.numpy()).max() <= np.abs(values).max() / 250
    structure = constraint.structure(values)
    assert structure["bits"] == 8
    assert structure["scale"].shape == (3,)
    integers = values / structure["scale"]
    np.testing.assert_array_equal(integers, np.round(integers))


def test_grid_constraint_pruned_weight_keeps_its_zeros():
    weight = random_weight(20, 3)
    weight[::2] = 0
    constraint, variable = built(weight)
    variable.assign_add(tf.ones_like(variable))
    values = constraint(variable, True).numpy()
    np.testing.assert_array_equal(values == 0, weight == 0)


def test_grid_constraint_weight_of_zeros_stays_zero():
    constraint, variable = built(np.zeros((4, 3), np.float32))
    np.testing.assert_array_equal(constraint(variable, True), np.zeros((4, 3)))


def test_grid_constraint_clustered_weight_has_one_scale_and_its_values():
    values = np.float32([-2.54, -0.011, 0.513, 1.0])
    weight = values[np.random.default_rng(0).integers(0, 4, (20, 3))]
    constraint, variable = built(weight)
    assert type(constraint) is QuantizedCodebook
    found = constraint(variable, True).numpy()
    structure = constraint.structure(found)
    assert structure["scale"].shape == ()
    np.testing.assert_allclose(structure["codebook"], [-2.54, -0.02, 0.52, 1.0], 1e-4)
    np.testing.assert_array_equal(np.unique(found), structure["codebook"])


def test_grid_constraint_pruned_and_clustered_weight_keeps_both():
    values = np.float32([-2.54, 0, 0.513, 1.0])
    weight = values[np.random.default_rng(0).integers(0, 4, (20, 3))]
    constraint, variable = built(weight)
    found = constraint(variable, True).numpy()
    np.testing.assert_array_equal(found == 0, weight == 0)
    assert len(np.unique(found)) == 4
    assert constraint.num_used() == 4


@pytest.mark.parametrize("has_channel_scales", [True, False])
def test_grid_constraint_clustered_channels_have_codebooks_of_their_own(
    has_channel_scales,
):
    rng = np.random.default_rng(0)
    tables = random_weight(4, 3)
    weight = np.take_along_axis(tables, rng.integers(0, 4, (30, 3)), axis=0)
    grid = WeightGrid(8, (1,) if has_channel_scales else (), 1)
    constraint, variable = built(weight, grid)
    assert type(constraint) is QuantizedChannelCodebooks
    found = constraint(variable, True).numpy()
    assert [len(np.unique(channel)) for channel in found.T] == [4, 4, 4]
    scale = constraint.structure(found)["scale"]
    assert scale.shape == ((3,) if has_channel_scales else ())
    integers = found / scale
    np.testing.assert_array_equal(integers, np.round(integers))


def test_grid_constraint_small_weight_without_clusters_is_free():
    constraint, _ = built(random_weight(4, 3))
    assert type(constraint) is QuantizedWeight


@pytest.mark.parametrize("num_bits", [8, 4])
def test_grid_constraint_weight_that_was_quantized_before_is_free(num_bits):
    grid = WeightGrid(num_bits, (1,), 1)
    constraint, variable = built(random_weight(300, 3), grid)
    once = constraint(variable, False).numpy()
    again, variable = built(once, grid)
    assert type(again) is QuantizedWeight
    np.testing.assert_array_equal(again(variable, False), once)


def test_grid_constraint_clusters_that_were_quantized_before_are_kept():
    values = np.float32([-2.54, -0.011, 0.513, 1.0])
    constraint, variable = built(
        values[np.random.default_rng(0).integers(0, 4, (20, 3))]
    )
    once = constraint(variable, False).numpy()
    again, variable = built(once)
    assert type(again) is QuantizedCodebook
    np.testing.assert_array_equal(again(variable, False), once)


def test_codebook_entry_without_weights_does_not_stretch_the_scale():
    weight = np.float32([[-1.0], [1.0], [1.0], [3.0]])
    constraint, variable = built(weight, WeightGrid(8, (), 1))
    variable.assign([[-1.0], [1.0], [1.0], [1.1]])
    constraint._assign(variable)  # the centroid at 3 is left without a weight
    found = constraint(variable, False).numpy()
    np.testing.assert_allclose(found, [[-1], [1], [1], [1]], 2**-16)
    np.testing.assert_allclose(constraint.structure(found)["scale"], 1 / 127, 2**-16)


def test_quantized_embedding_gradient_stays_one_of_rows():
    constraint, variable = built(random_weight(20, 3), WeightGrid(8, (), 1))
    with tf.GradientTape() as tape:
        rows = tf.gather(constraint(variable, True), [3, 3, 5])
        total = tf.reduce_sum(rows)
    gradient = tape.gradient(total, variable)
    assert isinstance(gradient, tf.IndexedSlices)
    np.testing.assert_array_equal(gradient.indices, [3, 3, 5])
