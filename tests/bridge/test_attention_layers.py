"""The leaves of attention on numbers that can be checked by hand."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.bridge import attention_layers as parts


def test_split_heads_gives_each_head_its_slice_of_the_features():
    inputs = tf.constant([[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]])
    expected = [[[[1, 2], [5, 6]], [[3, 4], [7, 8]]]]
    np.testing.assert_array_equal(parts.SplitHeads(2)(inputs), expected)


def test_merge_heads_undoes_split_heads():
    inputs = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")
    split = parts.SplitHeads(4)(inputs)
    np.testing.assert_array_equal(parts.MergeHeads()(split), inputs)


def test_attention_scores_are_scaled_products():
    query = tf.constant([[[[1.0, 2.0]]]])
    key = tf.constant([[[[3.0, 4.0], [0.0, -1.0]]]])
    scores = parts.AttentionScores(0.5)([query, key])
    np.testing.assert_array_equal(scores, [[[[5.5, -1.0]]]])


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
def test_mask_scores_replaces_what_is_zero_in_the_mask(dtype):
    scores = tf.constant([[[[1.5, 2.0], [3.0, 400.0]]]])
    mask = tf.cast([[1, 0]], dtype)
    masked = parts.MaskScores(100.0)([scores, mask])
    np.testing.assert_array_equal(masked, [[[[1.5, -100.0], [3.0, -100.0]]]])


def test_mask_scores_takes_a_mask_for_each_query():
    scores = tf.zeros((1, 2, 2, 2))
    mask = tf.constant([[[[True, False], [False, True]]]])
    masked = parts.MaskScores(100.0)([scores, mask])
    np.testing.assert_array_equal(masked[0, 1], [[0.0, -100.0], [-100.0, 0.0]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_penalty_leaves_masked_positions_nothing(dtype):
    scores = tf.cast([[[[-4.0, 300.0, -8.0]]]], dtype)
    masked = parts.MaskScores(dtype=dtype)([scores, tf.constant([[1, 0, 1]])])
    assert masked.dtype == dtype
    probabilities = tf.nn.softmax(tf.cast(masked, "float32"))[0, 0, 0]
    assert probabilities[1] < np.finfo("float32").eps
    np.testing.assert_allclose(probabilities[0] + probabilities[2], 1.0)


def test_attention_context_weighs_the_values():
    values = tf.constant([[[[1.0, 2.0], [3.0, 4.0]]]])
    context = parts.AttentionContext()([tf.constant([[[[0.25, 0.75]]]]), values])
    np.testing.assert_array_equal(context, [[[[2.5, 3.5]]]])


def test_attention_context_has_the_values_dtype():
    values = tf.ones((1, 1, 2, 3), "bfloat16")
    layer = parts.AttentionContext(dtype="mixed_bfloat16")
    assert layer([tf.ones((1, 1, 4, 2)), values]).dtype == "bfloat16"


def test_causal_mask_hides_what_comes_later():
    mask = parts.CausalMask()([tf.zeros((4, 2, 5)), tf.zeros((4, 3, 5))])
    expected = [[[True, False, False], [True, True, False]]]
    np.testing.assert_array_equal(mask, expected)


def test_positions_count_the_steps_of_each_example():
    positions = parts.Positions()(tf.zeros((2, 3, 5)))
    assert positions.dtype == "int32"
    np.testing.assert_array_equal(positions, [[0, 1, 2], [0, 1, 2]])


def test_all_ids_counts_to_its_size():
    np.testing.assert_array_equal(parts.AllIds(3)(tf.zeros((1, 1))), [0, 1, 2])


def test_reshape_end_keeps_unknown_axes_free():
    layer = parts.ReshapeEnd(1, [2, 3])
    assert layer(tf_keras.Input((None, 6))).shape.as_list() == [None, None, 2, 3]
    assert layer(tf.zeros((1, 4, 6))).shape == (1, 4, 2, 3)


@pytest.mark.parametrize(
    "layer",
    [
        parts.AllIds(3),
        parts.AttentionContext(),
        parts.AttentionScores(0.5),
        parts.CausalMask(),
        parts.MaskScores(50.0),
        parts.MergeHeads(),
        parts.Positions(),
        parts.ReshapeEnd(1, (2, 3)),
        parts.SplitHeads(2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_leaf_is_serialized_and_has_nothing_to_prune(layer):
    copy = tf_keras.layers.deserialize(tf_keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    assert layer.get_prunable_weights() == []
