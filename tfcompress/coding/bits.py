"""Bit patterns of arrays: lossless means that these are the same.

-0.0 and 0.0 differ, and so do the payloads of NaN, which comparisons of floating-point
numbers do not see.
"""

import functools

import numpy as np

# The first look at a tensor: enough to meet more than 257 values in ordinary weights.
_FIRST_CHUNK = 4096
_CHUNK = 1 << 18

# Multipliers to try: fewer than one tensor in 10**12 needs more.
_NUM_TRIES = 32


def as_bits(array):
    """Views an array as unsigned integers of the same size, flattened in C order."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.dtype(f"u{flat.itemsize}"))


def same_bits(first, second):
    """Returns True where two arrays have the same shape, dtype and bits.

    >>> same_bits(np.float32([0.0]), np.float32([-0.0]))
    False
    >>> same_bits(np.float32([np.nan]), np.float32([np.nan]))
    True
    """
    return (
        first.shape == second.shape
        and first.dtype == second.dtype
        and np.array_equal(as_bits(first), as_bits(second))
    )


def distinct_bits(array, *, limit=None):
    """Finds the distinct bit patterns of an array.

    Args:
        array: any dtype of 1, 2, 4 or 8 bytes an element.
        limit: stop, and return None, when there are more.
    Returns:
        Unsigned integers, sorted, shape `(n,)`; None if there are more than `limit`.
        An ordinary dense weight is told from a clustered one by its first few thousand
        elements.

    >>> distinct_bits(np.float16([1.0, -0.0, 0.0])).tolist()
    [0, 15360, 32768]
    """
    bits = as_bits(array)
    values = np.unique(bits[:_FIRST_CHUNK])
    for start in range(_FIRST_CHUNK, bits.size, _CHUNK):
        if limit is not None and values.size > limit:
            break
        values = np.union1d(values, bits[start : start + _CHUNK])
    return values if limit is None or values.size <= limit else None


def index_bits(bits, values):
    """Returns the place of each element among the distinct values.

    Args:
        bits: unsigned integers, shape `(n,)`, all of them among `values`.
        values: unsigned integers, sorted, at most 256.
    Returns:
        uint8 array, shape `(n,)`.

    >>> index_bits(np.uint32([7, 5, 7]), np.uint32([5, 7])).tolist()
    [1, 0, 1]
    """
    find = _hashed(values) if values.dtype == np.uint32 else None
    if find is None:
        find = functools.partial(np.searchsorted, values)
    indices = np.empty(bits.size, np.uint8)
    for start in range(0, bits.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        indices[part] = find(bits[part])
    return indices


def _hashed(values):
    """Returns what `np.searchsorted(values, .)` gives for the values, 20 times as fast.

    It multiplies, and looks the upper half of the product up in a table. 256 values
    fall apart so under three in five multipliers; None if no multiplier was found.
    """
    for multiplier in np.random.default_rng(0).integers(1 << 31, 1 << 32, _NUM_TRIES):
        multiplier = np.uint32(multiplier | 1)
        hashes = values * multiplier >> np.uint32(16)
        if np.unique(hashes).size == values.size:
            table = np.zeros(1 << 16, np.uint8)
            table[hashes] = np.arange(values.size)
            return lambda bits: table[bits * multiplier >> np.uint32(16)]
    return None
