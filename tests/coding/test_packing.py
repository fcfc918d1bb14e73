"""Tests of tfcompress.coding.packing: packed bytes written out, and every width."""

import numpy as np
import pytest

from tfcompress.coding import packing


def test_pack_one_bit_puts_first_index_in_low_bit():
    indices = np.uint8([1, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    assert packing.pack(indices, num_bits=1).planes[0].packed.tolist() == [[0xC1, 0x03]]


def test_pack_two_bits_puts_first_index_in_low_bits():
    indices = np.uint8([3, 2, 1, 0, 2])
    packed = packing.pack(indices, num_bits=2).planes[0].packed
    assert packed.tolist() == [[0b00_01_10_11, 0b10]]


def test_pack_four_bits_by_row_pads_each_row():
    indices = np.uint8([[1, 2, 3], [4, 5, 6]])
    packed = packing.pack(indices, num_bits=4, num_rows=2).planes[0].packed
    assert packed.tolist() == [[0x21, 0x03], [0x54, 0x06]]


def test_pack_seven_bits_makes_planes_of_four_two_and_one():
    # 0b1_01_1100 and 0b0_10_0011: low four bits, then two, then one.
    packed = packing.pack(np.uint8([0b1011100, 0b0100011]), num_bits=7)
    assert [(plane.width, plane.shift) for plane in packed.planes] == [
        (4, 0),
        (2, 4),
        (1, 6),
    ]
    assert [plane.packed.tolist() for plane in packed.planes] == [
        [[0x3C]],
        [[0b10_01]],
        [[0b01]],
    ]


def test_tables_turn_bytes_into_indices_and_values():
    assert packing.index_table(1)[0b10000001].tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    assert packing.index_table(1, 6)[0b10].tolist() == [0, 64, 0, 0, 0, 0, 0, 0]
    assert packing.index_table(8).tolist() == [[value] for value in range(256)]
    table = packing.value_table(np.float16([0.5, 1.5, 2.5]), 2)
    assert table.shape == (256, 4)
    assert table.dtype == np.float16
    assert table[0b00_01_10_00].tolist() == [0.5, 2.5, 1.5, 0.5]
    assert packing.value_table(np.float32([4.0, 5.0]), 8).tolist() == [[4.0], [5.0]]


@pytest.mark.parametrize("num_bits", range(1, 9))
@pytest.mark.parametrize("size", [1, 7, 8, 63, 1001])
@pytest.mark.parametrize("num_rows", [1, 3])
def test_unpack_after_pack_returns_the_indices(num_bits, size, num_rows):
    rng = np.random.default_rng(num_bits)
    indices = rng.integers(0, 1 << num_bits, num_rows * size).astype(np.uint8)
    packed = packing.pack(indices, num_bits=num_bits, num_rows=num_rows)
    assert packed.num_bits == num_bits
    assert np.array_equal(packing.unpack(packed), indices)
