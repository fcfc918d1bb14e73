"""Random inputs that a model takes, found by asking it.

What a number means to a model is not in its file: an id has to lie in its table, a mask
is 0 or 1, a free size may have to be above some other. So inputs are tried, from the
likeliest to the safest, and integers get the widest range that the model takes.
"""

import numpy as np

from tfcompress.errors import ArtifactError

BATCH_SIZE = 4
# Free sizes: a length of a text, the side of an image, what a series of poolings needs.
_SIZES = (8, 32, 128, 1)
# Ranges of integers where nothing is known of the model's tables: its rows are met down
# to a quarter of them.
_POWERS = tuple(4**exponent for exponent in range(9, 0, -1))
_MOST_RANGES = 8  # that are tried, where they are known


def find_inputs(specs, run, table_sizes=None):
    """Finds inputs for which a model gives numbers.

    Args:
        specs: `TensorSpec` of each input.
        run: function of a dict of name -> array that returns a dict of output arrays,
            or raises `ArtifactError` where the model does not take them.
        table_sizes: input name -> numbers of rows that its tables may have, by which
            ranges of integers are chosen. None where nothing is known of them.
    Returns:
        The inputs, a dict of name -> array, and the outputs for them. Outputs may hold
        NaN where those of all inputs do.
    Raises:
        ArtifactError: if the model takes none; the message of the last one tried.
    """
    fallback, refusal = None, None
    for size in _SIZES:
        for draw in (_normal, _binary, _unit):
            inputs = {spec.name: _example(spec, size, draw) for spec in specs}
            try:
                outputs = run(inputs)
            except ArtifactError as error:
                refusal = error
                continue
            if are_finite(outputs):
                return _widen(specs, run, inputs, outputs, table_sizes)
            fallback = fallback or (inputs, outputs)
        if fallback or all(None not in spec.shape[1:] for spec in specs):
            break
    if fallback is None:
        raise refusal
    return fallback


def are_finite(outputs):
    """Returns whether no floating-point output holds NaN or infinity."""
    return all(
        np.isfinite(array).all()
        for array in outputs.values()
        if np.issubdtype(array.dtype, np.inexact)
    )


def _widen(specs, run, inputs, outputs, table_sizes):
    """Gives each integer input the widest range of those that the model takes."""
    for spec in specs:
        shape = inputs[spec.name].shape
        # A single number may be a count of steps or a size.
        if not np.issubdtype(spec.dtype, np.integer) or np.prod(shape[1:]) < 2:
            continue
        limit = np.iinfo(spec.dtype).max
        for high in _ranges(spec.name, table_sizes):
            values = _random().integers(0, min(high, limit), shape)
            wider = inputs | {spec.name: values.astype(spec.dtype)}
            try:
                found = run(wider)
            except ArtifactError:
                continue
            if are_finite(found):
                inputs, outputs = wider, found
                break
    return inputs, outputs


def _ranges(name, table_sizes):
    if table_sizes is None:
        return _POWERS
    sizes = {size for size in table_sizes.get(name, ()) if size > 2}
    return sorted(sizes, reverse=True)[:_MOST_RANGES]


def _example(spec, free_size, draw):
    shape = [free_size if size is None else size for size in spec.shape]
    if spec.shape and spec.shape[0] is None:
        shape[0] = BATCH_SIZE
    if np.issubdtype(spec.dtype, np.floating):
        return draw(shape).astype(spec.dtype)
    return np.asarray(_random().integers(0, 2, shape)).astype(spec.dtype)


def _random():
    return np.random.default_rng(0)


def _normal(shape):
    return np.asarray(_random().normal(size=shape))


def _unit(shape):
    return np.asarray(_random().uniform(size=shape))


def _binary(shape):
    return np.asarray(_random().integers(0, 2, shape))
