"""Tests of tfcompress.coding.tflite.rows: lookups in packed tables."""

import numpy as np
import pytest

from tfcompress.coding import codes
from tfcompress.coding.structures import find_structure
from tfcompress.coding.tflite.rows import decode_rows


def _looked_up(graphs, code, ids):
    graph = graphs.empty()
    # The file says 1 for every size; the interpreter is resized, as users do.
    source = graph.tensor([1] * ids.ndim, "INT32", "ids")
    output = graph.tensor([1] * ids.ndim + list(code.shape[1:]), "FLOAT32", "rows")
    operators = decode_rows(graph, code, source, output, "table")
    return graphs.run(graph, operators, output, {source: ids})


@pytest.mark.parametrize("num_bits", range(1, 9))
@pytest.mark.parametrize("row_size", [16, 13])
@pytest.mark.parametrize("kind", ["codebook", "bitmap_codebook"])
def test_decode_rows_every_width_returns_the_rows(graphs, num_bits, row_size, kind):
    sparsity = 0.5 if kind == "bitmap_codebook" else 0.0
    table = graphs.shuffled(min(1 << num_bits, 250), (301, row_size), sparsity=sparsity)
    code = codes.encode(table, by_row=True, kinds=(kind,))
    assert (code.kind, code.num_bits) == (kind, num_bits)
    ids = np.int32([[300, 0, 7], [7, 299, 1]])
    rows = _looked_up(graphs, code, ids)
    assert codes.same_bits(rows, table[ids])


@pytest.mark.parametrize("num_bits", [4, 3])
@pytest.mark.parametrize("row_shape", [(6,), (3, 5), (2, 2, 3)])
@pytest.mark.parametrize("ids_shape", [(), (4,), (1, 1), (2, 1, 3)])
@pytest.mark.parametrize("kind", ["codebook", "bitmap_codebook"])
def test_decode_rows_any_rank_returns_the_rows(
    graphs, num_bits, row_shape, ids_shape, kind
):
    sparsity = 0.5 if kind == "bitmap_codebook" else 0.0
    table = graphs.shuffled(1 << num_bits, (40, *row_shape), sparsity=sparsity)
    code = codes.encode(table, by_row=True, kinds=(kind,))
    ids = np.random.default_rng(1).integers(0, 40, ids_shape).astype(np.int32)
    rows = _looked_up(graphs, code, np.asarray(ids))
    assert codes.same_bits(rows, table[ids])


def test_decode_rows_of_zeros_and_without_return_the_rows(graphs):
    table = graphs.shuffled(15, (50, 24), sparsity=0.7)
    table[0] = table[49] = table[20:30] = 0
    table[10] = -1.5
    code = codes.encode(table, by_row=True, kinds=("bitmap_codebook",))
    ids = np.arange(50, dtype=np.int32)
    assert codes.same_bits(_looked_up(graphs, code, ids), table)


def test_decode_rows_minus_zero_nan_and_infinity_return_the_bits(graphs):
    odd = np.array([0x80000000, 0x7FC00001, 0xFFC00000, 0x7F800000], np.uint32)
    table = np.zeros((100, 40), np.float32)
    table.reshape(-1)[::3] = np.resize(odd.view(np.float32), 1334)
    code = codes.encode(table, by_row=True, kinds=("bitmap_codebook",))
    ids = np.int32([99, 0, 50])
    assert codes.same_bits(_looked_up(graphs, code, ids), table[ids])


@pytest.mark.parametrize("ids_shape", [(), (4,), (2, 3)])
@pytest.mark.parametrize(("block_size", "row_size"), [(32, 96), (8, 8)])
def test_decode_rows_scales_of_blocks_return_the_rows(
    graphs, ids_shape, block_size, row_size
):
    table, hint = graphs.of_blocks((70, row_size), block_size)
    code = codes.encode(
        table,
        by_row=True,
        kinds=("block_codebook",),
        structure=find_structure(table, [hint]),
    )
    assert code.kind == "block_codebook"
    ids = np.random.default_rng(1).integers(0, 70, ids_shape).astype(np.int32)
    rows = _looked_up(graphs, code, np.asarray(ids))
    assert codes.same_bits(rows, table[ids])
