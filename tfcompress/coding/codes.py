"""Lossless codes for one weight tensor, in plain numpy; knows no file format.

`encode` chooses the smallest code, counted with all overhead. A code tells

    which weights are there     all of them; "bitmap", one bit a weight; or "positions",
                                gaps of 4 or 8 bits from each to the next (`gaps`)
    and their values            as they are; or as "codebook", packed indices of 1 to 8
                                bits into the distinct values (`packing`)

so that there are six kinds: "dense" (all, as they are), "codebook", "bitmap",
"bitmap_codebook", "positions" and "positions_codebook". A hint that says how the values
were made (`structures`) allows more:

    channel_codebook            an index into the codebook of its channel
    block_codebook              an index into one codebook; the entry is multiplied by
                                the scale of its block. Also "bitmap_block_codebook" and
                                "positions_block_codebook", where the product comes last

**Lossless** means to the bit: distinct values are told apart by their bits, so that
-0.0 and the payloads of NaN survive. The zero that a bitmap or positions leave out is
the one whose bits are all zero (+0.0).

Source: weight sharing and sparse storage, Deep Compression, Han et al. 2016, sections 2
and 3 (arXiv:1510.00149). We use fixed-width indices in place of Huffman codes, because
GATHER decodes them.
"""

import dataclasses
import math

import numpy as np

from tfcompress.coding.bits import as_bits, distinct_bits, index_bits, same_bits
from tfcompress.coding.candidates import (
    BY_ROW_KINDS,
    CODE_KINDS,
    DecoderCost,
    find_candidates,
)
from tfcompress.coding.gaps import make_gaps
from tfcompress.coding.packing import MAX_BITS, PackedIndices, pack, unpack

__all__ = [
    "BY_ROW_KINDS",
    "CODE_KINDS",
    "Code",
    "DecoderCost",
    "decode",
    "distinct_bits",
    "encode",
    "same_bits",
]

MAX_CODEBOOK_SIZE = 1 << MAX_BITS

# Smaller tensors cannot pay for a decoder in any of our formats.
MIN_BYTES = 256

_NO_COST = DecoderCost()


@dataclasses.dataclass(frozen=True, eq=False)
class Code:
    """A tensor and the code chosen for it; the fields that `kind` lacks are None.

    *Entries* are the weights that the code tells one by one, in C order: all of the
    tensor; with a bitmap those that it marks; with gaps those that are there and the
    fillers between them, whose value is the zero.

    Attributes:
        kind: one of `CODE_KINDS`.
        shape: shape of the tensor.
        dtype: dtype of the tensor and of `codebook` and `values`.
        num_values: distinct values of the tensor, zero included; None if more than 257.
        num_nonzero: elements of the tensor that are not zero.
        dense_bytes: bytes of the tensor as it was.
        coded_bytes: bytes of everything below plus the decoder's (`DecoderCost`).
        reason: why the tensor is left dense, else None.
        values: kinds "dense", "bitmap" and "positions": the entries, shape
            `(entries,)`.
        codebook: the other kinds: values that indices stand for, at most 256. Shape
            `(n,)`; of "channel_codebook" `(channels, n)`, a row for each channel. Of
            "codebook", "bitmap_codebook" and "positions_codebook" sorted by their bits
            as unsigned integers, without the zero where no entry is zero; else
            ascending.
        indices: into `codebook`, one for each entry. By row, and without a bitmap, each
            row of the tensor is a row of the packed indices; else they have one row.
        bitmap: uint8 array, low bit first: the weight is there. Shape
            `(ceil(size / 8),)`; by row `(rows, ceil(row size / 8))`.
        row_starts: by row and with a bitmap: int32 array, shape `(rows,)`: the number
            of entries in front of each row's first.
        gaps: distances from each entry to the one before, the first from place 0:
            their running sum is the entries' places in the flattened tensor. 4 or 8
            bits each, packed like indices, in one row.
        view: shape of three dimensions that the tensor, in C order, is looked at in:
            of block codebooks `(blocks, block size, inner)`, of "channel_codebook"
            `(outer, channels, inner)`.
        scales: block codebooks: float16 array, shape `(blocks, 1, inner)`. Entries put
            in their places, in shape `view`, times the scales as float32, are the
            tensor. By row `blocks` is a multiple of the rows.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype
    num_values: int | None
    num_nonzero: int
    dense_bytes: int
    coded_bytes: int
    reason: str | None = None
    values: np.ndarray | None = None
    codebook: np.ndarray | None = None
    indices: PackedIndices | None = None
    bitmap: np.ndarray | None = None
    row_starts: np.ndarray | None = None
    gaps: PackedIndices | None = None
    view: tuple[int, int, int] | None = None
    scales: np.ndarray | None = None

    @property
    def num_bits(self):
        """Bits of an index, None where there are no indices."""
        return None if self.indices is None else self.indices.num_bits

    @property
    def num_entries(self):
        """Number of entries: of `indices` or of `values`."""
        if self.indices is None:
            return self.values.size
        return self.indices.num_rows * self.indices.row_size


def encode(array, *, cost=_NO_COST, kinds=CODE_KINDS, by_row=False, structure=None):
    """Chooses the smallest code for a tensor.

    Args:
        array: any dtype of 1, 2, 4 or 8 bytes an element, any shape.
        cost: what a decoder costs in the file at hand.
        kinds: codes the format can decode; "dense" is always one.
        by_row: let a decoder fetch each `array[i]` alone: its indices and its bitmap
            are padded to whole bytes. Then only `BY_ROW_KINDS` are chosen, and
            "block_codebook" only where no block reaches beyond a row.
        structure: what `structures.find_structure` returned for this array. Without it
            codebooks of channels and blocks are not found.
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
    bits = as_bits(array)
    num_rows = array.shape[0] if by_row and array.ndim else None
    values = distinct_bits(bits, limit=MAX_CODEBOOK_SIZE + 1)
    allowed = {"dense", *kinds}.intersection(BY_ROW_KINDS if by_row else CODE_KINDS)
    candidates = [
        candidate
        for candidate in find_candidates(
            bits, values, structure, num_rows=num_rows, cost=cost
        )
        if candidate.kind in allowed
    ]
    best = min(candidates, key=lambda c: (c.num_bytes, CODE_KINDS.index(c.kind)))
    if array.nbytes < MIN_BYTES:
        best = candidates[0]
    num_nonzero = int(np.count_nonzero(array))
    reason = None
    if best.kind == "dense":
        reason = _reason_for_dense(array, values, num_nonzero)
    return Code(
        kind=best.kind,
        shape=array.shape,
        dtype=array.dtype,
        num_values=None if values is None else values.size,
        num_nonzero=num_nonzero,
        dense_bytes=array.nbytes,
        coded_bytes=best.num_bytes,
        reason=reason,
        **_parts(array, values, structure, best, num_rows),
    )


def decode(code):
    """Decodes a `Code` as a runtime does, with numpy.

    Args:
        code: what `encode` returned.
    Returns:
        The tensor, equal to the original to the bit.
    """
    placed = _place(code, _entries(code))
    if code.scales is not None:
        placed = placed.reshape(code.view) * code.scales.astype(np.float32)
    return placed.reshape(code.shape)


def _entries(code):
    if code.indices is None:
        return code.values
    indices = unpack(code.indices)
    if code.kind != "channel_codebook":
        return code.codebook[indices]
    starts = code.codebook.shape[1] * np.arange(len(code.codebook))
    places = indices.reshape(code.view) + starts[:, None]
    return code.codebook.reshape(-1)[places].reshape(-1)


def _place(code, entries):
    """Puts entries in their places, zeros between them."""
    size = math.prod(code.shape)
    if code.gaps is not None:
        placed = np.zeros(size, code.dtype)
        placed[np.cumsum(unpack(code.gaps), dtype=np.int64)] = entries
        return placed
    if code.bitmap is None:
        return entries
    starts = np.zeros(1, np.int64) if code.row_starts is None else code.row_starts
    bitmap = code.bitmap.reshape(len(starts), -1)
    is_there = np.unpackbits(
        bitmap, axis=1, count=size // len(starts), bitorder="little"
    )
    # As the decoders in the files do it: the 0th value is the zero.
    position = np.cumsum(is_there, axis=1, dtype=np.int64) + starts[:, None]
    return np.append(np.zeros(1, code.dtype), entries)[
        (position * is_there).reshape(-1)
    ]


def _parts(array, values, structure, chosen, num_rows):
    """Makes the arrays of the chosen code."""
    flat, bits = array.reshape(-1), as_bits(array)
    parts, there = _placing_parts(bits, chosen, num_rows)
    if chosen.num_bits is None:
        return parts | {"values": flat if there is None else flat[there]}
    if chosen.kind.endswith(("block_codebook", "channel_codebook")):
        parts |= {"view": structure.view, "scales": structure.scales}
        codebook, indices = structure.codebook, structure.indices
        if there is not None:
            indices = indices[there]
    else:
        if there is not None:
            bits = bits[there]
            if chosen.gap_bits is None or bits.all():
                values = values[values != 0]
        codebook, indices = values.view(array.dtype), index_bits(bits, values)
    rows = num_rows if num_rows and "bitmap" not in parts else 1
    packed = pack(indices, num_bits=chosen.num_bits, num_rows=rows)
    return parts | {"codebook": codebook, "indices": packed}


def _placing_parts(bits, chosen, num_rows):
    """Returns the arrays that tell which weights are there, and the entries' places:
    an index into the tensor, None for all of it."""
    if chosen.gap_bits is not None:
        gaps = make_gaps(np.flatnonzero(bits), chosen.gap_bits)
        packed = pack(gaps, num_bits=chosen.gap_bits)
        return {"gaps": packed}, np.cumsum(gaps, dtype=np.int64)
    if not chosen.kind.startswith("bitmap"):
        return {}, None
    is_there = bits != 0
    rows = is_there.reshape(num_rows or 1, -1)
    bitmap = np.packbits(rows, axis=1, bitorder="little")
    if num_rows is None:
        return {"bitmap": bitmap.reshape(-1)}, is_there
    starts = np.cumsum(rows.sum(axis=1)) - rows.sum(axis=1)
    return {"bitmap": bitmap, "row_starts": starts.astype(np.int32)}, is_there


def _reason_for_dense(array, values, num_nonzero):
    if array.nbytes < MIN_BYTES:
        return f"only {array.nbytes} bytes"
    if values is None:
        share = 1 - num_nonzero / array.size
        return f"more than {MAX_CODEBOOK_SIZE} distinct values, {share:.0%} zeros"
    return "a code with its decoder would not be smaller"
