"""Codebooks as constraints: values, gradients, zeros, refreshing; known answers."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.methods.codebooks import BlockCodebook, ChannelCodebook, TensorCodebook

WEIGHT = np.float32([[0.1, 0.9], [2.2, -1.0]])


def build(constraint, weight):
    """Returns a built constraint, its weight and the layer that holds the variables."""
    layer = tf_keras.layers.Layer()
    variable = tf.Variable(weight, dtype=tf.float32)
    constraint.build("kernel", variable, layer.add_weight)
    return constraint, variable, layer


def values(constraint, weight):
    """Returns what a constraint makes of a weight without training."""
    constraint, variable, _ = build(constraint, weight)
    return constraint(variable, training=False).numpy()


def gradients(constraint, weight, upstream):
    """Returns the gradients of the weight and of the centroids, by a traced tape."""
    constraint, variable, layer = build(constraint, weight)
    (centroids,) = layer.trainable_weights

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(constraint(variable, True) * upstream)
        return tape.gradient(loss, [variable, centroids])

    return [gradient.numpy() for gradient in run()]


def test_tensor_codebook_gives_the_nearest_centroid():
    found = values(TensorCodebook([2, 0, 1]), WEIGHT)  # in any order
    np.testing.assert_array_equal(found, [[0, 1], [2, 0]])


def test_tensor_codebook_halfway_takes_the_higher():
    np.testing.assert_array_equal(values(TensorCodebook([0, 1]), [[0.5]]), [[1]])


def test_tensor_codebook_of_256_keeps_all():
    weight = np.arange(256, dtype=np.float32).reshape(16, 16)
    np.testing.assert_array_equal(
        values(TensorCodebook(weight.ravel()), weight), weight
    )


def test_tensor_codebook_state_is_a_byte_a_weight_and_a_counter():
    _, _, layer = build(TensorCodebook([0, 1]), np.zeros((3, 5)))
    found = {
        w.name.split(":")[0]: (w.dtype.name, tuple(w.shape)) for w in layer.weights
    }
    assert found == {
        "centroids": ("float32", (1, 2)),
        "assignments": ("uint8", (3, 5)),
        "num_calls": ("int64", ()),
    }


def test_tensor_codebook_gradient_is_summed_by_centroid_and_passed_on():
    upstream = np.float32([[1, 2], [4, 8]])
    weight, centroids = gradients(TensorCodebook([0, 1, 2]), WEIGHT, upstream)
    np.testing.assert_array_equal(weight, upstream)
    np.testing.assert_array_equal(centroids, [[9, 2, 4]])


def test_tensor_codebook_gradient_of_kept_zeros_moves_no_centroid():
    constraint = TensorCodebook([1, 2], keeps_zeros=True)
    _, centroids = gradients(constraint, [[0, 1, 2]], np.float32([[4, 2, 1]]))
    np.testing.assert_array_equal(centroids, [[2, 1]])


def test_channel_codebook_gradient_is_summed_in_each_channel():
    constraint = ChannelCodebook([[0, 1], [10, 20]], axis=1)
    weight = np.float32([[0, 10], [1, 20], [1, 20]])
    upstream = np.float32([[1, 2], [4, 8], [16, 32]])
    passed, centroids = gradients(constraint, weight, upstream)
    np.testing.assert_array_equal(passed, upstream)
    np.testing.assert_array_equal(centroids, [[1, 20], [2, 40]])


def test_block_codebook_gradient_is_scaled():
    constraint = BlockCodebook([-1, 1], [[2, 4]], axis=1)
    weight = np.float32([[2, -2, 4, 4]])
    passed, centroids = gradients(constraint, weight, np.float32([[1, 1, 1, 1]]))
    np.testing.assert_array_equal(passed, [[1, 1, 1, 1]])
    np.testing.assert_array_equal(centroids, [[2, 2 + 4 + 4]])


@pytest.mark.parametrize(
    ("make", "is_sparse"),
    [
        (lambda: TensorCodebook([0, 1, 2]), True),
        (lambda: TensorCodebook([1, 2], keeps_zeros=True), True),
        (lambda: ChannelCodebook([[0, 1], [1, 2]], axis=1), True),
        (lambda: ChannelCodebook([[0, 1], [1, 2], [0, 2]], axis=0), False),
        (lambda: BlockCodebook([0, 0.5, 1], [[1], [2], [2]], axis=1), True),
        (lambda: BlockCodebook([0, 0.5, 1], np.ones((3, 2)), axis=0), False),
    ],
    ids=["tensor", "zeros", "columns", "rows", "blocks_of_rows", "blocks_of_columns"],
)
def test_gradient_of_looked_up_rows_is_that_of_the_whole_table(make, is_sparse):
    constraint, variable, layer = build(make(), [[0, 2], [1, 2], [2, 1]])
    (centroids,) = layer.trainable_weights

    @tf.function
    def run(rows):
        with tf.GradientTape(persistent=True) as tape:
            table = constraint(variable, False)
            sparse = tf.reduce_sum(tf.gather(table, rows) * [[1.0, 2], [3, 4], [5, 6]])
            dense = tf.reduce_sum(table * [[1.0, 2], [0, 0], [3 + 5, 4 + 6]])
        return [tape.gradient(y, [variable, centroids]) for y in (sparse, dense)]

    (sparse, of_sparse), (dense, of_dense) = run(tf.constant([0, 2, 2]))
    # No gradient of the table's size, unless the codebooks or blocks cross its rows.
    assert isinstance(sparse, tf.IndexedSlices) == is_sparse
    np.testing.assert_array_equal(tf.convert_to_tensor(sparse), dense)
    np.testing.assert_array_equal(of_sparse, of_dense)


def test_kept_zeros_stay_and_no_other_weight_becomes_one():
    constraint = TensorCodebook([-1, 1], keeps_zeros=True, refresh_steps=1)
    constraint, variable, layer = build(constraint, [[0, 0.01, -0.0, -0.01]])
    np.testing.assert_array_equal(constraint(variable, False), [[0, 1, 0, -1]])
    # Training moves all: the zeros' own weights, and a centroid to zero.
    variable.assign([[5, -3, 5, 3]])
    layer.trainable_weights[0].assign([[-3, 0]])
    found = constraint(variable, True).numpy()
    np.testing.assert_array_equal(found[0, [0, 2]], [0, 0])
    assert found[0, 1] == -3
    assert 0 < found[0, 3] < 1e-20


def test_kept_zeros_under_a_small_scale_stay_alone():
    constraint = BlockCodebook([0, 1], [[6e-8]], axis=1, keeps_zeros=True)
    found = values(constraint, [[0, 1e-9]])
    assert found[0, 0] == 0
    assert found[0, 1] > 0


def test_assignments_are_kept_between_refreshes():
    constraint = TensorCodebook([0, 1], refresh_steps=3)
    constraint, variable, _ = build(constraint, [[0.0, 0.0]])
    variable.assign([[0.9, 0.1]])
    training = tf.function(lambda: constraint(variable, True))
    found = [training().numpy().tolist() for _ in range(3)]
    assert found == [[[0, 0]], [[0, 0]], [[1, 0]]]


def test_assignments_are_not_refreshed_outside_of_training():
    constraint, variable, _ = build(TensorCodebook([0, 1], refresh_steps=1), [[0.0]])
    variable.assign([[0.9]])
    assert constraint(variable, False).numpy() == 0
    assert constraint(variable, None).numpy() == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_channel_codebook_gives_the_nearest_of_its_channel(axis):
    weight = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    codebook = np.stack([rows.min(1), rows.max(1)], axis=1)
    found = values(ChannelCodebook(codebook, axis=axis), weight)
    found_rows = np.moveaxis(found, axis, 0).reshape(rows.shape)
    for row, found_row, (low, high) in zip(rows, found_rows, codebook, strict=True):
        expected = np.where(row < (low + high) / 2, low, high)
        np.testing.assert_array_equal(found_row, expected)


def test_block_codebook_rounds_once():
    scales = np.float16([[0.1, 0.3]])
    codebook = np.float32([-0.7, 1 / 3])
    found = values(BlockCodebook(codebook, scales, axis=1), [[0.04, -0.06, 0.1, 0.2]])
    wide = scales.astype(np.float32)
    expected = [
        [
            codebook[1] * wide[0, 0],
            codebook[0] * wide[0, 0],
            *[codebook[1] * wide[0, 1]] * 2,
        ]
    ]
    np.testing.assert_array_equal(found, np.float32(expected))


def test_block_codebook_of_scale_zero_gives_zero():
    found = values(BlockCodebook([0.5, 1], [[0, 1]], axis=1), [[0, 0, 0.4, 1]])
    np.testing.assert_array_equal(found, [[0, 0, 0.5, 1]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_block_structure_gives_the_weight_to_the_bit(axis):
    weight = np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32)
    shape = [4, 4, 4]
    shape[axis] = 2
    scales = np.random.default_rng(1).uniform(0.5, 3, shape)
    constraint, variable, _ = build(
        BlockCodebook([-1, -0.3, 0.4], scales, axis=axis), weight
    )
    found, structure = constraint(variable, False).numpy(), constraint.structure()
    assert structure["block_size"] == 2
    wide = np.repeat(structure["scales"].astype(np.float32), 2, axis)
    possible = structure["codebook"] * wide[..., None]
    assert (found[..., None] == possible).any(-1).all()


def test_structures_hold_the_values_in_use():
    constraint, *_ = build(TensorCodebook([5, 1, 9], keeps_zeros=True), [[0, 1, 9]])
    np.testing.assert_array_equal(constraint.structure()["codebook"], [0, 1, 9])
    assert constraint.num_used() == 3
    constraint = ChannelCodebook([[2, 1], [4, 3]], axis=1)
    constraint, *_ = build(constraint, [[1, 4], [2, 4]])
    np.testing.assert_array_equal(constraint.structure()["codebook"], [[1, 2], [3, 4]])
    assert constraint.structure()["axis"] == 1
    assert constraint.num_used() == 2


def test_gradient_of_a_large_weight_has_the_same_bits_every_time():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(512, 384)).astype(np.float32)
    upstream = rng.normal(size=weight.shape).astype(np.float32)
    found = {
        gradients(TensorCodebook([-1, 0, 1]), weight, upstream)[1].tobytes()
        for _ in range(5)
    }
    assert len(found) == 1
