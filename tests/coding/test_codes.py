"""Tests of tfcompress.coding.codes: by hand, then every width, shape and odd value."""

import sys
import tracemalloc

import numpy as np
import pytest

from tfcompress.coding import codes
from tfcompress.coding.codes import DecoderCost
from tfcompress.coding.structures import find_structure


def _array(num_values, size, *, sparsity=0.0, dtype=np.float32, seed=0):
    """An array with exactly `num_values` distinct non-zero values, and zeros."""
    rng = np.random.default_rng(seed)
    values = (1 + np.arange(num_values)).astype(dtype)
    array = values[np.arange(size) % num_values]
    rng.shuffle(array)
    array[rng.random(size) < sparsity] = 0
    return array


def _planes(code):
    return [plane.packed.tolist() for plane in code.values.indices.planes]


def test_encode_codebook_has_the_bytes_worked_out_by_hand():
    array = np.tile(np.float32([-1.0, 3.0, 2.0, 1.0]), 64)
    code = codes.encode(array)
    # By bits: 1.0 = 3f8..., 2.0 = 400..., 3.0 = 404..., -1.0 = bf8...
    assert code.values.codebook.tolist() == [1.0, 2.0, 3.0, -1.0]
    assert (code.kind, code.num_bits, code.num_values) == ("codebook", 2, 4)
    assert _planes(code) == [[[0b00_01_10_11] * 64]]
    assert (code.dense_bytes, code.coded_bytes) == (1024, 64 + 16)


def test_encode_bitmap_codebook_has_the_bytes_worked_out_by_hand():
    array = np.zeros(800, np.float32)
    array[[1, 3, 799]] = [5.0, 7.0, 5.0]
    code = codes.encode(array, kinds=("bitmap_codebook",))
    assert (code.kind, code.num_bits, code.num_values) == ("bitmap_codebook", 1, 3)
    assert code.places.bits.tolist() == [0b1010] + [0] * 98 + [0x80]
    assert code.values.codebook.tolist() == [5.0, 7.0]
    assert _planes(code) == [[[0b010]]]
    assert code.coded_bytes == 100 + 1 + 8


def test_encode_bitmap_keeps_the_values_that_are_there():
    array = np.zeros(4096, np.float32)
    array[::2] = np.arange(1, 2049)
    code = codes.encode(array)
    assert (code.kind, code.num_bits, code.num_values) == ("bitmap", None, None)
    assert code.places.bits.tolist() == [0b01010101] * 512
    assert code.values.entries.tolist() == list(range(1, 2049))
    assert code.coded_bytes == 512 + 2048 * 4


@pytest.mark.parametrize("num_bits", range(1, 9))
@pytest.mark.parametrize("sparsity", [0.0, 0.7])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.float64])
def test_decode_after_encode_returns_the_bits(num_bits, sparsity, dtype):
    array = _array(1 << num_bits, 10_007, sparsity=sparsity, dtype=dtype)
    code = codes.encode(array)
    if sparsity and num_bits > 1:  # 1 bit and the zero are 2 bits: no bitmap is smaller
        assert (code.kind, code.num_bits) == ("bitmap_codebook", num_bits)
    elif not sparsity:
        assert (code.kind, code.num_bits) == ("codebook", num_bits)
    assert codes.same_bits(codes.decode(code), array)


def test_encode_int8_and_bfloat16_bits_are_coded_too():
    for dtype in (np.int8, np.uint16):
        array = _array(4, 5000, dtype=dtype)
        code = codes.encode(array)
        assert (code.kind, code.num_bits) == ("codebook", 2)
        assert codes.same_bits(codes.decode(code), array)


@pytest.mark.parametrize("num_bits", range(1, 9))
@pytest.mark.parametrize("shape", [(33, 5), (16, 16), (7, 3, 3)])
def test_decode_by_row_returns_the_bits(num_bits, shape):
    size = int(np.prod(shape))
    array = _array(min(size, 1 << num_bits), size).reshape(shape)
    code = codes.encode(array, by_row=True)
    if code.kind == "codebook":
        assert code.values.indices.num_rows == shape[0]
        assert code.values.indices.planes[0].packed.shape[0] == shape[0]
    assert codes.same_bits(codes.decode(code), array)


def test_encode_by_row_never_chooses_a_bitmap_of_values():
    array = _array(300, 8192, sparsity=0.8).reshape(64, 128)
    assert codes.encode(array).kind == "bitmap"
    assert codes.encode(array, by_row=True).kind == "dense"


def test_encode_minus_zero_is_a_value_and_not_the_zero_of_the_bitmap():
    array = np.zeros(4000, np.float32)
    array[::10] = -0.0
    array[5] = 3.0
    code = codes.encode(array, kinds=("bitmap_codebook",))
    assert code.kind == "bitmap_codebook"
    assert code.values.codebook.view(np.uint32).tolist() == [0x40400000, 0x80000000]
    decoded = codes.decode(code)
    assert np.signbit(decoded[::10]).all()
    assert codes.same_bits(decoded, array)


def test_encode_nan_payloads_and_infinities_survive():
    values = np.array([0x7FC00000, 0x7FC00001, 0xFFC00000, 0x7F800000], np.uint32)
    array = np.tile(np.append(values, np.uint32(0xFF800000)), 999).view(np.float32)
    code = codes.encode(array)
    assert (code.kind, code.num_values) == ("codebook", 5)
    assert codes.same_bits(codes.decode(code), array)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5])
def test_encode_all_equal_tensor_is_one_bit(value):
    array = np.full((25, 41), value, np.float32)
    code = codes.encode(array)
    assert (code.kind, code.num_bits, code.num_values) == ("codebook", 1, 1)
    assert codes.same_bits(codes.decode(code), array)


@pytest.mark.parametrize("shape", [(), (0,), (0, 4), (3,), (63,)])
def test_encode_tiny_tensor_stays_dense(shape):
    array = np.zeros(shape, np.float32)
    code = codes.encode(array)
    assert (code.kind, code.coded_bytes) == ("dense", array.nbytes)
    assert code.reason == f"only {array.nbytes} bytes"
    assert codes.same_bits(codes.decode(code), array)


def test_encode_257_values_stay_dense_and_256_with_the_zero_do_not():
    dense = codes.encode(_array(257, 30_000))
    assert (dense.kind, dense.num_values) == ("dense", 257)
    assert dense.reason == "a code with its decoder would not be smaller"
    array = _array(256, 30_000, sparsity=0.5)
    coded = codes.encode(array)
    assert (coded.kind, coded.num_bits, coded.num_values) == ("bitmap_codebook", 8, 257)
    assert codes.same_bits(codes.decode(coded), array)


def test_encode_ordinary_weights_say_why_they_stay_dense():
    array = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    code = codes.encode(array)
    assert code.num_values is None
    assert code.reason == "more than 256 distinct values, 0% zeros"
    assert codes.same_bits(codes.decode(code), array)


def test_encode_counts_the_decoder():
    array = _array(16, 1024)
    packed, codebook = 512, 64
    code = codes.encode(array, cost=DecoderCost(codebook_bytes=1000))
    assert code.coded_bytes == packed + codebook + 1000
    cost = DecoderCost(codebook_bytes=1000, plane_bytes=2000, has_value_tables=True)
    code = codes.encode(array, cost=cost, kinds=("codebook",))
    # A table of 256 pairs is larger than 8-bit indices, whose table is the codebook.
    assert (code.num_bits, code.coded_bytes) == (8, 1024 + codebook + 1000)
    array = _array(16, 8192)
    code = codes.encode(array, cost=cost)
    assert (code.num_bits, code.coded_bytes) == (4, 4096 + 256 * 2 * 4 + 1000)
    code = codes.encode(array, cost=DecoderCost(codebook_bytes=40_000))
    assert code.kind == "dense"
    assert code.reason == "a code with its decoder would not be smaller"


def test_encode_costly_plane_takes_the_wider_index():
    array = _array(8, 4096)
    assert codes.encode(array).num_bits == 3
    assert codes.encode(array, cost=DecoderCost(plane_bytes=5000)).num_bits == 4


def test_encode_kinds_limits_the_choice():
    array = _array(15, 8192, sparsity=0.6)
    assert codes.encode(array).kind == "bitmap_codebook"
    assert codes.encode(array, kinds=("codebook",)).kind == "codebook"
    assert codes.encode(array, kinds=("dense",)).kind == "dense"


def test_encode_unknown_kind_raises():
    with pytest.raises(ValueError, match=r"kinds must be of .* got \['huffman'\]"):
        codes.encode(np.zeros(3), kinds=("huffman",))


def test_encode_takes_any_memory_layout():
    array = _array(16, 6400).reshape(80, 80)
    assert codes.same_bits(codes.decode(codes.encode(array.T)), array.T)
    assert codes.same_bits(
        codes.decode(codes.encode(array[::2, 1::3])), array[::2, 1::3]
    )


def _count_calls(function):
    """Returns how many calls Python makes, those of C included, in a function."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def test_encode_large_tensor_makes_no_call_for_each_weight():
    clustered = _array(16, 5_000_000)
    code = codes.encode(clustered)  # imports what it needs
    assert codes.same_bits(codes.decode(code), clustered)
    assert _count_calls(lambda: codes.encode(clustered)) < 5_000  # 552 were counted


def test_encode_ordinary_tensor_is_known_by_its_beginning():
    ordinary = np.arange(5_000_000, dtype=np.float32)
    tracemalloc.start()
    try:
        code = codes.encode(ordinary)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert code.kind == "dense"
    assert peak < ordinary.nbytes / 100  # sorting all of it would take a copy


def test_encode_positions_have_the_bytes_worked_out_by_hand():
    array = np.zeros(3000, np.float32)
    array[[7, 7 + 255, 7 + 255 + 256]] = [5.0, 7.0, 5.0]
    code = codes.encode(array)
    assert (code.kind, code.num_bits, code.num_values) == ("positions_codebook", 2, 3)
    # The last gap is 256: a filler, whose value is the zero, stands in between.
    assert [plane.packed.tolist() for plane in code.places.gaps.planes] == [
        [[7, 255, 255, 1]]
    ]
    assert code.values.codebook.tolist() == [0.0, 5.0, 7.0]
    assert _planes(code) == [[[0b01_00_10_01]]]
    assert (code.num_entries, code.num_nonzero) == (4, 3)
    assert code.coded_bytes == 4 + 1 + 12
    assert codes.same_bits(codes.decode(code), array)


def test_encode_positions_of_values_keep_fillers_as_zeros():
    array = np.zeros(100_000, np.float32)
    array[::300] = 1 + np.arange(334)
    code = codes.encode(array)
    assert (code.kind, code.num_bits, code.places.gaps.num_bits) == (
        "positions",
        None,
        8,
    )
    assert code.values.entries[:5].tolist() == [1, 0, 2, 0, 3]
    assert code.coded_bytes == (334 + 333) * (1 + 4)
    assert codes.same_bits(codes.decode(code), array)


@pytest.mark.parametrize(
    ("sparsity", "kind", "gap_bits"),
    [
        (0.5, "bitmap_codebook", None),
        (0.7, "bitmap_codebook", None),
        (0.8, "positions_codebook", 4),
        (0.9, "positions_codebook", 4),
        (0.97, "positions_codebook", 8),
        (0.999, "positions_codebook", 8),
    ],
)
def test_encode_sparsity_decides_how_places_are_told(sparsity, kind, gap_bits):
    array = _array(15, 200_000, sparsity=sparsity)
    code = codes.encode(array)
    assert code.kind == kind
    assert (code.places.gaps.num_bits if gap_bits else None) == gap_bits
    assert codes.same_bits(codes.decode(code), array)
    smallest = min(
        codes.encode(array, kinds=(k,)).coded_bytes for k in codes.CODE_KINDS
    )
    assert code.coded_bytes == smallest


def test_encode_256_values_leave_no_entry_for_a_filler():
    array = np.zeros(400_000, np.float32)
    array[::400] = 1 + np.arange(1000) % 256
    code = codes.encode(array)
    assert (code.kind, code.num_values) == ("positions", 257)
    assert codes.same_bits(codes.decode(code), array)


def test_encode_block_codebook_has_the_bytes_worked_out_by_hand():
    codebook = np.float32([-1.0, 3.0, 0.5, 2.0])
    scales = np.float16([[1.0], [0.25], [8.0]])
    entries = np.tile(np.arange(4), 48)
    array = codebook[entries].reshape(3, 64) * scales.astype(np.float32)
    hint = {"codebook": codebook, "scales": scales, "axis": 1, "block_size": 64}
    code = codes.encode(
        array, kinds=("block_codebook",), structure=find_structure(array, [hint])
    )
    assert (code.kind, code.num_bits, code.num_values) == ("block_codebook", 2, 11)
    assert code.values.codebook.tolist() == [-1.0, 0.5, 2.0, 3.0]
    assert _planes(code) == [[[0b10_01_11_00] * 48]]
    assert (code.values.view, code.values.scales.shape) == ((3, 64, 1), (3, 1, 1))
    assert code.values.scales.reshape(-1).tolist() == [1.0, 0.25, 8.0]
    assert code.coded_bytes == 48 + 4 * 4 + 3 * 2
    assert codes.same_bits(codes.decode(code), array)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("kind", [k for k in codes.CODE_KINDS if "block" in k])
def test_decode_block_codebook_returns_the_bits(structured, kind, share):
    array, hint = structured.blocks((256, 96), 0)
    array[np.random.default_rng(0).random(array.shape) >= share] = 0
    for turned in (array, np.ascontiguousarray(array.T)):
        structure = find_structure(turned, [hint])
        code = codes.encode(turned, kinds=(kind,), structure=structure)
        assert code.kind in (kind, "dense")
        assert codes.same_bits(codes.decode(code), turned)


@pytest.mark.parametrize(
    ("share", "kind"),
    [
        (1.0, "block_codebook"),
        (0.5, "bitmap_block_codebook"),
        (0.1, "positions_block_codebook"),
    ],
)
def test_encode_block_scales_and_zeros_take_the_smallest(structured, share, kind):
    array, hint = structured.blocks((256, 384), 0)
    array[np.random.default_rng(0).random(array.shape) >= share] = 0
    code = codes.encode(array, structure=find_structure(array, [hint]))
    assert code.kind == kind


def test_encode_block_codebook_without_a_zero_has_no_fillers():
    codebook = np.arange(1, 17, dtype=np.float32)
    scales = np.zeros((40, 8), np.float16)
    scales[::20] = 0.25
    array = codebook[np.arange(40 * 32 * 8).reshape(-1, 8) % 16]
    array *= np.repeat(scales, 32, 0).astype(np.float32)
    hint = {"codebook": codebook, "scales": scales, "axis": 0, "block_size": 32}
    structure = find_structure(array, [hint])
    # From one block to the next it is too far for a gap, and no entry is a zero.
    code = codes.encode(array, kinds=("positions_block_codebook",), structure=structure)
    assert code.kind == "dense"
    code = codes.encode(array, structure=structure)
    assert codes.same_bits(codes.decode(code), array)


@pytest.mark.parametrize("num_values", [3, 16, 200])
def test_decode_channel_codebook_returns_the_bits(structured, num_values):
    array, hint = structured.channels((512, 24), 1, num_values=num_values)
    for turned in (array, np.ascontiguousarray(array.T)):
        code = codes.encode(turned, structure=find_structure(turned, [hint]))
        assert (code.kind, code.values.codebook.shape) == (
            "channel_codebook",
            (24, num_values),
        )
        assert (np.diff(code.values.codebook, axis=1) > 0).all()
        assert codes.same_bits(codes.decode(code), turned)


def test_encode_channels_with_few_values_in_all_take_one_codebook():
    array = _array(16, 96 * 96).reshape(96, 96)
    codebook = np.tile(np.arange(1, 17, dtype=np.float32), (96, 1))
    structure = find_structure(array, [{"codebook": codebook, "axis": 1}])
    assert structure is not None
    assert codes.encode(array, structure=structure).kind == "codebook"


@pytest.mark.parametrize("row_size", [64, 61])
@pytest.mark.parametrize("num_values", [7, 15, 100])
def test_decode_by_row_bitmap_codebook_returns_the_bits(row_size, num_values):
    array = _array(num_values, 900 * row_size, sparsity=0.7).reshape(900, row_size)
    code = codes.encode(array, by_row=True)
    assert code.kind == "bitmap_codebook"
    assert code.places.bits.shape == (900, 8)
    assert code.places.row_starts.dtype == np.int32
    before = np.count_nonzero(array[:300])
    assert code.places.row_starts[[0, 300]].tolist() == [0, before]
    assert code.values.indices.num_rows == 1
    assert codes.same_bits(codes.decode(code), array)
    (values,) = {plane.packed.shape[0] for plane in code.values.indices.planes}
    assert values == 1


def test_encode_by_row_block_codebook_needs_blocks_along_the_row(structured):
    array, hint = structured.blocks((300, 64), 1)
    code = codes.encode(array, by_row=True, structure=find_structure(array, [hint]))
    assert (code.kind, code.values.indices.num_rows) == ("block_codebook", 300)
    assert len(code.values.scales) % 300 == 0
    assert codes.same_bits(codes.decode(code), array)
    array, hint = structured.blocks((320, 64), 0)
    code = codes.encode(array, by_row=True, structure=find_structure(array, [hint]))
    assert code.kind == "dense"


def test_encode_counts_decoders_of_places_channels_and_scales(structured):
    cost = DecoderCost(
        codebook_bytes=1, positions_bytes=10, channels_bytes=100, scales_bytes=1000
    )
    sparse = _array(15, 20_000, sparsity=0.97)
    weights, hint = structured.blocks((256, 96), 0)
    rows, row_hint = structured.channels((512, 24), 1)
    cases = [
        (sparse, [], 11),
        (weights, [hint], 1001),
        (rows, [row_hint], 101),
    ]
    for array, hints, expected in cases:
        structure = find_structure(array, hints)
        free = codes.encode(array, structure=structure)
        code = codes.encode(array, cost=cost, structure=structure)
        assert code.kind == free.kind
        assert code.coded_bytes - free.coded_bytes == expected
