"""Clusters as constraints: each weight has the value of one of a few centroids.

A constraint stands between a layer and its weight. It holds centroids, which train, and
the index of the centroid that each weight has now, as uint8: a byte a weight is all
that is kept. The layer computes with the centroids' values. Its own weight goes on as
the straight-through original: it takes the gradient of its value as it is, and every
`refresh_steps` steps each weight is given its nearest centroid again. A centroid takes
the sum of the gradients of its weights.

All of it is variables of the model, so that a killed training goes on with the same
assignments and changes them at the same steps. What is stripped are the assignments as
they stand: the values that validation has seen.

Source: Han et al., Deep Compression (arXiv:1510.00149), section 3, for the centroids'
gradient; Bengio et al. (arXiv:1308.3432) for the straight-through one; Dettmers et al.
(arXiv:2305.14314), section 3, for one codebook over scaled blocks.
"""

import math

import numpy as np

from tfcompress.methods.constrained import WeightConstraint

# The least magnitude of a centroid where zeros are kept: nothing else may become one,
# nor underflow to one when it is multiplied by a scale.
_SMALLEST = np.float32(1e-30)
_SUM_ROWS = 64  # at most: threads share them


class TensorCodebook(WeightConstraint):
    """One codebook for a weight tensor.

    Args:
        centroids: float32 array, shape `(num_centroids,)`, without the zero where zeros
            are kept; 256 at most, that zero included.
        keeps_zeros: whether weights that are zero when the constraint is built stay
            zero, and no other becomes one. The zero is then one more value.
        refresh_steps: training calls for which assignments are kept; one a step.
    """

    def __init__(self, centroids, *, keeps_zeros=False, refresh_steps=20):
        self._initial = np.atleast_2d(np.asarray(centroids, np.float32))
        self._axis = None  # of channels or blocks
        self._keeps_zeros = keeps_zeros
        self._refresh_steps = refresh_steps
        self._centroids = self._assignments = self._num_calls = None

    def build(self, name, weight, add_weight):
        """Makes the variables, and assigns `weight` as it is.

        Args:
            name: name of the weight, such as `"kernel"`.
            weight: float32 variable with its values.
            add_weight: as of `WeightConstraint`.
        """
        import tensorflow as tf

        self._centroids = add_weight(
            name="centroids",
            shape=self._initial.shape,
            dtype="float32",
            initializer=lambda shape, dtype=None: tf.constant(self._initial, dtype),
            trainable=True,
        )
        self._assignments = add_weight(
            name="assignments",
            shape=weight.shape,
            dtype="uint8",
            # 1: no zero is kept before the first assignment has found them
            initializer="ones",
            trainable=False,
        )
        self._num_calls = add_weight(
            name="num_calls",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
        )
        if self._keeps_zeros:
            is_zero = tf.equal(tf.convert_to_tensor(weight), 0.0)
            self._assignments.assign(tf.cast(~is_zero, tf.uint8))
        self._assign(weight)

    def __call__(self, weight, training):
        """Returns the centroids' values in the place of `weight`.

        Args:
            weight: float variable or tensor of the shape that was built.
            training: bool or `None`; assignments are made anew in training only.
        """
        import tensorflow as tf

        if training:
            is_due = self._num_calls.assign_add(1) % self._refresh_steps == 0
            tf.cond(is_due, lambda: self._assign(weight), lambda: None)
        table = tf.identity(self._table())
        return self._look_up(table, tf.identity(weight))

    def structure(self):
        """Returns plain arrays that describe the weight as it is now.

        Returns:
            `{"codebook": float32 (num_clusters,)}`, ascending: the values in use.
        """
        table = self._table().numpy().ravel()
        return {"codebook": np.unique(table[np.unique(self._assignments.numpy())])}

    def num_used(self):
        """Returns how many clusters have weights, the zero included."""
        return int(np.unique(self._assignments.numpy()).size)

    def _assign(self, weight):
        """Gives each weight its nearest centroid; kept zeros stay where they are."""
        import tensorflow as tf

        rows = self._rows(tf.cast(weight, tf.float32))
        found = _nearest(rows, self._nonzero(self._centroids))
        found = self._unrows(found)
        if self._keeps_zeros:
            # Index 0 is the zero; the weights of the others are not looked at.
            found = tf.where(self._assignments == 0, tf.zeros_like(found), found + 1)
        self._assignments.assign(found)

    def _table(self):
        """Returns the values by index, a row of them for each codebook."""
        import tensorflow as tf

        centroids = self._nonzero(tf.cast(self._centroids, tf.float32))
        if not self._keeps_zeros:
            return centroids
        return tf.pad(centroids, [[0, 0], [1, 0]])

    def _nonzero(self, centroids):
        import tensorflow as tf

        if not self._keeps_zeros:
            return tf.convert_to_tensor(centroids)
        return tf.where(tf.abs(centroids) < _SMALLEST, _SMALLEST, centroids)

    def _rows(self, weight):
        """Arranges weights in a row for each codebook."""
        import tensorflow as tf

        return tf.reshape(weight, [1, -1])

    def _unrows(self, rows):
        """Undoes `_rows`."""
        import tensorflow as tf

        return tf.reshape(rows, self._assignments.shape)

    def _look_up(self, table, weight):
        """Returns the values; their gradient goes to `table` and on to `weight`."""
        import tensorflow as tf

        # Read here: a custom gradient may not read variables itself.
        assignments, scales = tf.identity(self._assignments), self._scales()

        @tf.custom_gradient
        def look_up(table, weight):
            def gradient(upstream):
                if isinstance(upstream, tf.IndexedSlices) and self._axis == 0:
                    upstream = tf.convert_to_tensor(upstream)
                sums = self._sum_by_index(upstream, assignments, scales, table.shape)
                return sums, upstream

            values = tf.gather(tf.reshape(table, [-1]), self._index(assignments))
            return tf.cast(self._scaled(values, scales), weight.dtype), gradient

        return look_up(table, weight)

    def _sum_by_index(self, upstream, assignments, scales, shape):
        """Returns the summed gradients of the weights of each centroid."""
        import tensorflow as tf

        if isinstance(upstream, tf.IndexedSlices):  # of an embedding: few of its rows
            rows, upstream = upstream.indices, upstream.values
            assignments = tf.gather(assignments, rows)
            scales = None if scales is None else tf.gather(scales, rows)
        upstream = self._scaled(tf.cast(upstream, tf.float32), scales)
        # Summed in rows and then over them: each row by one thread, in order, so that
        # the same training has the same bits. A tenth of unsorted_segment_sum's time.
        sums = tf.raw_ops.DenseBincount(
            input=tf.cast(self._summands(assignments), tf.int32),
            size=tf.constant(shape[1], tf.int32),
            weights=self._summands(upstream),
            binary_output=False,
        )
        return tf.reduce_sum(tf.reshape(sums, [shape[0], -1, shape[1]]), axis=1)

    def _summands(self, values):
        """Arranges a weight, or some rows of it, in rows that are summed apart."""
        import tensorflow as tf

        num_rows = math.gcd(math.prod(self._assignments.shape[1:]), _SUM_ROWS)
        return tf.reshape(values, [num_rows, -1])

    def _index(self, assignments):
        """Returns places in the flat table; no wider copy of them is kept."""
        import tensorflow as tf

        return tf.cast(assignments, tf.int32)

    def _scales(self):
        """Returns the factors of the values, which do not train; `None`: no factors."""

    def _scaled(self, values, scales):
        """Returns a weight's values, or some rows of them, times their scales."""
        del scales
        return values


class ChannelCodebook(TensorCodebook):
    """A codebook for each channel of one axis.

    Args:
        centroids: float32 array, shape `(num_channels, num_centroids)`.
        axis: axis of the channels, not negative.
        keeps_zeros: as of `TensorCodebook`; each codebook then has the zero.
        refresh_steps: as of `TensorCodebook`.
    """

    def __init__(self, centroids, *, axis, keeps_zeros=False, refresh_steps=20):
        super().__init__(
            centroids, keeps_zeros=keeps_zeros, refresh_steps=refresh_steps
        )
        self._axis = axis

    def structure(self):
        """Returns `{"codebook": float32 (num_channels, num_clusters), "axis": int}`.

        `codebook[c]` is ascending and serves `weight.take(c, axis)`.
        """
        return {"codebook": np.sort(self._table().numpy()), "axis": self._axis}

    def num_used(self):
        """Returns how many clusters the channel with the most has weights in."""
        rows = np.moveaxis(self._assignments.numpy(), self._axis, 0)
        return max(int(np.unique(row).size) for row in rows)

    def _rows(self, weight):
        import tensorflow as tf

        rows = tf.transpose(weight, self._order())
        return tf.reshape(rows, [self._assignments.shape[self._axis], -1])

    def _unrows(self, rows):
        import tensorflow as tf

        order = self._order()
        shape = [self._assignments.shape[axis] for axis in order]
        return tf.transpose(tf.reshape(rows, shape), np.argsort(order))

    def _order(self):
        others = [n for n in range(len(self._assignments.shape)) if n != self._axis]
        return [self._axis, *others]

    def _index(self, assignments):
        shape = [1] * len(self._assignments.shape)
        shape[self._axis] = -1
        width = self._initial.shape[1] + self._keeps_zeros
        offsets = np.arange(len(self._initial), dtype=np.int32) * width
        return super()._index(assignments) + offsets.reshape(shape)

    def _summands(self, values):
        return self._rows(values)


class BlockCodebook(TensorCodebook):
    """One codebook for a tensor, and a float16 scale for each block of weights.

    A value is `float32(centroid) * float32(scale)`, rounded once. Scales do not train.

    Args:
        centroids: float32 array, shape `(num_centroids,)`, of weights over scales.
        scales: float16 array of the weight's shape, `axis` divided by the block size.
        axis: axis along which the blocks lie, not negative.
        keeps_zeros: as of `TensorCodebook`.
        refresh_steps: as of `TensorCodebook`.
    """

    def __init__(self, centroids, scales, *, axis, keeps_zeros=False, refresh_steps=20):
        super().__init__(
            centroids, keeps_zeros=keeps_zeros, refresh_steps=refresh_steps
        )
        self._axis = axis
        self._initial_scales = np.asarray(scales, np.float16)
        self._scale_variable = None

    def build(self, name, weight, add_weight):
        """Makes the variables, and assigns `weight` as it is."""
        import tensorflow as tf

        self._scale_variable = add_weight(
            name="scales",
            shape=self._initial_scales.shape,
            dtype="float16",
            initializer=lambda shape, dtype=None: tf.constant(self._initial_scales),
            trainable=False,
        )
        super().build(name, weight, add_weight)

    def structure(self):
        """Returns the codebook, the scales, `"axis"` and `"block_size"`.

        Returns:
            `{"codebook": float32 (num_clusters,), "scales": float16 (..., n /
            block_size, ...), "axis": int, "block_size": int}`.
        """
        scales = self._scale_variable.numpy()
        size = self._assignments.shape[self._axis] // scales.shape[self._axis]
        return super().structure() | {
            "scales": scales,
            "axis": self._axis,
            "block_size": size,
        }

    def _rows(self, weight):
        import tensorflow as tf

        # A block of scale 0 holds zeros, which any centroid gives.
        quotients = tf.math.divide_no_nan(self._blocks(weight), self._scales())
        return super()._rows(quotients)

    def _scales(self):
        import tensorflow as tf

        scales = tf.expand_dims(self._scale_variable, self._axis + 1)
        return tf.cast(scales, tf.float32)

    def _scaled(self, values, scales):
        import tensorflow as tf

        return tf.reshape(self._blocks(values) * scales, tf.shape(values))

    def _blocks(self, weight):
        """Splits `axis` of a weight, or of some rows of it, into blocks."""
        import tensorflow as tf

        shape = list(self._assignments.shape)
        num_blocks = self._scale_variable.shape[self._axis]
        shape[self._axis : self._axis + 1] = [num_blocks, -1]
        if self._axis > 0:
            shape[0] = tf.shape(weight)[0]
        return tf.reshape(weight, shape)


def _nearest(values, centroids):
    """Returns the index of each value's nearest centroid, row by row.

    Args:
        values: float32 tensor, shape `(rows, n)`.
        centroids: float32 tensor, shape `(rows, k)`, in any order.
    Returns:
        uint8 tensor, shape `(rows, n)`. Halfway between two: the higher one.
    """
    import tensorflow as tf

    if centroids.shape[1] == 1:
        return tf.zeros(values.shape, tf.uint8)
    order = tf.argsort(centroids, axis=1)
    ordered = tf.gather(centroids, order, batch_dims=1)
    midpoints = (ordered[:, 1:] + ordered[:, :-1]) / 2
    position = tf.searchsorted(midpoints, values, side="right")
    return tf.gather(tf.cast(order, tf.uint8), position, batch_dims=1)
