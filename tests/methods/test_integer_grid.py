"""Known answers of integer grids, and that a grid's values are its fixed points."""

import numpy as np
import pytest
import tensorflow as tf

from tfcompress.methods.integer_grid import fake_quantize, grid_scale

KERNEL = np.float32([[1.27, -0.02], [-0.503, 0.07]])


def test_grid_scale_one_is_the_largest_magnitude_over_the_limit():
    scale = grid_scale(tf.constant(KERNEL), 8).numpy()
    np.testing.assert_allclose(scale, [[0.01]], rtol=2**-16)
    assert scale >= np.float32(1.27) / np.float32(127)


def test_grid_scale_of_channels_has_one_for_each():
    scale = grid_scale(tf.constant(KERNEL), 4, (1,)).numpy()
    np.testing.assert_allclose(scale, [[1.27 / 7, 0.01]], rtol=2**-16)


def test_fake_quantize_rounds_to_whole_numbers_of_the_scale():
    scale = tf.constant([[0.5]])
    found = fake_quantize(tf.constant([[0.6, 0.8, -63.5]]), scale)
    np.testing.assert_array_equal(found, [[0.5, 1.0, -63.5]])


def test_fake_quantize_puts_out_no_negative_zero():
    found = fake_quantize(tf.constant([-0.1, 0.1]), tf.constant([0.5])).numpy()
    assert not np.signbit(found).any()


def test_fake_quantize_of_zeros_is_zeros():
    values = tf.zeros((2, 2))
    np.testing.assert_array_equal(fake_quantize(values, grid_scale(values, 8)), values)


@pytest.mark.parametrize("num_bits", [8, 4])
def test_fake_quantize_again_changes_no_bit_and_other_tools_find_the_integers(num_bits):
    rng = np.random.default_rng(0)
    weight = tf.constant(rng.normal(size=(64, 500)).astype(np.float32))
    scale = grid_scale(weight, num_bits, (1,))
    once = fake_quantize(weight, scale)
    again = grid_scale(once, num_bits, (1,))
    np.testing.assert_array_equal(again, scale)
    np.testing.assert_array_equal(fake_quantize(once, again), once)
    # What a runtime's quantizer does, in float32.
    limit = np.float32(2 ** (num_bits - 1) - 1)
    integers = once.numpy() / (np.abs(once.numpy()).max(0) / limit)
    np.testing.assert_array_equal(integers, np.round(integers))
    assert (np.abs(integers).max(0) == limit).all()


def test_fake_quantize_gradient_passes_as_it_is():
    weight = tf.constant(KERNEL)
    with tf.GradientTape() as tape:
        tape.watch(weight)
        total = tf.reduce_sum(fake_quantize(weight, grid_scale(weight, 8)) * [1.0, 2.0])
    np.testing.assert_array_equal(tape.gradient(total, weight), [[1, 2], [1, 2]])
