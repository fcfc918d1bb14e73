"""Structures of weights that bits alone do not show: codebooks of channels, scales.

Clustering by channel or with block scales leaves weights of thousands of distinct
values, which few numbers have made. Who clustered knows those numbers and hands them on
as hints, plain dicts (`CompressionReport.structures`):

    per tensor    {"codebook": (k,)}: not needed, as codes find it; ignored
    per channel   {"codebook": (channels, k), "axis": int}
    block scales  {"codebook": (k,), "scales": float16, "axis": int, "block_size": int}

Integers of 8 bits have no hints: where each channel of a quantized weight has few
values, be it that it was clustered by channel or that the scales of channels spread one
codebook, its own bits show it.

A weight of block scales is a codebook entry times the scale of its block, both as
float32, rounded once; `scales` has the weight's shape, but along `axis` an element for
each block.

Files name, transpose and reshape weights as their converters like: a constant is told
by its content. A hint fits where it gives every value to the bit, else it is ignored.
"""

import dataclasses
import itertools
import math

import numpy as np

from tfcompress.coding.bits import as_bits

_MAX_ENTRIES = 256

# Of integers: beyond it an index is hardly smaller than the integer.
_MAX_CHANNEL_ENTRIES = 64

# Weights of more dimensions are looked for as they are, and not transposed.
_MAX_TRANSPOSED_NDIM = 4

# Elements of the first look, which turns nearly all wrong hints down, and of the rest.
_FIRST_CHUNK = 1 << 8
_CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """What a tensor is made of, checked to the bit.

    Attributes:
        view: shape of three dimensions that the tensor, in C order, is looked at in:
            with scales `(blocks, block size, inner)`, else `(outer, channels, inner)`.
        codebook: of the tensor's dtype; with scales `(k,)`, else `(channels, k)`.
        indices: uint8 array, shape `(size,)`, in C order: entry of the codebook, or of
            its channel's row of it.
        scales: float16 array, shape `(blocks, 1, inner)`, or None. The tensor in shape
            `view` is the entries times the scales, both float32.
    """

    view: tuple[int, int, int]
    codebook: np.ndarray
    indices: np.ndarray
    scales: np.ndarray | None = None


def find_structure(array, hints):
    """Finds the hint that an array was made from, or the codebooks of its channels.

    Args:
        array: the constant. Of integers of 8 bits the hints are not looked at.
        hints: sequence of dicts, see above; those without a codebook are passed over.
            That of a weight of another size costs nothing, one of the same size but
            other values next to nothing.
    Returns:
        `Structure` of the first hint that gives the array to the bit, or None. Of
        integers that with the fewest values in a channel of the first or of the last
        dimension, None where that is no fewer than in the whole.

    >>> hint = {"codebook": np.float32([-1, 2]), "axis": 0, "block_size": 2}
    >>> hint["scales"] = np.float16([[0.5, 3.0, 1.0]])
    >>> weight = np.float32([[-0.5, 6.0, -1.0], [1.0, 6.0, 2.0]])
    >>> structure = find_structure(weight.T, [hint])
    >>> structure.view, structure.indices.tolist()
    ((3, 2, 1), [0, 1, 1, 1, 0, 1])
    >>> find_structure(weight + 1, [hint])
    """
    if array.dtype.kind in "iu":
        return _find_channels(array)
    for hint in hints:
        if not _has_small_codebook(hint):
            structure = None
        elif "scales" in hint:
            structure = _fit_blocks(array, hint)
        elif "axis" in hint:
            structure = _fit_channels(array, hint)
        else:
            structure = None
        if structure is not None:
            return structure
    return None


def _has_small_codebook(hint):
    shape = np.shape(hint.get("codebook"))
    return bool(shape) and 0 < shape[-1] <= _MAX_ENTRIES


def _fit_blocks(array, hint):
    scales, block_size = np.asarray(hint["scales"]), int(hint["block_size"])
    codebook = _sorted(np.asarray(hint["codebook"], np.float32))
    if array.size != scales.size * block_size or array.dtype != np.float32:
        return None
    if scales.dtype != np.float16 or (scales < 0).any():
        return None
    for order in _orders(scales.ndim):
        axis = order.index(hint["axis"] % scales.ndim)
        inner = math.prod(scales.shape[i] for i in order[axis + 1 :])
        view = (scales.size // inner, block_size, inner)
        moved = np.ascontiguousarray(scales.transpose(order)).reshape(-1, 1, inner)
        indices = _indices(array.reshape(view), codebook[None, None], moved)
        if indices is not None:
            return Structure(view, codebook, indices, moved)
    return None


def _fit_channels(array, hint):
    codebook = _sorted(np.asarray(hint["codebook"]).astype(array.dtype))
    num_channels = len(codebook)
    for outer, inner in _sides_of_channels(array.shape, num_channels):
        rows = array.reshape(outer, num_channels, inner)
        entries = codebook[None]
        if outer == 1:  # Parts are cut from the first dimension.
            rows, entries = rows.transpose(1, 0, 2), codebook[:, None]
        indices = _indices(rows, entries)
        if indices is not None:
            return Structure((outer, num_channels, inner), codebook, indices)
    return None


def _find_channels(array):
    if array.ndim < 2 or array.itemsize > 1 or not array.size:
        return None
    bits = as_bits(array)
    best, fewest = None, min(np.unique(bits).size - 1, _MAX_CHANNEL_ENTRIES)
    first, last = array.shape[0], array.shape[-1]
    for view in ((1, first, array.size // first), (array.size // last, last, 1)):
        if np.unique(bits.reshape(view)[:, 0]).size > fewest:
            continue  # Nearly all others end here.
        is_used = np.zeros((view[1], 1 << 8), bool)
        for part, channels in _parts_of_channels(view):
            is_used[channels, bits[part]] = True
        num_entries = int(is_used.sum(axis=1).max())
        if num_entries <= fewest:
            best, fewest = (view, is_used), num_entries
    return None if best is None else _structure_of_channels(bits, array.dtype, *best)


def _structure_of_channels(bits, dtype, view, is_used):
    """Makes the `Structure` of integers; `is_used` tells the bits of each channel."""
    num_entries = is_used.sum(axis=1).max()
    codebook = np.argsort(~is_used, axis=1, kind="stable")[:, :num_entries]
    place = (np.cumsum(is_used, axis=1) - 1).astype(np.uint8)
    indices = np.empty(bits.size, np.uint8)
    for part, channels in _parts_of_channels(view):
        indices[part] = place[channels, bits[part]]
    return Structure(view, codebook.astype(np.uint8).view(dtype), indices)


def _parts_of_channels(view):
    """Yields (slice of the flat elements, channel of each of them)."""
    _, num_channels, inner = view
    size = math.prod(view)
    for start in range(0, size, _CHUNK):
        places = np.arange(start, min(start + _CHUNK, size))
        yield slice(start, start + _CHUNK), places // inner % num_channels


def _orders(ndim):
    """Returns the orders that the dimensions of a weight may have in a file."""
    if ndim > _MAX_TRANSPOSED_NDIM:
        return [tuple(range(ndim))]
    return list(itertools.permutations(range(ndim)))


def _sides_of_channels(shape, num_channels):
    """Yields (size before, size after) for neighbouring dimensions of that product."""
    for start, end in itertools.combinations(range(len(shape) + 1), 2):
        if math.prod(shape[start:end]) == num_channels:
            yield math.prod(shape[:start]), math.prod(shape[end:])


def _indices(rows, entries, scales=None):
    """Finds which entry each element is.

    Args:
        rows: the tensor in three dimensions.
        entries: ascending along the last axis, shape `(n, m, k)`: `n` and `m` are 1 or
            the first two dimensions of `rows`.
        scales: array that broadcasts with `rows`, of which an element is the product
            of an entry and its scale; None for 1.
    Returns:
        uint8 array, flat in C order; None if an element has no entry of its bits.
    """
    indices = np.zeros(rows.shape, np.uint8)
    row_size = max(1, rows[:1].size)
    start, step = 0, -(-_FIRST_CHUNK // row_size)
    while start < len(rows):
        part = slice(start, start + step)
        some = entries[part] if len(entries) > 1 else entries
        factor = None if scales is None else scales[part].astype(np.float32)
        if not _find_part(rows[part], some, factor, indices[part]):
            return None
        start, step = start + step, -(-_CHUNK // row_size)
    return indices.reshape(-1)


def _find_part(values, entries, factor, indices):
    """Fills in `indices`; returns True where they give `values` to the bit."""
    num_entries = entries.shape[-1]
    ordered = _ordered(values)
    for number in range(1, num_entries):
        limit = entries[..., number, None]
        indices += ordered >= _ordered(limit if factor is None else limit * factor)
    firsts = np.arange(0, entries.size, num_entries, dtype=np.int32)
    places = indices + firsts.reshape(*entries.shape[:2], 1)
    made = entries.reshape(-1)[places]
    if factor is not None:
        made *= factor
    return np.array_equal(as_bits(made), as_bits(values))


def _sorted(codebook):
    """Sorts entries along the last axis, -0.0 before 0.0."""
    order = np.argsort(_ordered(codebook), axis=-1)
    return np.take_along_axis(codebook, order, axis=-1)


def _ordered(array):
    """Turns floating-point numbers into integers of the same order, by their bits."""
    signed = array.view(f"i{array.itemsize}")
    return signed ^ (signed >> 8 * array.itemsize - 1) & np.iinfo(signed.dtype).max
