"""Weights that train on an integer grid and keep what pruning and clustering made.

What a weight has to keep is told by its values: zeros that are more than 1 in 100,000,
and at most 256 distinct values, in the tensor or in each channel. The constraints of
pruning and clustering hold that, and the grid rounds what they make.

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3, for training with rounded
weights; Bengio et al. (arXiv:1308.3432) for the gradient that passes the rounding.
"""

import dataclasses

import numpy as np

from tfcompress.methods.centroids import has_zeros_to_keep
from tfcompress.methods.codebooks import ChannelCodebook, TensorCodebook
from tfcompress.methods.constrained import WeightConstraint
from tfcompress.methods.integer_grid import fake_quantize, grid_scale, integer_limit
from tfcompress.methods.pruning import MaskedWeight

_MAX_VALUES = 256
# Of weights that were rounded to float16 or bfloat16 a few are equal by chance; of
# clustered channels nearly all are.
_MAX_SHARE_OF_VALUES = 0.9
# A weight that was quantized before repeats its values too: it is clustered where it
# has less than a quarter of the values of its grid, and two weights for each.
_MAX_SHARE_ON_GRID = 0.5


@dataclasses.dataclass(frozen=True)
class _Limits:
    """Up to where repeated values are those of codebooks.

    Attributes:
        num_values: most distinct values of a codebook.
        tensor_share, channel_share: share of the weights that the distinct values stay
            below, those of a tensor's codebook and those of its channels' together.
    """

    num_values: int
    tensor_share: float
    channel_share: float


_FREE = _Limits(_MAX_VALUES, 1.0, _MAX_SHARE_OF_VALUES)


@dataclasses.dataclass(frozen=True)
class WeightGrid:
    """How one weight lies on a grid.

    Args:
        num_bits: 8 or 4.
        channel_axes: axes with a scale for each index, as of `grid_scale`.
        output_axis: axis of the output channels, in which clusters are looked for.
    """

    num_bits: int
    channel_axes: tuple[int, ...]
    output_axis: int


def grid_constraint(weight, grid):
    """Returns the constraint that holds a weight on its grid.

    Args:
        weight: float32 array, finite, with the zeros and clusters to keep.
        grid: `WeightGrid`. A weight that is clustered as a whole has one scale.
    Returns:
        `QuantizedWeight`, `QuantizedCodebook` or `QuantizedChannelCodebooks`.
    """
    limits = _FREE
    if _is_on_grid(weight, grid):
        most = integer_limit(grid.num_bits) // 2
        limits = _Limits(most, _MAX_SHARE_ON_GRID, _MAX_SHARE_ON_GRID)
    keeps_zeros = has_zeros_to_keep(weight)
    options = {"num_bits": grid.num_bits, "keeps_zeros": keeps_zeros}
    table = _find_codebooks(weight, grid.output_axis, limits)
    if table is None:
        return QuantizedWeight(grid, MaskedWeight(weight != 0) if keeps_zeros else None)
    if table.ndim == 1:
        return QuantizedCodebook(table, **options)
    return QuantizedChannelCodebooks(
        table,
        axis=grid.output_axis,
        has_channel_scales=grid.output_axis in grid.channel_axes,
        **options,
    )


def keeping_constraint(weight, axis):
    """Returns the constraint that holds the zeros and clusters of a float weight.

    Args:
        weight: float32 array, finite.
        axis: axis of the output channels.
    Returns:
        `WeightConstraint`, or `None` where there is nothing to keep.
    """
    keeps_zeros = has_zeros_to_keep(weight)
    table = _find_codebooks(weight, axis, _FREE)
    if table is None:
        return MaskedWeight(weight != 0) if keeps_zeros else None
    if table.ndim == 1:
        return TensorCodebook(table, keeps_zeros=keeps_zeros)
    return ChannelCodebook(table, axis=axis, keeps_zeros=keeps_zeros)


class QuantizedWeight(WeightConstraint):
    """A weight whose values are rounded to a grid of their own.

    Args:
        grid: `WeightGrid`.
        constraint: `WeightConstraint` whose result is rounded, or `None`.
    """

    def __init__(self, grid, constraint=None):
        self._grid = grid
        self._constraint = constraint

    def build(self, name, weight, add_weight):
        """Makes the variables of the constraint inside."""
        if self._constraint is not None:
            self._constraint.build(name, weight, add_weight)

    def __call__(self, weight, training):
        """Returns float32 values on the grid that they span now."""
        import tensorflow as tf

        if self._constraint is None:
            values = tf.convert_to_tensor(weight)
        else:
            values = self._constraint(weight, training)
        scale = grid_scale(values, self._grid.num_bits, self._grid.channel_axes)
        return fake_quantize(values, scale)

    def structure(self, values):
        """Returns plain arrays that describe the weight.

        Args:
            values: float32 array, the weight as the constraint gives it.
        Returns:
            `{"scale": float32 () or (channels,), "bits": int}`.
        """
        scale = grid_scale(values, self._grid.num_bits, self._grid.channel_axes)
        shape = (-1,) if self._grid.channel_axes else ()
        return {"scale": scale.numpy().reshape(shape), "bits": self._grid.num_bits}


class _TableOnGrid:
    """Rounds the table of codebooks, before any weight looks up its value.

    Only entries that weights have count for the scale: the largest magnitude of the
    weight is then the grid's last point.

    Args:
        num_bits: 8 or 4.
        has_channel_scales: whether each codebook has a scale.
    """

    def __init__(self, centroids, *, num_bits, has_channel_scales=False, **options):
        super().__init__(centroids, **options)
        self._num_bits = num_bits
        self._scale_axes = (0,) if has_channel_scales else ()
        self._used = None

    def build(self, name, weight, add_weight):
        """Makes the variables, and assigns `weight` as it is."""
        rows, width = self._initial.shape
        self._used = add_weight(
            "used",
            shape=(rows, width + self._keeps_zeros),
            dtype="bool",
            initializer="zeros",
            trainable=False,
        )
        super().build(name, weight, add_weight)

    def structure(self, values):
        """Returns the codebook as it is rounded, with `"scale"` and `"bits"`.

        Args:
            values: not looked at; the variables say it.
        """
        del values
        scale = self._scale(super()._table()).numpy()
        return super().structure() | {
            "scale": scale.reshape((-1,) if self._scale_axes else ()),
            "bits": self._num_bits,
        }

    def _assign(self, weight):
        import tensorflow as tf

        super()._assign(weight)
        size = self._used.shape.num_elements()
        index = tf.reshape(self._index(self._assignments), [-1])
        counts = tf.math.bincount(index, minlength=size, maxlength=size)
        self._used.assign(tf.reshape(counts > 0, self._used.shape))

    def _table(self):
        import tensorflow as tf

        table = super()._table()
        scale = self._scale(table)
        limit = scale * integer_limit(self._num_bits)
        return fake_quantize(tf.clip_by_value(table, -limit, limit), scale)

    def _scale(self, table):
        import tensorflow as tf

        used = tf.where(self._used, table, 0.0)
        return grid_scale(used, self._num_bits, self._scale_axes)


class QuantizedCodebook(_TableOnGrid, TensorCodebook):
    """One codebook for a tensor, on a grid of one scale."""


class QuantizedChannelCodebooks(_TableOnGrid, ChannelCodebook):
    """A codebook for each channel, on grids by channel or on one."""


def _is_on_grid(weight, grid):
    """Whether quantizing a weight would change nothing."""
    scale = grid_scale(weight, grid.num_bits, grid.channel_axes)
    return np.array_equal(fake_quantize(weight, scale).numpy(), weight)


def _find_codebooks(weight, axis, limits):
    """Finds the codebooks that a weight looks its values up in, by its values.

    Args:
        weight: float32 array.
        axis: axis of the output channels.
        limits: `_Limits`.
    Returns:
        float32 `(num_values,)`, or of channels `(num_channels, num_values)`, without
        the zeros that are kept; `None` where the values are those of free weights.
    """
    keeps_zeros = has_zeros_to_keep(weight)
    channels = np.moveaxis(weight, axis, 0)
    tensor = [_distinct(weight, keeps_zeros)]
    rows = [_distinct(channel, keeps_zeros) for channel in channels]
    num_weights = np.count_nonzero(weight) if keeps_zeros else weight.size
    most = limits.num_values - keeps_zeros
    has_one = _are_codebooks(tensor, num_weights, most, limits.tensor_share)
    has_many = _are_codebooks(rows, num_weights, most, limits.channel_share)
    # Codebooks of channels have no value in common; one of the tensor is in them all.
    if has_one and (len(rows) == 1 or _num_values(rows) > _num_values(tensor)):
        return tensor[0]
    return _as_table(rows) if has_many else None


def _are_codebooks(rows, num_weights, most, share):
    """Whether lists of distinct values are too short to be those of free weights."""
    longest = max(row.size for row in rows)
    return 0 < longest <= most and _num_values(rows) < share * num_weights


def _num_values(rows):
    return sum(row.size for row in rows)


def _distinct(values, keeps_zeros):
    """Returns the distinct values, ascending, without the zero that is kept."""
    ordered = np.sort(values, axis=None)
    ordered = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    return ordered[ordered != 0] if keeps_zeros else ordered


def _as_table(rows):
    """Returns rows of unequal length as an array; their last value is repeated."""
    table = np.ones((len(rows), max(row.size for row in rows)), np.float32)
    for line, row in zip(table, rows, strict=True):
        if row.size:  # a channel that is pruned away looks nothing up
            line[:] = np.pad(row, (0, line.size - row.size), mode="edge")
    return table
