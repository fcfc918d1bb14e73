"""Finds the weights of a model's layers in a model file, by what they hold.

Converters rename, transpose and reshape weights, and multiply a BatchNormalization that
follows into them. So a weight is told by its values: first to the bit in whatever
order, as converters also sort the gates of recurrent layers; then up to one factor for
each channel, which is what a folded BatchNormalization or a scale of integers is. What
neither finds is not in the file, and stays without figures.
"""

import itertools
import math

import numpy as np

# Share of the norm that may be left over once every channel has its own factor. Of
# floating-point numbers it is rounding, to 16 bits at most; of integers it is what 4
# bits leave over; of another tensor it is nearly all.
_FLOAT_TOLERANCE, _INTEGER_TOLERANCE = 1e-2, 0.3
# Elements of a channel: one factor fits fewer well, whatever they are.
_MIN_CHANNEL_SIZE = 4
# Weights of more dimensions are looked for as they are, and not transposed.
_MAX_TRANSPOSED_NDIM = 5


def find_tensors(weights, tensors):
    """Finds each weight among the tensors of a file.

    Each tensor stands for one weight, unless weights are equal to the bit: a converter
    may write those once.

    Args:
        weights: dict of key -> float array, as the model has it.
        tensors: dict of name -> array of the file, integers as they lie there.
    Returns:
        Dict of key -> name; None where the weight is not there.

    >>> kernel = np.float32([[1, 2, 3], [4, 5, 6]])
    >>> find_tensors({"kernel": kernel}, {"a": -kernel, "b": kernel.T})
    {'kernel': 'b'}
    """
    found, free = {}, dict(tensors)
    for key, weight in weights.items():
        same = [n for n, t in tensors.items() if _is_same(weight, t)]
        if same:
            found[key] = next((name for name in same if name in free), same[0])
            free.pop(found[key], None)
    for key, weight in weights.items():
        if key in found:
            continue
        name, left_over = min(
            ((name, _left_over(weight, tensor)) for name, tensor in free.items()),
            key=lambda pair: pair[1],
            default=(None, math.inf),
        )
        found[key] = name if left_over <= 1 else None
        free.pop(found[key], None)
    return {key: found[key] for key in weights}


def _is_same(weight, tensor):
    """Whether a tensor holds the values of a weight, to the bit, in any order."""
    if tensor.size != weight.size or tensor.dtype.kind != "f":
        return False
    bits = f"u{tensor.dtype.itemsize}"
    first, second = (
        np.sort(np.ascontiguousarray(array).view(bits), axis=None)
        for array in (weight.astype(tensor.dtype), tensor)
    )
    return np.array_equal(first, second)


def _left_over(weight, tensor):
    """Returns what a factor for each channel leaves over, in tolerances."""
    if tensor.size != weight.size or not np.any(weight):
        return math.inf
    is_float = tensor.dtype.kind == "f"
    tolerance = _FLOAT_TOLERANCE if is_float else _INTEGER_TOLERANCE
    values = tensor.reshape(-1).astype(np.float32)
    norm = np.linalg.norm(values)
    best = min(
        (
            _distance(weight.astype(np.float32).transpose(order), values)
            for order in _orders(weight.shape)
        ),
        default=math.inf,
    )
    return best / norm / tolerance if norm else math.inf


def _distance(weight, values):
    """Returns the norm of what is left over with factors along the best axis."""
    values = values.reshape(weight.shape)
    distances = [math.inf]
    for axis in range(weight.ndim):
        others = tuple(other for other in range(weight.ndim) if other != axis)
        if weight.size < _MIN_CHANNEL_SIZE * weight.shape[axis]:
            continue
        squares = (weight * weight).sum(axis=others, keepdims=True)
        products = (weight * values).sum(axis=others, keepdims=True)
        factors = products / np.where(squares, squares, 1)
        distances.append(float(np.linalg.norm(values - factors * weight)))
    return min(distances)


def _orders(shape):
    """Yields the orders of the axes that differ in how the elements follow."""
    if len(shape) > _MAX_TRANSPOSED_NDIM:
        yield tuple(range(len(shape)))
        return
    seen = set()
    for order in itertools.permutations(range(len(shape))):
        long = tuple(axis for axis in order if shape[axis] > 1)
        if long not in seen:
            seen.add(long)
            yield order
