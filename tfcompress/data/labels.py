"""Labels as whole numbers: of any integer type, never wrapped and never cut."""

import numpy as np

from tfcompress.errors import InvalidValueError

_LIMITS = np.iinfo(np.int32)


def to_labels(values):
    """Returns labels as int32, each the very number that it was.

    Args:
        values: sequence or array, shape `(n,)`: integers of any type, truth values, or
            floats that are whole.
    Returns:
        int32 array, shape `(n,)`.
    Raises:
        InvalidValueError: if they are of another shape or type, or one is not whole or
            beyond int32.

    >>> to_labels(np.float64([0.0, 2.0])), to_labels([True, False])
    (array([0, 2], dtype=int32), array([1, 0], dtype=int32))
    """
    array = np.asarray(values)
    if array.dtype == np.int32 and array.ndim == 1:
        return array
    if array.ndim != 1 or array.dtype.kind not in "iubf":
        raise InvalidValueError(
            "Labels must be whole numbers of shape (examples,), one for each example, "
            f"got {array.dtype} of shape {array.shape}.{_hint(array)}"
        )
    if array.dtype.kind == "f":
        _check(array, ~(array == np.floor(array)) | ~np.isfinite(array), "whole")
    # Python's integers, because 2**31 does not fit where numpy would compare it.
    low, high = int(_LIMITS.min), int(_LIMITS.max)
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        is_wrong = [not low <= int(value) <= high for value in array]
        _check(array, np.array(is_wrong), f"in {low}..{high}")
    return array.astype(np.int32)


def _check(array, is_wrong, what):
    if is_wrong.any():
        index = int(is_wrong.argmax())
        raise InvalidValueError(
            f"Labels must be {what}, got {array[index].item()!r} for example {index}. "
            "Number the classes from 0; a target that is measured, and not one of some "
            "classes, is no label."
        )


def _hint(array):
    if array.ndim == 2 and array.shape[1] > 1:
        return " Of one-hot rows take labels.argmax(axis=1)."
    if array.ndim == 2:
        return " Take labels[:, 0]."
    return " Number the classes from 0."
