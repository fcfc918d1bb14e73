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
from tfcompress.coding.candidates import DecoderCost, find_candidates
from tfcompress.coding.gaps import make_gaps
from tfcompress.coding.kinds import (
    BY_ROW_KINDS,
    CODE_KINDS,
    Bitmap,
    BlockCodebook,
    ChannelCodebook,
    Codebook,
    Everywhere,
    Gaps,
    Places,
    Plain,
    Values,
    kind_name,
)
from tfcompress.coding.packing import MAX_BITS, pack, unpack

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
    """A tensor and the code chosen for it.

    Attributes:
        shape: shape of the tensor.
        dtype: dtype of the tensor and of its entries or codebook.
        places: `kinds.Places`: which weights are there.
        values: `kinds.Values`: what they are.
        num_values: distinct values of the tensor, zero included; None if more than 257.
        num_nonzero: elements of the tensor that are not zero.
        dense_bytes: bytes of the tensor as it was.
        coded_bytes: bytes of places and values plus the decoder's (`DecoderCost`).
        reason: why the tensor is left dense, else None.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    places: Places
    values: Values
    num_values: int | None
    num_nonzero: int
    dense_bytes: int
    coded_bytes: int
    reason: str | None = None

    @property
    def kind(self):
        """Name of the code, one of `CODE_KINDS`."""
        return kind_name(self.places, self.values)

    @property
    def is_dense(self):
        """Whether the tensor stays as it is."""
        return self.kind == "dense"

    @property
    def num_bits(self):
        """Bits of an index, None where there are no indices."""
        values = self.values
        return None if isinstance(values, Plain) else values.indices.num_bits

    @property
    def num_entries(self):
        """Number of entries (see `kinds`)."""
        return self.values.num_entries


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
    places, there = _make_places(bits, best, num_rows)
    return Code(
        shape=array.shape,
        dtype=array.dtype,
        places=places,
        values=_make_values(array, values, structure, best, num_rows, there),
        num_values=None if values is None else values.size,
        num_nonzero=num_nonzero,
        dense_bytes=array.nbytes,
        coded_bytes=best.num_bytes,
        reason=reason,
    )


def decode(code):
    """Decodes a `Code` as a runtime does, with numpy.

    Args:
        code: what `encode` returned.
    Returns:
        The tensor, equal to the original to the bit.
    """
    placed = _place(code, _entries(code.values))
    if isinstance(code.values, BlockCodebook):
        placed = placed.reshape(code.values.view)
        placed = placed * code.values.scales.astype(np.float32)
    return placed.reshape(code.shape)


def _entries(values):
    """Returns the values of all entries."""
    match values:
        case Plain(entries):
            return entries
        case ChannelCodebook(codebook, indices, view):
            starts = codebook.shape[1] * np.arange(len(codebook))
            places = unpack(indices).reshape(view) + starts[:, None]
            return codebook.reshape(-1)[places].reshape(-1)
        case Codebook(codebook, indices):
            return codebook[unpack(indices)]


def _place(code, entries):
    """Puts entries in their places, zeros between them."""
    size = math.prod(code.shape)
    match code.places:
        case Everywhere():
            return entries
        case Gaps(gaps):
            placed = np.zeros(size, code.dtype)
            placed[np.cumsum(unpack(gaps), dtype=np.int64)] = entries
            return placed
        case Bitmap(bits, row_starts):
            starts = np.zeros(1, np.int64) if row_starts is None else row_starts
            is_there = np.unpackbits(
                bits.reshape(len(starts), -1),
                axis=1,
                count=size // len(starts),
                bitorder="little",
            )
            # As the decoders in the files do it: the 0th value is the zero.
            position = np.cumsum(is_there, axis=1, dtype=np.int64) + starts[:, None]
            values = np.append(np.zeros(1, code.dtype), entries)
            return values[(position * is_there).reshape(-1)]


def _make_places(bits, chosen, num_rows):
    """Returns the `Places` of a candidate, and the entries' places: an index into the
    tensor, None for all of it."""
    if chosen.places is Everywhere:
        return Everywhere(), None
    if chosen.places is Gaps:
        gaps = make_gaps(np.flatnonzero(bits), chosen.gap_bits)
        packed = pack(gaps, num_bits=chosen.gap_bits)
        return Gaps(packed), np.cumsum(gaps, dtype=np.int64)
    is_there = bits != 0
    rows = is_there.reshape(num_rows or 1, -1)
    bitmap = np.packbits(rows, axis=1, bitorder="little")
    if num_rows is None:
        return Bitmap(bitmap.reshape(-1)), is_there
    starts = np.cumsum(rows.sum(axis=1)) - rows.sum(axis=1)
    return Bitmap(bitmap, starts.astype(np.int32)), is_there


def _make_values(array, distinct, structure, chosen, num_rows, there):
    """Returns the `Values` of a candidate.

    Args:
        array: the tensor.
        distinct: its distinct bits, sorted; None if there are more than 257.
        structure: `structures.Structure` or None.
        chosen: the `Candidate`.
        num_rows: rows that are fetched one by one; None for the tensor as a whole.
        there: the entries' places, as `_make_places` returned them.
    """
    rows = num_rows if num_rows and chosen.places is Everywhere else 1

    def at_entries(elements):
        return elements if there is None else elements[there]

    def packed(indices):
        return pack(indices, num_bits=chosen.num_bits, num_rows=rows)

    if chosen.values is Plain:
        return Plain(at_entries(array.reshape(-1)))
    if chosen.values is ChannelCodebook:
        indices = packed(at_entries(structure.indices))
        return ChannelCodebook(structure.codebook, indices, structure.view)
    if chosen.values is BlockCodebook:
        indices = packed(at_entries(structure.indices))
        return BlockCodebook(
            structure.codebook, indices, structure.view, structure.scales
        )
    bits = at_entries(as_bits(array))
    if there is not None and (chosen.places is Bitmap or bits.all()):
        distinct = distinct[distinct != 0]
    return Codebook(distinct.view(array.dtype), packed(index_bits(bits, distinct)))


def _reason_for_dense(array, values, num_nonzero):
    if array.nbytes < MIN_BYTES:
        return f"only {array.nbytes} bytes"
    if values is None:
        share = 1 - num_nonzero / array.size
        return f"more than {MAX_CODEBOOK_SIZE} distinct values, {share:.0%} zeros"
    return "a code with its decoder would not be smaller"
