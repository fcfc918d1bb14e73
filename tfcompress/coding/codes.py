"""Lossless codes for one weight tensor, in plain numpy; knows no file format.

`encode` chooses the smallest of four codes, counted with all overhead:

    dense             the values as they are
    codebook          packed indices of 1 to 8 bits into the distinct values
    bitmap            one bit a weight: is it there; then the values that are
    bitmap_codebook   the bitmap, then packed indices of the weights that are there

`packing` says how the indices lie in their bytes.

**Lossless** means to the bit: distinct values are told apart by their bits, so that
-0.0 and the payloads of NaN survive. The zero that a bitmap leaves out is the one whose
bits are all zero (+0.0).

Source: weight sharing and sparse storage, Deep Compression, Han et al. 2016, sections 2
and 3 (arXiv:1510.00149). We use a bitmap in place of relative indices, because GATHER
and CUMSUM decode it, and fixed-width indices in place of Huffman codes.
"""

import dataclasses
import math

import numpy as np

from tfcompress.coding.packing import (
    MAX_BITS,
    PLANE_WIDTHS,
    PackedIndices,
    pack,
    unpack,
)

CODE_KINDS = ("dense", "codebook", "bitmap", "bitmap_codebook")
MAX_CODEBOOK_SIZE = 1 << MAX_BITS

# Smaller tensors cannot pay for a decoder in any of our formats.
MIN_BYTES = 256

# The first look at a tensor: enough to meet more than 257 values in ordinary weights.
_FIRST_CHUNK = 4096
_CHUNK = 1 << 18


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderCost:
    """Bytes that a file format spends on the decoder of one tensor.

    The packed data and the codebook are counted by this module; here stands what the
    format adds: operators, names, helper constants. What all tensors of a file share is
    not part of it.

    Attributes:
        codebook_bytes: decoder of packed indices of one plane.
        plane_bytes: each plane after the first.
        bitmap_bytes: decoder of a bitmap.
        has_value_tables: indices of one plane are decoded by a `value_table`, which is
            stored in place of the codebook.
    """

    codebook_bytes: int = 0
    plane_bytes: int = 0
    bitmap_bytes: int = 0
    has_value_tables: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Code:
    """A tensor and the code chosen for it; the fields that `kind` lacks are None.

    Attributes:
        kind: one of `CODE_KINDS`.
        shape: shape of the tensor.
        dtype: dtype of the tensor and of `codebook` and `values`.
        num_values: distinct values of the tensor, zero included; None if more than 257.
        dense_bytes: bytes of the tensor as it was.
        coded_bytes: bytes of everything below plus the decoder's (`DecoderCost`).
        reason: why the tensor is left dense, else None.
        codebook: distinct values, shape `(n,)`, n <= 256, sorted by their bits as
            unsigned integers; without the zero where there is a bitmap.
        indices: into `codebook`: of all weights, or of those that the bitmap marks.
        bitmap: uint8 array, shape `(ceil(size / 8),)`, low bit first: weight is there.
        values: kind "bitmap": the weights that are there, in C order.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype
    num_values: int | None
    dense_bytes: int
    coded_bytes: int
    reason: str | None = None
    codebook: np.ndarray | None = None
    indices: PackedIndices | None = None
    bitmap: np.ndarray | None = None
    values: np.ndarray | None = None

    @property
    def num_bits(self):
        """Bits of an index, None where there are no indices."""
        return None if self.indices is None else self.indices.num_bits


def encode(array, *, cost=DecoderCost(), kinds=CODE_KINDS, by_row=False):
    """Chooses the smallest code for a tensor.

    Args:
        array: any dtype of 1, 2, 4 or 8 bytes an element, any shape.
        cost: what a decoder costs in the file at hand.
        kinds: codes the format can decode; "dense" is always one.
        by_row: pad the indices of each `array[i]` to whole bytes. Rows cannot be
            fetched from a bitmap, so then only "dense" and "codebook" are chosen.
    Returns:
        A `Code`. Of equally small codes the first in `CODE_KINDS` is taken.
    Raises:
        ValueError: if `kinds` holds an unknown kind.

    >>> code = encode(np.tile(np.float32([0.5, -1.0, 2.0]), 1000))
    >>> code.kind, code.num_bits, code.dense_bytes, code.coded_bytes
    ('codebook', 2, 12000, 762)
    >>> bool((decode(code) == np.tile(np.float32([0.5, -1.0, 2.0]), 1000)).all())
    True
    """
    unknown = set(kinds) - set(CODE_KINDS)
    if unknown:
        raise ValueError(f"kinds must be of {CODE_KINDS}, got {sorted(unknown)!r}.")
    array = np.asarray(array)
    bits = _bits(array)
    num_rows = array.shape[0] if by_row and array.ndim else 1
    values = distinct_bits(bits, limit=MAX_CODEBOOK_SIZE + 1)
    num_zeros = bits.size - int(np.count_nonzero(bits))
    allowed = ("dense", "codebook") if by_row else CODE_KINDS
    candidates = [
        candidate
        for candidate in _candidates(bits, values, num_zeros, num_rows, cost)
        if candidate.kind in allowed and candidate.kind in (*kinds, "dense")
    ]
    best = min(candidates, key=lambda c: (c.num_bytes, CODE_KINDS.index(c.kind)))
    if array.nbytes < MIN_BYTES:
        best = candidates[0]
    reason = None
    if best.kind == "dense":
        reason = _reason_for_dense(bits, values, num_zeros)
    return Code(
        kind=best.kind,
        shape=array.shape,
        dtype=array.dtype,
        num_values=None if values is None else values.size,
        dense_bytes=array.nbytes,
        coded_bytes=best.num_bytes,
        reason=reason,
        **_parts(array, bits, values, best, num_rows),
    )


def decode(code):
    """Decodes a `Code` as a runtime does, with numpy.

    Args:
        code: what `encode` returned.
    Returns:
        The tensor, equal to the original to the bit.
    """
    if code.kind == "dense":
        return code.values.reshape(code.shape)
    if code.indices is None:
        present = code.values
    else:
        present = code.codebook[unpack(code.indices)]
    if code.bitmap is not None:
        size = math.prod(code.shape)
        is_there = np.unpackbits(code.bitmap, count=size, bitorder="little")
        # As the decoders in the files do it: the 0th value is the zero.
        position = np.cumsum(is_there, dtype=np.int64) * is_there
        present = np.append(np.zeros(1, code.dtype), present)[position]
    return present.reshape(code.shape)


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
        and np.array_equal(_bits(first), _bits(second))
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
    bits = _bits(array)
    values = np.unique(bits[:_FIRST_CHUNK])
    for start in range(_FIRST_CHUNK, bits.size, _CHUNK):
        if limit is not None and values.size > limit:
            break
        values = np.union1d(values, bits[start : start + _CHUNK])
    return values if limit is None or values.size <= limit else None


@dataclasses.dataclass(frozen=True)
class _Candidate:
    kind: str
    num_bytes: int
    num_bits: int | None = None


def _candidates(bits, values, num_zeros, num_rows, cost):
    """Yields what each code would take, "dense" first, without making it."""
    itemsize, size = bits.itemsize, bits.size
    num_there = size - num_zeros
    yield _Candidate("dense", size * itemsize)
    if values is not None and size:
        yield from _codebooks("codebook", values.size, size, num_rows, itemsize, cost)
    if not 0 < num_zeros < size:
        return
    bitmap_bytes = -(-size // 8) + cost.bitmap_bytes
    yield _Candidate("bitmap", bitmap_bytes + num_there * itemsize)
    if values is not None:
        num_values = values.size - 1
        for candidate in _codebooks(
            "bitmap_codebook", num_values, num_there, 1, itemsize, cost
        ):
            num_bytes = candidate.num_bytes + bitmap_bytes
            yield dataclasses.replace(candidate, num_bytes=num_bytes)


def _codebooks(kind, num_values, num_indices, num_rows, itemsize, cost):
    """Yields a candidate for each width: a wider one may save a plane."""
    for num_bits in range(_bits_for(num_values), MAX_BITS + 1):
        widths = PLANE_WIDTHS[num_bits]
        row_size = num_indices // num_rows
        packed = num_rows * sum(-(-row_size * width // 8) for width in widths)
        table = num_values
        if cost.has_value_tables and len(widths) == 1 and num_bits < MAX_BITS:
            table = 256 * (8 // num_bits)
        decoder = cost.codebook_bytes + cost.plane_bytes * (len(widths) - 1)
        yield _Candidate(kind, packed + table * itemsize + decoder, num_bits)


def _parts(array, bits, values, chosen, num_rows):
    """Makes the arrays of the chosen code."""
    if chosen.kind == "dense":
        return {"values": array.reshape(-1)}
    if chosen.kind == "codebook":
        return _codebook_parts(bits, values, chosen.num_bits, num_rows, array.dtype)
    is_there = bits != 0
    bitmap = np.packbits(is_there, bitorder="little")
    if chosen.kind == "bitmap":
        return {"bitmap": bitmap, "values": array.reshape(-1)[is_there]}
    return {
        "bitmap": bitmap,
        **_codebook_parts(
            bits[is_there], values[values != 0], chosen.num_bits, 1, array.dtype
        ),
    }


def _codebook_parts(bits, values, num_bits, num_rows, dtype):
    indices = np.empty(bits.size, np.uint8)
    for start in range(0, bits.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        indices[part] = np.searchsorted(values, bits[part])
    return {
        "codebook": values.view(dtype),
        "indices": pack(indices, num_bits=num_bits, num_rows=num_rows),
    }


def _bits_for(num_values):
    """Returns the bits of an index into so many values, at least 1."""
    return max(1, (num_values - 1).bit_length())


def _bits(array):
    """Views an array as unsigned integers of the same size, flattened in C order."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.dtype(f"u{flat.itemsize}"))


def _reason_for_dense(bits, values, num_zeros):
    if bits.nbytes < MIN_BYTES:
        return f"only {bits.nbytes} bytes"
    if values is None:
        share = num_zeros / bits.size
        return f"more than {MAX_CODEBOOK_SIZE} distinct values, {share:.0%} zeros"
    return "a code with its decoder would not be smaller"
