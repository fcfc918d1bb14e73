"""Ranges of activations, gathered from what flows through a model on examples."""

import numpy as np

from tfcompress.errors import InvalidValueError

RANGE_ESTIMATORS = ("min_max", "percentile")

# A histogram whose range grows by doubling is never finer than this share of it.
_NUM_BINS = 4096


class Ranges:
    """Gathers the range of each activation from one batch after the other.

    Args:
        tail: share of the values to clip at either end, in [0, 0.5); 0 keeps all.
    """

    def __init__(self, tail=0.0):
        self._tail = tail
        self._least, self._greatest = {}, {}
        self._histograms = {}

    def add(self, name, values):
        """Takes the values of one activation in one batch.

        Args:
            name: the activation's name.
            values: float32 array of any shape.
        Raises:
            InvalidValueError: if a value is not finite.
        """
        least, greatest = float(values.min()), float(values.max())
        if not np.isfinite([least, greatest]).all():
            raise InvalidValueError(
                f"The activation {name!r} is NaN or infinite on the calibration data; "
                "no range can be made of it. Check the model's weights."
            )
        self._least[name] = min(least, self._least.get(name, least))
        self._greatest[name] = max(greatest, self._greatest.get(name, greatest))
        if self._tail:
            bound = max(abs(least), abs(greatest))
            self._histograms.setdefault(name, _Histogram()).add(values, bound)

    def limits(self, name):
        """Returns the least and the greatest value that were seen of an activation."""
        return self._least[name], self._greatest[name]

    def __getitem__(self, name):
        """Returns the range of an activation, two floats that enclose zero.

        Raises:
            KeyError: if no batch held it.
        """
        least, greatest = self.limits(name)
        if self._tail:
            low, high = self._histograms[name].quantiles(self._tail)
            least, greatest = max(least, low), min(greatest, high)
        return min(least, 0.0), max(greatest, 0.0)


class _Histogram:
    """Counts in bins over [-bound, bound]; the bound doubles as values ask for it."""

    def __init__(self):
        self._bound = 0.0
        self._counts = np.zeros(_NUM_BINS, np.int64)

    def add(self, values, bound):
        self._bound = self._bound or bound or 1.0
        while self._bound < bound:
            pairs = self._counts.reshape(-1, 2).sum(1)
            self._counts = np.pad(pairs, _NUM_BINS // 4)
            self._bound *= 2
        limits = (-self._bound, self._bound)
        self._counts += np.histogram(values, _NUM_BINS, limits)[0]

    def quantiles(self, tail):
        """Returns the values that leave `tail` of all below, and above."""
        edges = np.linspace(-self._bound, self._bound, _NUM_BINS + 1)
        below = np.concatenate([[0], np.cumsum(self._counts)]) / self._counts.sum()
        return (
            float(np.interp(tail, below, edges)),
            float(np.interp(1 - tail, below, edges)),
        )
