"""Weights that lie on an integer grid already: found by their content.

Quantization-aware training leaves weights that are whole multiples of a scale. The
quantizers' own rule, a scale for each channel of the largest magnitude by 127, finds
that scale again where the grid is of 8 bits and each channel has its own. It does not
where one scale is for the whole tensor, as where values are shared (clusters), nor
where the grid is of 4 bits: the weights would be rounded a second time and a
codebook's values multiply. Such weights are found here and written on their own grid.
"""

import dataclasses

import numpy as np

# Of a step. A product of two float32 is off by 127 * 2**-23 steps at most; by chance
# one weight in 5,000 lies as near to a whole number.
_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """A symmetric grid: weight = scale * integer, exact but for float32's rounding.

    Attributes:
        num_bits: 4 or 8; the integers reach from -(2**(num_bits-1) - 1) to its
            opposite.
        scale: float32, shape `()` or `(channels,)`.
    """

    num_bits: int
    scale: np.ndarray

    @property
    def is_per_tensor(self):
        """Whether one scale is for all weights."""
        return self.scale.ndim == 0

    def integers(self, weights, channel_axis):
        """Returns the int8 array of `weights`, which lie on the grid."""
        scale = _along(self.scale, weights.ndim, channel_axis)
        return np.rint(weights / scale).astype(np.int8)

    def scales(self, num_channels):
        """Returns float32 scales of shape `(num_channels,)`."""
        return np.broadcast_to(self.scale, (num_channels,)).copy()


def find_grid(weights, channel_axis):
    """Finds the grid that every weight lies on: of 4 bits if it can be, else of 8.

    Args:
        weights: float32 array, at least one weight.
        channel_axis: axis of the output channels, to look for a scale for each.
    Returns:
        `Grid`, with one scale where one is enough; None where there is none.

    >>> import numpy as np
    >>> weights = np.float32([[0.25, -1.75], [0.5, 0.0]])
    >>> find_grid(weights, 1).num_bits, float(find_grid(weights, 1).scale)
    (4, 0.25)
    >>> find_grid(weights + np.float32([[0, 0], [0, 0.1]]), 1) is None
    True
    """
    axes = tuple(a for a in range(weights.ndim) if a != channel_axis % weights.ndim)
    magnitudes = np.abs(weights.astype(np.float64))
    bounds = (magnitudes.max(), magnitudes.max(axis=axes))
    for bound in bounds:
        for num_bits in (4, 8):
            scale = np.asarray(bound / (2 ** (num_bits - 1) - 1))
            scale = np.where(scale > 0, scale, 1.0)  # all zero: any scale will do
            steps = magnitudes / _along(scale, weights.ndim, channel_axis)
            if np.abs(steps - np.rint(steps)).max() <= _TOLERANCE:
                return Grid(num_bits, scale.astype(np.float32))
    return None


def _along(scale, ndim, channel_axis):
    """Returns the scale in a shape that the weights' broadcasts with."""
    if not scale.ndim:
        return scale
    shape = [1] * ndim
    shape[channel_axis] = -1
    return scale.reshape(shape)
