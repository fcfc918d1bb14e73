"""What each code would take for a tensor, worked out without making any of them."""

import dataclasses

import numpy as np

from tfcompress.coding import gaps
from tfcompress.coding.bits import as_bits
from tfcompress.coding.kinds import (
    Bitmap,
    BlockCodebook,
    ChannelCodebook,
    Codebook,
    Everywhere,
    Gaps,
    Plain,
    kind_name,
)
from tfcompress.coding.packing import MAX_BITS, PLANE_WIDTHS

# Of starts of rows, and of starts of channels in their codebook, which are int32.
BYTES_PER_START = 4

# Of so many weights one at least has to be there for gaps to be larger than a bitmap.
_GAPS_PAY_BELOW = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderCost:
    """Bytes that a file format spends on the decoder of one tensor.

    The packed data, codebooks, scales and starts of rows are counted by `candidates`;
    here stands what the format adds: operators, names, helper constants. What all
    tensors of a file share is not part of it.

    Attributes:
        codebook_bytes: decoder of packed indices of one plane.
        plane_bytes: each plane after the first.
        bitmap_bytes: decoder of a bitmap.
        positions_bytes: decoder of gaps.
        channels_bytes: what a codebook for each channel takes more than one codebook.
        scales_bytes: multiplication by the scales of blocks.
        has_value_tables: indices of one plane are decoded by a `value_table`, which is
            stored in place of the codebook.
    """

    codebook_bytes: int = 0
    plane_bytes: int = 0
    bitmap_bytes: int = 0
    positions_bytes: int = 0
    channels_bytes: int = 0
    scales_bytes: int = 0
    has_value_tables: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A code that a tensor could have.

    Attributes:
        places: class of `kinds.Places`.
        values: class of `kinds.Values`.
        num_bytes: of all data and the decoder.
        num_bits: bits of an index, None where there are no indices.
        gap_bits: bits of a gap, None where there are no gaps.
    """

    places: type
    values: type
    num_bytes: int
    num_bits: int | None = None
    gap_bits: int | None = None

    @property
    def kind(self):
        """Name of the code, one of `kinds.CODE_KINDS`."""
        return kind_name(self.places, self.values)


def find_candidates(bits, values, structure, *, num_rows, cost):
    """Lists the codes that a tensor can have.

    Args:
        bits: the tensor's bits, flat.
        values: its distinct bits, sorted; None if there are more than 257.
        structure: `structures.Structure` or None.
        num_rows: rows that are fetched one by one; None for the tensor as a whole.
        cost: `DecoderCost`.
    Returns:
        List of `Candidate`, "dense" first.
    """
    found = [Candidate(places=Everywhere, values=Plain, num_bytes=bits.nbytes)]
    if bits.size:
        sizes = _Sizes(bits, num_rows, cost)
        for way in sizes.ways_to_place():
            if way.places is not Everywhere:
                found.append(sizes.candidate(way))
            if values is not None:
                found += sizes.with_codebook(way, values)
            if structure is not None:
                found += sizes.with_structure(way, structure)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _WayToPlace:
    """A way to tell which weights are there, and what it takes."""

    places: type
    num_bytes: int
    num_entries: int
    num_fillers: int = 0
    gap_bits: int | None = None


class _Sizes:
    """The sizes of one tensor's codes."""

    def __init__(self, bits, num_rows, cost):
        self._bits = bits
        self._num_rows = num_rows
        self._cost = cost

    def ways_to_place(self):
        """Yields every `_WayToPlace`."""
        bits, cost = self._bits, self._cost
        yield _WayToPlace(Everywhere, 0, bits.size)
        num_there = int(np.count_nonzero(bits))
        if not 0 < num_there < bits.size:
            return
        num_bytes = cost.bitmap_bytes + self._packed(bits.size, 1)
        if self._num_rows is not None:
            num_bytes += BYTES_PER_START * self._num_rows
        yield _WayToPlace(Bitmap, num_bytes, num_there)
        if self._num_rows is None and _GAPS_PAY_BELOW * num_there < bits.size:
            there = np.flatnonzero(bits)
            for width in gaps.GAP_BITS:
                fillers = gaps.num_fillers(there, width)
                num_entries = num_there + fillers
                num_bytes = cost.positions_bytes + -(-num_entries * width // 8)
                yield _WayToPlace(Gaps, num_bytes, num_entries, fillers, width)

    def candidate(self, way, values=Plain, num_bits=None, num_bytes=None):
        """Returns the candidate of a way to place and a way to tell the values."""
        if num_bytes is None:
            num_bytes = way.num_entries * self._bits.itemsize
        return Candidate(
            places=way.places,
            values=values,
            num_bytes=way.num_bytes + num_bytes,
            num_bits=num_bits,
            gap_bits=way.gap_bits,
        )

    def with_codebook(self, way, values):
        """Yields the candidates of one codebook for the tensor."""
        num_values = values.size
        if way.places is not Everywhere and not way.num_fillers:
            num_values -= 1  # the zero
        num_bytes = num_values * self._bits.itemsize
        yield from self._indexed(Codebook, way, num_values, num_bytes)

    def with_structure(self, way, structure):
        """Yields the candidates of a codebook for each channel, or of scales."""
        codebook, scales = structure.codebook, structure.scales
        num_rows = self._num_rows
        if scales is None:
            if way.places is Everywhere and num_rows is None:
                num_bytes = codebook.nbytes + BYTES_PER_START * len(codebook)
                num_bytes += self._cost.channels_bytes
                yield from self._indexed(
                    ChannelCodebook, way, codebook.shape[1], num_bytes
                )
        elif num_rows is None or len(scales) % num_rows == 0:
            if way.num_fillers and np.count_nonzero(as_bits(codebook)) == len(codebook):
                return
            num_bytes = codebook.nbytes + scales.nbytes + self._cost.scales_bytes
            yield from self._indexed(BlockCodebook, way, codebook.size, num_bytes)

    def _indexed(self, kind, way, num_values, num_bytes):
        """Yields a candidate for each width: a wider index may save a plane.

        Args:
            kind: class of `kinds.Values`.
            way: `_WayToPlace`.
            num_values: values to tell apart.
            num_bytes: of the codebook and all but the indices and their decoder.
        """
        cost = self._cost
        for num_bits in range(bits_for(num_values), MAX_BITS + 1):
            widths = PLANE_WIDTHS[num_bits]
            more = cost.codebook_bytes + cost.plane_bytes * (len(widths) - 1)
            if cost.has_value_tables and len(widths) == 1 and num_bits < MAX_BITS:
                table = 256 * (8 // num_bits) - num_values
                more += table * self._bits.itemsize
            more += sum(self._packed(way.num_entries, width) for width in widths)
            yield self.candidate(way, kind, num_bits, num_bytes + more)

    def _packed(self, num_elements, width):
        """Returns the bytes of elements of so many bits."""
        rows = self._num_rows or 1
        if num_elements != self._bits.size:
            rows = 1  # What is there is packed without a gap.
        return rows * -(-(num_elements // rows) * width // 8)


def bits_for(num_values):
    """Returns the bits of an index into so many values, at least 1.

    >>> [bits_for(n) for n in (1, 2, 3, 16, 17)]
    [1, 1, 2, 4, 5]
    """
    return max(1, (num_values - 1).bit_length())
