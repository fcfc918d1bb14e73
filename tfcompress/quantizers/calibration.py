"""Examples that a static file's activation ranges come from, and the ranges.

Take the examples from the training split: ranges that have seen the test split make its
figures worthless. 300 are the field's custom.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from tfcompress.errors import InvalidValueError

RANGE_ESTIMATORS = ("min_max", "percentile")

# A histogram whose range grows by doubling is never finer than this share of it.
_NUM_BINS = 4096
# Examples that are run at once: all activations of them are in memory.
_BATCH_SIZE = 4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationData:
    """Examples, and how ranges are made of what they put into each activation.

    Attributes:
        inputs: name of a model's input -> array of shape `(n, ...)`, n of at least 1
            and the same for all; dtypes as the model takes them.
        range_estimator: `"min_max"`: from the least to the greatest value that was
            seen. `"percentile"`: what lies beyond the percentile at either end is
            clipped; NNCF takes it of each example and the mean over the examples.
        percentile: in (50, 100]; only for `"percentile"`.

    Raises:
        InvalidValueError: if there is no example, an array is not finite, no input
            differs from element to element or from example to example, or a setting
            is unknown.
    """

    inputs: Mapping[str, np.ndarray]
    range_estimator: str = "min_max"
    percentile: float = 99.99

    def __post_init__(self):
        if self.range_estimator not in RANGE_ESTIMATORS:
            raise InvalidValueError(
                "CalibrationData.range_estimator must be one of "
                f"{', '.join(RANGE_ESTIMATORS)}, got {self.range_estimator!r}."
            )
        if not 50 < self.percentile <= 100:
            raise InvalidValueError(
                "CalibrationData.percentile must be in (50, 100], "
                f"got {self.percentile!r}. Write 99.99 to clip 1 value in 10,000."
            )
        _check_inputs(self.inputs)

    @property
    def num_examples(self):
        """Number of examples."""
        return len(next(iter(self.inputs.values())))

    def batches(self, size=_BATCH_SIZE):
        """Yields dicts of name -> array, at most `size` examples each."""
        for begin in range(0, self.num_examples, size):
            yield {name: a[begin : begin + size] for name, a in self.inputs.items()}

    def ranges(self):
        """Returns a new, empty `Ranges` with these settings."""
        tail = 0.0
        if self.range_estimator == "percentile":
            tail = 1.0 - self.percentile / 100
        return Ranges(tail)


def _check_inputs(inputs):
    sizes = {name: len(array) for name, array in inputs.items()}
    if not sizes or not min(sizes.values()):
        raise InvalidValueError(
            f"The calibration data holds no examples, got sizes {sizes!r}. Give at "
            "least one example of the training split, better 300."
        )
    if len(set(sizes.values())) > 1:
        raise InvalidValueError(
            "The calibration inputs must hold the same number of examples, got "
            f"{sizes!r}."
        )
    for name, array in inputs.items():
        if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
            raise InvalidValueError(
                f"The calibration input {name!r} holds NaN or infinity; ranges cannot "
                "be made of it. Remove those examples."
            )
    if all(_is_constant(array) for array in inputs.values()):
        raise InvalidValueError(
            "The calibration data is constant: every example of "
            f"{', '.join(map(repr, inputs))} is the same, so that no range can be made "
            "of it. Give examples of the training split."
        )


def _is_constant(array):
    """Returns whether all examples are alike, or a single one holds one value."""
    if len(array) > 1:
        return bool((array == array[:1]).all())
    return bool((array == array.flat[0]).all())


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

    def __getitem__(self, name):
        """Returns the range of an activation, two floats that enclose zero.

        Raises:
            KeyError: if no batch held it.
        """
        least, greatest = self._least[name], self._greatest[name]
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
