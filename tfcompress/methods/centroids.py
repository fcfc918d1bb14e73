"""Where the centroids of a weight begin: k-means on its values, or TFMOT's inits.

A tensor may have one codebook, one for each output channel, or one for its weights
divided by the scales of blocks. Each becomes a problem on the line, solved by
`methods/kmeans.py` or by the initializers of TFMOT.
"""

import dataclasses

import numpy as np

from tfcompress.methods.codebooks import (
    BlockCodebook,
    ChannelCodebook,
    TensorCodebook,
)
from tfcompress.methods.kmeans import kmeans_1d, kmeans_rows, nearest_centroid

# float16's largest and smallest positive numbers.
MAX_SCALE = float(np.finfo(np.float16).max)
_MIN_SCALE = np.finfo(np.float16).smallest_subnormal
# A checkpoint that was float16 once has a zero in a million weights, by rounding; an
# entry of the codebook is worth more than those.
_MIN_ZEROS = 1e-5
# Channels of up to so many weights are clustered together: one by one, the 768 of a
# BERT layer take 10 s in place of 1.
_MAX_BATCHED_ROW = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightPlan:
    """How one weight is to be clustered.

    Args:
        num_clusters: values to keep, the zero included.
        centroid_init: as of `ClusterConfig`.
        keeps_zeros: whether zeros stay zeros.
        channel_axis: axis of the channels that have codebooks of their own, or `None`.
        block_axis: axis along which blocks have a scale, or `None`.
        block_size: weights of a block, or `None`.
        refresh_steps: as of `ClusterConfig`.
    """

    num_clusters: int
    centroid_init: str
    keeps_zeros: bool
    channel_axis: int | None = None
    block_axis: int | None = None
    block_size: int | None = None
    refresh_steps: int = 20


def has_zeros_to_keep(weight):
    """Whether the zeros of a weight are worth an entry of its codebook.

    >>> has_zeros_to_keep(np.float32([0, 1, 2])), has_zeros_to_keep(np.float32([1, 2]))
    (True, False)
    """
    return bool(weight.size - np.count_nonzero(weight) > _MIN_ZEROS * weight.size)


def input_axis(kind, ndim):
    """Returns the axis of a weight along which its inputs lie; not negative.

    Args:
        kind: layer type, such as `"Dense"`.
        ndim: dimensions of the weight.

    >>> input_axis("Dense", 2), input_axis("Embedding", 2), input_axis("Conv2D", 4)
    (0, 1, 2)
    """
    is_last = kind == "Embedding" or kind.endswith("Transpose")
    return ndim - 1 if is_last else ndim - 2


def output_axis(kind, ndim):
    """Returns the axis of a weight that numbers its outputs; not negative.

    An embedding's are the columns.

    >>> output_axis("Dense", 2), output_axis("Conv2DTranspose", 4)
    (1, 2)
    """
    is_last = not (kind.endswith("Transpose") or kind.startswith("Depthwise"))
    return ndim - 1 if is_last else ndim - 2


def block_scales(weight, axis, block_size):
    """Returns the largest magnitude of each block, as float16.

    Args:
        weight: float32 array; `axis` is a multiple of `block_size` long.
        axis: int, not negative.
        block_size: int.
    Returns:
        float16 array of the shape of `weight`, `axis` divided by `block_size`. Where a
        block has weights other than zero, its scale is not zero.

    >>> block_scales(np.float32([[1, -3, 0, 0]]), axis=1, block_size=2)
    array([[3., 0.]], dtype=float16)
    """
    largest = np.abs(_split(weight, axis, block_size)).max(axis + 1)
    scales = largest.astype(np.float16)
    return np.where(largest > 0, np.maximum(scales, _MIN_SCALE), scales)


def fit(weight, plan, importance=None):
    """Finds the first centroids of a weight.

    Args:
        weight: float32 array.
        plan: `WeightPlan`.
        importance: float array of the shape of `weight`, how much the squared error of
            each counts, or `None`.
    Returns:
        `(constraint, mean_squared_error)`: a `TensorCodebook` or one of its kin, and
        the least mean squared error that k-means finds for the values of `weight`,
        `importance` aside.
    """
    scales, values, counts = None, weight, np.ones((), np.float32)
    if plan.block_size is not None:
        scales = block_scales(weight, plan.block_axis, plan.block_size)
        wide = np.repeat(scales, plan.block_size, plan.block_axis).astype(np.float32)
        values = np.divide(weight, wide, out=np.zeros_like(weight), where=wide > 0)
        # The error of a weight is that of its quotient times the scale.
        counts = wide**2
    counts = np.broadcast_to(counts, weight.shape)
    rows, row_counts = _rows(values, plan), _rows(counts, plan)
    row_importance = None if importance is None else _rows(importance, plan)
    best = _centroids(rows, row_counts, plan, "kmeans")
    optimum = _squared_error(rows, row_counts, best, plan.keeps_zeros) / weight.size
    if importance is not None:
        best = _centroids(rows, row_counts * row_importance, plan, "kmeans")
    elif plan.centroid_init != "kmeans":
        best = _centroids(rows, row_counts, plan, plan.centroid_init)
    return _constraint(best, scales, plan), optimum


def _constraint(centroids, scales, plan):
    options = {"keeps_zeros": plan.keeps_zeros, "refresh_steps": plan.refresh_steps}
    if scales is not None:
        return BlockCodebook(centroids, scales, axis=plan.block_axis, **options)
    if plan.channel_axis is not None:
        return ChannelCodebook(centroids, axis=plan.channel_axis, **options)
    return TensorCodebook(centroids, **options)


def _split(weight, axis, block_size):
    shape = list(weight.shape)
    shape[axis : axis + 1] = [shape[axis] // block_size, block_size]
    return weight.reshape(shape)


def _rows(values, plan):
    if plan.channel_axis is None:
        return values.reshape(1, -1)
    return np.moveaxis(values, plan.channel_axis, 0).reshape(
        values.shape[plan.channel_axis], -1
    )


def _centroids(rows, counts, plan, init):
    """Returns centroids, shape `(rows, k)`, without the zero where zeros are kept."""
    size = plan.num_clusters - plan.keeps_zeros
    if init == "kmeans" and len(rows) > 1 and rows.shape[1] <= _MAX_BATCHED_ROW:
        return kmeans_rows(
            rows, size, weights=counts * (rows != 0) if plan.keeps_zeros else counts
        )
    result = np.empty((len(rows), size), np.float32)
    for number, (row, count) in enumerate(zip(rows, counts, strict=True)):
        if plan.keeps_zeros:
            row, count = row[row != 0], count[row != 0]
        if row.size == 0:  # a channel that is pruned away
            found = np.ones(1, np.float32)
        elif init == "kmeans":
            is_plain = count.strides == (0,) or count.min() == count.max()
            found = kmeans_1d(row, size, weights=None if is_plain else count)
        else:
            found = _tfmot_centroids(row, size, init)
        # Fewer where two means fall on one float: the last one is repeated.
        result[number] = np.pad(found, (0, size - found.size), mode="edge")
    return result


def _squared_error(rows, counts, centroids, keeps_zeros):
    total = 0.0
    for row, count, found in zip(rows, counts, centroids, strict=True):
        if keeps_zeros:
            row, count = row[row != 0], count[row != 0]
        error = row - found[nearest_centroid(row, found)]
        total += float(np.sum(error * error * count, dtype=np.float64))
    return total


def _tfmot_centroids(values, num_clusters, init):
    """Returns what an initializer of TFMOT makes of `values`, ascending."""
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.clustering.keras import (
        clustering_centroids,
    )

    kind = tfmot.clustering.keras.CentroidInitialization[init.upper()]
    factory = clustering_centroids.CentroidsInitializerFactory
    initializer = factory.get_centroid_initializer(kind)
    found = initializer(tf.constant(values), num_clusters).get_cluster_centroids()
    return np.sort(found.numpy().astype(np.float32))
