"""Examples that a static file's activation ranges come from, and the ranges.

Take the examples from the training split: ranges that have seen the test split make its
figures worthless. 300 are the field's custom.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from tfcompress.activation_ranges import RANGE_ESTIMATORS, Ranges
from tfcompress.errors import InvalidValueError
from tfcompress.runtime.session import check_inputs

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
    def num_examples(self) -> int:
        """Number of examples."""
        return len(next(iter(self.inputs.values())))

    def batches(
        self, size: int | None = None, *, whole: bool = False
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields dicts of name -> array, at most `size` examples each.

        Args:
            size: examples in one; 4 unless the model takes another number.
            whole: whether those left over that fill no batch are left out.
        """
        size = size or _BATCH_SIZE
        end = self.num_examples - whole * (self.num_examples % size)
        for begin in range(0, end, size):
            yield {name: a[begin : begin + size] for name, a in self.inputs.items()}

    def ranges(self) -> Ranges:
        """Returns a new, empty `Ranges` with these settings."""
        tail = 0.0
        if self.range_estimator == "percentile":
            tail = 1.0 - self.percentile / 100
        return Ranges(tail)


def check_calibration(specs, calibration):
    """Checks calibration data against what a model takes.

    A model whose batch is fixed takes the examples that many at a time.

    Args:
        specs: sequence of `TensorSpec` of the model's inputs.
        calibration: `CalibrationData`.
    Returns:
        Number of examples that the model takes in one run, None where it takes any.
    Raises:
        InvalidValueError: if a name, a dtype or a shape is not the model's, or there
            are fewer examples than one run takes.
    """
    sizes = {spec.shape[0] for spec in specs if spec.shape}
    size = next(iter(sizes - {None}), None)
    first = next(calibration.batches(size)) if size else calibration.inputs
    check_inputs(specs, first)
    return size


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
