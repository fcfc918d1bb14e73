"""Tests of tfcompress.coding.tflite.decoders: each decoder in the interpreter."""

import numpy as np
import pytest

from tfcompress.coding import codes
from tfcompress.coding.structures import find_structure
from tfcompress.coding.tflite.decoders import decode_all


def _decoded(graphs, array, kind, hint=None):
    structure = None if hint is None else find_structure(array, [hint])
    code = codes.encode(array, kinds=(kind,), structure=structure)
    assert code.kind == kind
    graph = graphs.empty()
    output, operators = decode_all(graph, code, "weight")
    return code, graphs.run(graph, operators, output).reshape(array.shape)


@pytest.mark.parametrize("num_bits", range(1, 9))
@pytest.mark.parametrize("size", [1024, 1021])
@pytest.mark.parametrize(
    ("kind", "sparsity"),
    [("codebook", 0.0), ("bitmap_codebook", 0.6), ("positions_codebook", 0.95)],
)
def test_decode_all_every_width_returns_the_bits(
    graphs, num_bits, size, kind, sparsity
):
    if kind == "positions_codebook":
        size *= 20
    num_values = 2 if num_bits == 1 else (1 << num_bits) - 1
    array = graphs.shuffled(num_values, (size,), sparsity=sparsity)
    code, decoded = _decoded(graphs, array, kind)
    if kind != "positions_codebook":  # whose fillers may be a value more
        assert code.num_bits == num_bits
    assert codes.same_bits(decoded, array)


@pytest.mark.parametrize("size", [2048, 2043])
@pytest.mark.parametrize(("kind", "keep"), [("bitmap", 3), ("positions", 23)])
def test_decode_all_zeros_and_values_return_the_bits(graphs, size, kind, keep):
    array = np.zeros(size, np.float32)
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    array[keep - 1 :: keep] = values[keep - 1 :: keep]
    _, decoded = _decoded(graphs, array, kind)
    assert codes.same_bits(decoded, array)


@pytest.mark.parametrize("places", [[0], [2999], [0, 700, 701, 2999]])
def test_decode_all_few_positions_return_the_bits(graphs, places):
    array = np.zeros(3000, np.float32)
    array[places] = -2.5
    _, decoded = _decoded(graphs, array, "positions_codebook")
    assert codes.same_bits(decoded, array)


@pytest.mark.parametrize(
    ("kind", "sparsity"),
    [
        ("codebook", 0.5),
        ("bitmap", 0.5),
        ("bitmap_codebook", 0.5),
        ("positions", 0.95),
        ("positions_codebook", 0.95),
    ],
)
def test_decode_all_float16_becomes_float32(graphs, kind, sparsity):
    array = graphs.shuffled(12, (1003,), sparsity=sparsity, dtype=np.float16)
    _, decoded = _decoded(graphs, array, kind)
    assert codes.same_bits(decoded, array.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "step"), [("bitmap_codebook", 3), ("positions_codebook", 19)]
)
def test_decode_all_minus_zero_nan_and_infinity_return_the_bits(graphs, kind, step):
    odd = np.array([0x80000000, 0x7FC00001, 0xFFC00000, 0x7F800000], np.uint32)
    array = np.zeros(4000, np.float32)
    array[::step] = np.resize(odd.view(np.float32), array[::step].size)
    _, decoded = _decoded(graphs, array, kind)
    assert codes.same_bits(decoded, array)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_decode_all_codebooks_of_channels_return_the_bits(graphs, axis):
    rng = np.random.default_rng(axis)
    shape = (6, 40, 8)
    codebook = np.sort(rng.normal(size=(shape[axis], 5)).astype(np.float32))
    indices = np.moveaxis(rng.integers(0, 5, shape), axis, 0)
    channels = [row[index] for row, index in zip(codebook, indices, strict=True)]
    array = np.ascontiguousarray(np.moveaxis(np.stack(channels), 0, axis))
    hint = {"codebook": codebook, "axis": axis}
    _, decoded = _decoded(graphs, array, "channel_codebook", hint)
    assert codes.same_bits(decoded, array)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("kind", "sparsity"),
    [
        ("block_codebook", 0.0),
        ("bitmap_block_codebook", 0.6),
        ("positions_block_codebook", 0.95),
    ],
)
def test_decode_all_scales_of_blocks_return_the_bits(graphs, kind, sparsity, axis):
    array, hint = graphs.of_blocks((64, 96), 32, axis=axis, sparsity=sparsity)
    _, decoded = _decoded(graphs, array, kind, hint)
    assert codes.same_bits(decoded, array)


@pytest.mark.parametrize("kind", ["codebook", "bitmap_codebook"])
def test_decode_all_code_by_row_returns_the_bits(graphs, kind):
    table = graphs.shuffled(7, (201, 13), sparsity=0.5)
    code = codes.encode(table, by_row=True, kinds=(kind,))
    graph = graphs.empty()
    output, operators = decode_all(graph, code, "table")
    decoded = graphs.run(graph, operators, output)
    assert codes.same_bits(decoded.reshape(table.shape), table)


def test_decoders_of_one_model_share_their_tables(graphs):
    graph = graphs.empty()
    for seed in range(2):
        array = np.random.default_rng(seed).choice(np.float32([1, 2, 3, 4]), 4096)
        code = codes.encode(array, kinds=("codebook",))
        decode_all(graph, code, f"weight_{seed}")
    sizes = [len(b.data) for b in graph.model.buffers if b.data is not None]
    # One table of 256 x 4 indices, one codebook, one shape; two packed weights.
    assert sorted(sizes, reverse=True)[:3] == [1024, 1024, 1024]
    assert sizes.count(16) == 1
