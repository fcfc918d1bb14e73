"""The two choices that make a code: which weights are there, and what they are.

*Entries* are the weights that a code tells one by one, in C order: all of the tensor;
with a bitmap those that it marks; with gaps those that are there and the fillers
between them, whose value is the zero.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from tfcompress.coding.packing import PackedIndices


@dataclasses.dataclass(frozen=True, eq=False)
class Everywhere:
    """All weights are entries."""

    name: ClassVar[str] = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Bitmap:
    """A bit for each weight: it is there, and else zero.

    Attributes:
        bits: uint8 array, low bit first, shape `(ceil(size / 8),)`; by row
            `(rows, ceil(row size / 8))`.
        row_starts: by row: int32 array, shape `(rows,)`: the number of entries in front
            of each row's first. Else None.
    """

    name: ClassVar[str] = "bitmap"
    bits: np.ndarray
    row_starts: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Gaps:
    """Distances from each entry to the one before, the first from place 0: their
    running sum is the entries' places in the flattened tensor.

    Attributes:
        gaps: 4 or 8 bits each, packed like indices, in one row.
    """

    name: ClassVar[str] = "positions"
    gaps: PackedIndices


Places = Everywhere | Bitmap | Gaps


@dataclasses.dataclass(frozen=True, eq=False)
class Plain:
    """The entries as they are.

    Attributes:
        entries: of the tensor's dtype, shape `(entries,)`.
    """

    name: ClassVar[str] = ""
    entries: np.ndarray

    @property
    def num_entries(self):
        """Number of entries."""
        return self.entries.size


@dataclasses.dataclass(frozen=True, eq=False)
class Codebook:
    """An index for each entry into the values that there are.

    Attributes:
        codebook: of the tensor's dtype, at most 256 values, shape `(n,)`. Sorted by
            their bits as unsigned integers, without the zero where no entry is zero;
            of `BlockCodebook` ascending.
        indices: into `codebook`, one for each entry. By row, and without a bitmap, each
            row of the tensor is a row of the packed indices; else they have one row.
    """

    name: ClassVar[str] = "codebook"
    codebook: np.ndarray
    indices: PackedIndices

    @property
    def num_entries(self):
        """Number of entries."""
        return self.indices.num_rows * self.indices.row_size


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelCodebook(Codebook):
    """An index into the codebook of the entry's channel.

    Attributes:
        codebook: shape `(channels, n)`, a row for each channel, ascending.
        view: shape of three dimensions that the tensor, in C order, is looked at in:
            `(outer, channels, inner)`.
    """

    name: ClassVar[str] = "channel_codebook"
    view: tuple[int, int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class BlockCodebook(Codebook):
    """An index into one codebook, whose value is multiplied by the scale of its block.

    Attributes:
        view: shape of three dimensions that the tensor, in C order, is looked at in:
            `(blocks, block size, inner)`; by row `blocks` is a multiple of the rows.
        scales: float16 array, shape `(blocks, 1, inner)`. Entries put in their places,
            in shape `view`, times the scales as float32, are the tensor.
    """

    name: ClassVar[str] = "block_codebook"
    view: tuple[int, int, int]
    scales: np.ndarray


Values = Plain | Codebook | ChannelCodebook | BlockCodebook

# Every code, the first of equally small ones first.
_CODES = (
    (Everywhere, Plain),
    (Everywhere, Codebook),
    (Bitmap, Plain),
    (Bitmap, Codebook),
    (Gaps, Plain),
    (Gaps, Codebook),
    (Everywhere, ChannelCodebook),
    (Everywhere, BlockCodebook),
    (Bitmap, BlockCodebook),
    (Gaps, BlockCodebook),
)


def kind_name(places, values):
    """Returns what the coding table calls a code.

    Args:
        places: a class or an object of `Places`.
        values: a class or an object of `Values`.

    >>> kind_name(Gaps, BlockCodebook), kind_name(Everywhere, Plain)
    ('positions_block_codebook', 'dense')
    """
    return "_".join(filter(None, (places.name, values.name))) or "dense"


def kind_names(*, without=()):
    """Returns the names of codes, the first of equally small ones first.

    Args:
        without: classes of `Places` and `Values` that they are not made of.

    >>> kind_names(without=(Bitmap, Gaps))
    ('dense', 'codebook', 'channel_codebook', 'block_codebook')
    """
    return tuple(kind_name(*code) for code in _CODES if not set(code) & set(without))


CODE_KINDS = kind_names()
# Of which single rows can be decoded; gaps and channels run across rows.
BY_ROW_KINDS = tuple(
    kind_name(*code)
    for code in _CODES
    if not {Gaps, ChannelCodebook} & set(code)
    and code not in ((Bitmap, Plain), (Bitmap, BlockCodebook))
)
