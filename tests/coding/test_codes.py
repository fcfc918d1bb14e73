"""Tests of tfcompress.coding.codes: by hand, then every width, shape and odd value."""

import time

import numpy as np
import pytest

from tfcompress.coding import codes
from tfcompress.coding.codes import DecoderCost


def _array(num_values, size, *, sparsity=0.0, dtype=np.float32, seed=0):
    """An array with exactly `num_values` distinct non-zero values, and zeros."""
    rng = np.random.default_rng(seed)
    values = (1 + np.arange(num_values)).astype(dtype)
    array = values[np.arange(size) % num_values]
    rng.shuffle(array)
    array[rng.random(size) < sparsity] = 0
    return array


def _planes(code):
    return [plane.packed.tolist() for plane in code.indices.planes]


def test_encode_codebook_has_the_bytes_worked_out_by_hand():
    array = np.tile(np.float32([-1.0, 3.0, 2.0, 1.0]), 64)
    code = codes.encode(array)
    # By bits: 1.0 = 3f8..., 2.0 = 400..., 3.0 = 404..., -1.0 = bf8...
    assert code.codebook.tolist() == [1.0, 2.0, 3.0, -1.0]
    assert (code.kind, code.num_bits, code.num_values) == ("codebook", 2, 4)
    assert _planes(code) == [[[0b00_01_10_11] * 64]]
    assert (code.dense_bytes, code.coded_bytes) == (1024, 64 + 16)


def test_encode_bitmap_codebook_has_the_bytes_worked_out_by_hand():
    array = np.zeros(800, np.float32)
    array[[1, 3, 799]] = [5.0, 7.0, 5.0]
    code = codes.encode(array, kinds=("bitmap_codebook",))
    assert (code.kind, code.num_bits, code.num_values) == ("bitmap_codebook", 1, 3)
    assert code.bitmap.tolist() == [0b1010] + [0] * 98 + [0x80]
    assert code.codebook.tolist() == [5.0, 7.0]
    assert _planes(code) == [[[0b010]]]
    assert code.coded_bytes == 100 + 1 + 8


def test_encode_bitmap_keeps_the_values_that_are_there():
    array = np.zeros(4096, np.float32)
    array[::2] = np.arange(1, 2049)
    code = codes.encode(array)
    assert (code.kind, code.num_bits, code.num_values) == ("bitmap", None, None)
    assert code.bitmap.tolist() == [0b01010101] * 512
    assert code.values.tolist() == list(range(1, 2049))
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
        assert code.indices.num_rows == shape[0]
        assert code.indices.planes[0].packed.shape[0] == shape[0]
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
    assert code.codebook.view(np.uint32).tolist() == [0x40400000, 0x80000000]
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


def test_distinct_bits_counts_bit_patterns():
    assert codes.distinct_bits(np.float32([0.0, -0.0, 0.0])).size == 2
    assert codes.distinct_bits(np.arange(300_000, dtype=np.float32)).size == 300_000
    assert codes.distinct_bits(np.arange(300_000.0), limit=256) is None


def test_encode_large_tensor_takes_about_a_second():
    clustered = _array(16, 5_000_000)
    start = time.perf_counter()
    code = codes.encode(clustered)
    seconds = time.perf_counter() - start
    assert codes.same_bits(codes.decode(code), clustered)
    assert seconds < 3  # 0.2 s on an idle 2-core machine
    ordinary = np.arange(5_000_000, dtype=np.float32)
    start = time.perf_counter()
    assert codes.encode(ordinary).kind == "dense"
    assert time.perf_counter() - start < 0.5
