"""Indices of 1 to 8 bits, packed into bytes that a table of 256 rows decodes.

A byte holds 8, 4, 2 or 1 indices of 1, 2, 4 or 8 bits, the first in the low bits. The
other widths are several *planes*, low bits first, added up: 3 = 2 + 1, 5 = 4 + 1,
6 = 4 + 2, 7 = 4 + 2 + 1. A table of 256 rows therefore decodes any plane, in any
runtime that has GATHER (`index_table`); where there is one plane, the table can hold
the values themselves (`value_table`).

Indices run over the flattened tensor in C order, padded with 0 to a whole byte at the
end. With several rows each row is padded, so that a decoder can fetch single rows.
"""

import dataclasses

import numpy as np

MAX_BITS = 8

# Widths of the planes of an index of so many bits, low bits first.
PLANE_WIDTHS = {
    1: (1,),
    2: (2,),
    3: (2, 1),
    4: (4,),
    5: (4, 1),
    6: (4, 2),
    7: (4, 2, 1),
    8: (8,),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """Some bits of every index, packed.

    Attributes:
        width: bits of an index in this plane: 1, 2, 4 or 8.
        shift: place of these bits in the index; the planes' sum is the index.
        packed: uint8 array, shape `(rows, bytes of a row)`.
    """

    width: int
    shift: int
    packed: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class PackedIndices:
    """Indices of 1 to 8 bits.

    Attributes:
        planes: see `PLANE_WIDTHS`, low bits first.
        num_rows: rows that are padded to whole bytes one by one; 1 is the flat layout.
        row_size: indices in a row, without the padding.
    """

    planes: tuple[Plane, ...]
    num_rows: int
    row_size: int

    @property
    def num_bits(self):
        """Bits of an index."""
        return sum(plane.width for plane in self.planes)

    @property
    def nbytes(self):
        """Bytes of all planes."""
        return sum(plane.packed.nbytes for plane in self.planes)


def pack(indices, *, num_bits, num_rows=1):
    """Packs indices into planes of bytes.

    Args:
        indices: uint8 array, each below `2**num_bits`; flattened in C order.
        num_bits: 1 to 8.
        num_rows: rows that are padded to whole bytes one by one.
    Returns:
        `PackedIndices`.

    >>> packed = pack(np.uint8([1, 2, 3]), num_bits=4)
    >>> [plane.packed.tolist() for plane in packed.planes]
    [[[33, 3]]]
    >>> packed = pack(np.uint8([1, 6, 7]), num_bits=3)
    >>> [plane.packed.tolist() for plane in packed.planes]
    [[[57]], [[6]]]
    """
    rows = indices.reshape(num_rows, -1) if indices.size else indices.reshape(1, 0)
    planes, shift = [], 0
    for width in PLANE_WIDTHS[num_bits]:
        planes.append(Plane(width, shift, _pack_plane(rows, width, shift)))
        shift += width
    return PackedIndices(tuple(planes), num_rows, rows.shape[1])


def unpack(indices):
    """Returns the indices that `pack` took: uint8, shape `(rows * row_size,)`."""
    total = np.zeros((indices.num_rows, indices.row_size), np.uint8)
    for plane in indices.planes:
        table = index_table(plane.width, plane.shift)
        rows = table[plane.packed].reshape(indices.num_rows, -1)
        total += rows[:, : indices.row_size]
    return total.reshape(-1)


def index_table(width, shift=0):
    """Makes the table that turns a packed byte into its plane's share of the indices.

    Args:
        width: bits of an index in the plane: 1, 2, 4 or 8.
        shift: place of the bits in the index.
    Returns:
        uint8 array, shape `(256, 8 // width)`.

    >>> index_table(4)[0x21].tolist(), index_table(2, 4)[0b11100100].tolist()
    ([1, 2], [0, 16, 32, 48])
    """
    shifts = width * np.arange(8 // width)
    parts = np.arange(256)[:, None] >> shifts & (1 << width) - 1
    return (parts << shift).astype(np.uint8)


def value_table(codebook, width):
    """Makes the table that turns a packed byte of a single plane into values.

    Args:
        codebook: array of at most `2**width` values.
        width: 1, 2, 4 or 8.
    Returns:
        Array of the codebook's dtype, shape `(256, 8 // width)`; for 8 bits the
        codebook itself, shape `(n, 1)`. Where no index points, the last value stands.

    >>> value_table(np.float32([5.0, 7.0]), 4)[0x10].tolist()
    [5.0, 7.0]
    """
    if width == MAX_BITS:
        return codebook[:, None]
    return codebook.take(index_table(width), mode="clip")


def _pack_plane(rows, width, shift):
    per_byte = 8 // width
    padding = -rows.shape[1] % per_byte
    part = rows >> np.uint8(shift) & np.uint8((1 << width) - 1)
    if padding:
        part = np.pad(part, ((0, 0), (0, padding)))
    grouped = part.reshape(rows.shape[0], -1, per_byte)
    packed = grouped[..., 0].copy()
    for place in range(1, per_byte):
        packed |= grouped[..., place] << np.uint8(place * width)
    return packed
