"""What float16 can hold: a check before weights are stored in it."""

import numpy as np

from tfcompress.errors import UnsupportedModelError

LIMIT = float(np.finfo(np.float16).max)
"""The largest finite float16, 65504."""


def check_range(values, name, model_name):
    """Refuses weights of which some would become infinite in float16.

    Args:
        values: array. Anything but float32 passes, and so does a single number, which
            is a parameter of an operator and keeps its type.
        name: the weights' name in the file.
        model_name: the model's name.
    Raises:
        UnsupportedModelError: if a finite number lies beyond float16's range.

    >>> check_range(np.array([1.0, 65504.0], np.float32), "kernel", "model")
    """
    if values.dtype != np.float32 or values.size < 2:
        return
    largest = np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max()
    if largest > LIMIT:
        raise UnsupportedModelError(
            f"Model {model_name!r} cannot be written in float16: {name!r} holds "
            f"{float(largest)!r}, and float16 ends at {LIMIT!r}. Write it in float32."
        )
