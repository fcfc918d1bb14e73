"""Tests of tfcompress.coding.tflite_decoders: each decoder in the interpreter."""

import numpy as np
import pytest

from tfcompress.coding import codes
from tfcompress.coding.tflite_decoders import decode_all
from tfcompress.coding.tflite_file import model_bytes, schema
from tfcompress.coding.tflite_graph import Graph
from tfcompress.coding.tflite_rows import decode_rows


def _empty_graph():
    fb = schema()
    model, subgraph, buffer = fb.ModelT(), fb.SubGraphT(), fb.BufferT()
    model.version = 3
    model.operatorCodes, model.subgraphs, model.buffers = [], [subgraph], [buffer]
    subgraph.tensors, subgraph.operators = [], []
    return Graph(model, subgraph, {})


def _run(graph, operators, inputs, output, feeds=()):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    graph.subgraph.operators = operators
    graph.subgraph.inputs = np.int32(inputs)
    graph.subgraph.outputs = np.int32([output])
    interpreter = Interpreter(
        model_content=model_bytes(graph.model),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    for index, value in zip(inputs, feeds, strict=True):
        interpreter.resize_tensor_input(index, value.shape)
    interpreter.allocate_tensors()
    for index, value in zip(inputs, feeds, strict=True):
        interpreter.set_tensor(index, value)
    interpreter.invoke()
    return interpreter.get_tensor(output)


def _clustered(num_values, shape, *, sparsity=0.0, dtype=np.float32):
    rng = np.random.default_rng(num_values)
    values = np.append(-1.5, 1 + np.arange(num_values - 1)).astype(dtype)
    size = int(np.prod(shape))
    array = values[np.arange(size) % num_values]
    rng.shuffle(array)
    array[rng.random(size) < sparsity] = 0
    return array.reshape(shape)


def _decoded(array, kind):
    code = codes.encode(array, kinds=(kind,))
    assert code.kind == kind
    graph = _empty_graph()
    output, operators = decode_all(graph, code, "weight")
    return code, _run(graph, operators, [], output)


@pytest.mark.parametrize("num_bits", range(1, 9))
@pytest.mark.parametrize("size", [1024, 1021])
@pytest.mark.parametrize("kind", ["codebook", "bitmap_codebook"])
def test_decode_all_every_width_returns_the_bits(num_bits, size, kind):
    sparsity = 0.6 if kind == "bitmap_codebook" else 0.0
    num_values = 2 if num_bits == 1 else (1 << num_bits) - 1
    array = _clustered(num_values, (size,), sparsity=sparsity)
    code, decoded = _decoded(array, kind)
    assert code.num_bits == num_bits
    assert codes.same_bits(decoded, array)


@pytest.mark.parametrize("size", [2048, 2043])
def test_decode_all_bitmap_and_values_returns_the_bits(size):
    array = np.random.default_rng(0).normal(size=size).astype(np.float32)
    array[::3] = 0
    _, decoded = _decoded(array, "bitmap")
    assert codes.same_bits(decoded, array)


@pytest.mark.parametrize("kind", ["codebook", "bitmap", "bitmap_codebook"])
def test_decode_all_float16_becomes_float32(kind):
    array = _clustered(12, (1003,), sparsity=0.5, dtype=np.float16)
    _, decoded = _decoded(array, kind)
    assert codes.same_bits(decoded, array.astype(np.float32))


def test_decode_all_minus_zero_nan_and_infinity_return_the_bits():
    odd = np.array([0x80000000, 0x7FC00001, 0xFFC00000, 0x7F800000], np.uint32)
    array = np.zeros(4000, np.float32)
    array[::3] = np.resize(odd.view(np.float32), 1334)
    _, decoded = _decoded(array, "bitmap_codebook")
    assert codes.same_bits(decoded, array)


@pytest.mark.parametrize("num_bits", range(1, 9))
@pytest.mark.parametrize("row_size", [16, 13])
def test_decode_rows_every_width_returns_the_rows(num_bits, row_size):
    table = _clustered(min(1 << num_bits, 250), (301, row_size))
    code = codes.encode(table, by_row=True)
    assert (code.kind, code.num_bits) == ("codebook", num_bits)
    ids = np.int32([[300, 0, 7], [7, 299, 1]])
    rows = _looked_up(code, ids)
    assert codes.same_bits(rows, table[ids])


@pytest.mark.parametrize("num_bits", [4, 3])
@pytest.mark.parametrize("row_shape", [(6,), (3, 5), (2, 2, 3)])
@pytest.mark.parametrize("ids_shape", [(), (4,), (1, 1), (2, 1, 3)])
def test_decode_rows_any_rank_returns_the_rows(num_bits, row_shape, ids_shape):
    table = _clustered(1 << num_bits, (40, *row_shape))
    code = codes.encode(table, by_row=True)
    ids = np.random.default_rng(1).integers(0, 40, ids_shape).astype(np.int32)
    rows = _looked_up(code, np.asarray(ids))
    assert codes.same_bits(rows, table[ids])


def _looked_up(code, ids):
    graph = _empty_graph()
    # The file says 1 for every size; the interpreter is resized, as users do.
    source = graph.tensor([1] * ids.ndim, "INT32", "ids")
    output = graph.tensor([1] * ids.ndim + list(code.shape[1:]), "FLOAT32", "rows")
    operators = decode_rows(graph, code, source, output, "table")
    return _run(graph, operators, [source], output, [ids])


def test_decoders_of_one_model_share_their_tables():
    graph = _empty_graph()
    for seed in range(2):
        array = np.random.default_rng(seed).choice(np.float32([1, 2, 3, 4]), 4096)
        code = codes.encode(array, kinds=("codebook",))
        decode_all(graph, code, f"weight_{seed}")
    sizes = [len(b.data) for b in graph.model.buffers if b.data is not None]
    # One table of 256 x 4 indices, one codebook, one shape; two packed weights.
    assert sorted(sizes, reverse=True)[:3] == [1024, 1024, 1024]
    assert sizes.count(16) == 1
