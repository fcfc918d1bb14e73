"""The leaves of attention: tf_keras layers without weights, each one step of it.

`MultiHeadAttention` of name `L` becomes

    L/query, L/key, L/value                     Dense, (B, T, D) -> (B, T, N * H)
    L/query_heads, L/key_heads, L/value_heads   SplitHeads -> (B, N, T, H)
    L/scores                                    AttentionScores -> (B, N, T, S)
    L/masked_scores                             MaskScores, where there is a mask
    L/softmax, L/dropout                        Softmax and Dropout
    L/context                                   AttentionContext -> (B, N, T, H)
    L/merged                                    MergeHeads -> (B, T, N * H)
    L/attention_output                          Dense

with batch B, query length T, key length S, heads N and head size H; batch and lengths
may be unknown. Exporters may replace a leaf by one that their format likes better.

This module imports TensorFlow when it is loaded, as `leaf_layers` does: import it
inside functions only.
"""

import tensorflow as tf
import tf_keras

from tfcompress.bridge.leaf_layers import LeafLayer

# The score that MaskScores gives to masked positions is minus this. Keras' own -1e9
# neither fits float16 nor leaves an int8 range anything; 100 fits both. In BERT's
# attention the largest score of a row is rarely negative (above -4 in MiniLM on 400
# tweets, as it is and clustered to 16, 4 and 3 values, with scores down to -131), so
# that a masked position gets less than exp(-96) of the row; float32 resolves 6e-8.
# Adding -100 to the scores would not do: a masked score may be the larger one, by 18 in
# that model, and by 82 in the one with 16 values.
PENALTY = 100.0


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class SplitHeads(LeafLayer):
    """Turns `(B, T, N * H)` into `(B, N, T, H)`.

    Args:
        num_heads: N.
    """

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def call(self, inputs):
        """Splits the last axis into heads and moves them before the time axis."""
        size = inputs.shape[-1] // self.num_heads
        heads = _reshape_end(inputs, 1, [self.num_heads, size])
        return tf.transpose(heads, [0, 2, 1, 3])

    def get_config(self):
        """Gives the constructor's arguments."""
        return {**super().get_config(), "num_heads": self.num_heads}


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class MergeHeads(LeafLayer):
    """Turns `(B, N, T, H)` into `(B, T, N * H)`: undoes `SplitHeads`."""

    def call(self, inputs):
        """Moves the heads behind the time axis and merges them with theirs."""
        merged = tf.transpose(inputs, [0, 2, 1, 3])
        return _reshape_end(merged, 2, [inputs.shape[1] * inputs.shape[3]])


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class AttentionScores(LeafLayer):
    """Computes `scale * query @ key^T` of `[query, key]`.

    Args:
        scale: factor of the query, 1 / sqrt(H) as a rule.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        """Gives `(B, N, T, S)` for `(B, N, T, H)` and `(B, N, S, H)`."""
        query, key = inputs
        return tf.matmul(
            query * tf.cast(self.scale, query.dtype), key, transpose_b=True
        )

    def get_config(self):
        """Gives the constructor's arguments."""
        return {**super().get_config(), "scale": self.scale}


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class MaskScores(LeafLayer):
    """Gives masked positions the score `-penalty`, from `[scores, mask]`.

    It multiplies and adds where it could select, since that is what every runtime has
    fast kernels for, and gives the same bits. Where everything is masked, all keys get
    the same probability, as in Keras 3 without dropout.

    Args:
        penalty: see `PENALTY`.
    """

    def __init__(self, penalty=PENALTY, **kwargs):
        super().__init__(**kwargs)
        self.penalty = penalty

    def call(self, inputs):
        """Gives masked scores `(B, N, T, S)`.

        Args:
            inputs: scores `(B, N, T, S)`, and a mask that is 0 or False where a
                position is masked, of any dtype: `(B, S)` for the keys of all queries,
                or `(B, N, T, S)`, where B, N and T may be 1.
        """
        scores, mask = inputs
        if len(mask.shape) == 2:
            mask = mask[:, tf.newaxis, tf.newaxis, :]
        keep = tf.cast(tf.cast(mask, tf.bool), scores.dtype)
        return scores * keep + (keep - 1.0) * tf.cast(self.penalty, scores.dtype)

    def get_config(self):
        """Gives the constructor's arguments."""
        return {**super().get_config(), "penalty": self.penalty}


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class AttentionContext(LeafLayer):
    """Weighs the values: `probabilities @ values` of `[probabilities, values]`.

    The probabilities may be more precise than the values, whose dtype the result has.
    """

    def call(self, inputs):
        """Gives `(B, N, T, H)` for `(B, N, T, S)` and `(B, N, S, H)`."""
        probabilities, values = inputs
        return tf.matmul(tf.cast(probabilities, values.dtype), values)


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class CausalMask(LeafLayer):
    """Gives the mask of shape `(1, T, S)` that hides what comes later.

    It takes `[query, value]` of the shapes `(B, T, D)` and `(B, S, E)`.
    """

    def call(self, inputs):
        """Gives a bool tensor: True where the key's place is not after the query's."""
        query, value = inputs
        rows = tf.range(tf.shape(query)[1])[:, tf.newaxis]
        columns = tf.range(tf.shape(value)[1])[tf.newaxis, :]
        return (rows >= columns)[tf.newaxis]


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class Positions(LeafLayer):
    """Gives the position of each step, the ids of a table of position embeddings."""

    def call(self, inputs):
        """Gives int32 `(..., T)` for `(..., T, D)`; only the shape is read."""
        shape = tf.shape(inputs)[:-1]
        return tf.broadcast_to(tf.range(shape[-1]), shape)


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class AllIds(LeafLayer):
    """Gives the ids 0 to `size` - 1, whatever tensor it is called with.

    An embedding called with them gives its table as a tensor of the graph.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs):
        """Gives int32 `(size,)`."""
        return tf.range(self.size)

    def get_config(self):
        """Gives the constructor's arguments."""
        return {**super().get_config(), "size": self.size}


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class ReshapeEnd(LeafLayer):
    """Gives the last axes another shape; those before them may be unknown.

    Args:
        num_axes: how many axes at the end.
        shape: what they become, without -1.
    """

    def __init__(self, num_axes, shape, **kwargs):
        super().__init__(**kwargs)
        self.num_axes = num_axes
        self.shape = list(shape)

    def call(self, inputs):
        """Reshapes the tensor."""
        return _reshape_end(inputs, self.num_axes, self.shape)

    def get_config(self):
        """Gives the constructor's arguments."""
        config = {"num_axes": self.num_axes, "shape": self.shape}
        return {**super().get_config(), **config}


def _reshape_end(inputs, num_axes, shape):
    """Reshapes the last axes; the axes before them keep what is known of them."""
    sizes = inputs.shape[:-num_axes].as_list()
    if sizes.count(None) == 1:
        sizes = [-1 if size is None else size for size in sizes]
    elif None in sizes:
        sizes = tf.unstack(tf.shape(inputs)[:-num_axes])
    return tf.reshape(inputs, [*sizes, *shape])
