"""Outputs of a file beside those of its source."""

import numpy as np


class Mismatch(Exception):
    """An output is not the source's; the message says which and how."""


def compare_outputs(expected, found, bound):
    """Compares named outputs.

    Args:
        expected: name -> array of the source.
        found: name -> array of the file.
        bound: largest error, as `Verification.error` defines it.
    Returns:
        The largest error of an output; None if no output holds a finite number.
    Raises:
        Mismatch: if an output is missing, has another shape or type, holds NaN or
            infinity where the source's has numbers, or lies beyond the bound.
    """
    errors = []
    for name, wanted in expected.items():
        if name not in found:
            raise Mismatch(
                f"it has no output {name!r}; its outputs are "
                f"{', '.join(map(repr, sorted(found)))}"
            )
        _check_kind(name, wanted, found[name])
        error = _error(name, wanted, found[name])
        if error is None:
            continue
        if error > bound:
            raise Mismatch(
                f"its output {name!r} is off by {error:.2g} of the source's, and "
                f"{bound:g} is allowed"
            )
        errors.append(error)
    return max(errors, default=None)


def _check_kind(name, wanted, actual):
    if (wanted.shape, wanted.dtype) != (actual.shape, actual.dtype):
        raise Mismatch(
            f"its output {name!r} is {actual.dtype} of shape {actual.shape}, the "
            f"source's {wanted.dtype} of shape {wanted.shape}"
        )


def _error(name, wanted, actual):
    """Returns the error of an output, None where there is no number to compare."""
    if not wanted.size:
        return None
    if not np.issubdtype(wanted.dtype, np.inexact):
        return float(np.mean(wanted != actual))
    is_number = np.isfinite(wanted)
    if not np.isfinite(actual[is_number]).all():
        raise Mismatch(
            f"its output {name!r} holds NaN or infinity where the source's has numbers"
        )
    if not is_number.any():
        return None
    wanted = wanted[is_number].astype(np.float64)
    difference = actual[is_number].astype(np.float64) - wanted
    scale = np.sqrt(np.mean(wanted**2))
    return float(np.sqrt(np.mean(difference**2)) / (scale or 1.0))
