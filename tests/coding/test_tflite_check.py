"""Tests of tfcompress.coding.tflite.check: a wrong decoder is found."""

import numpy as np
import pytest

from tfcompress.coding import codes
from tfcompress.coding.tflite.check import (
    Lookup,
    Variable,
    check_coded_model,
    check_runs_like,
)
from tfcompress.coding.tflite.decoders import decode_all
from tfcompress.coding.tflite.graph import Graph
from tfcompress.coding.tflite.rows import decode_rows
from tfcompress.formats.tflite_file import model_bytes, schema

_TABLE = np.random.default_rng(0).choice(np.float32([1, 2, 3, 5]), (64, 32))


def _empty_subgraph():
    subgraph = schema().SubGraphT()
    subgraph.tensors, subgraph.operators = [], []
    subgraph.inputs = subgraph.outputs = np.zeros(0, np.int32)
    return subgraph


@pytest.fixture
def coded():
    """Bytes of a model with a lookup and a variable, and what they have to hold."""
    fb = schema()
    model = fb.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [], [fb.BufferT()]
    main, decoder = _empty_subgraph(), _empty_subgraph()
    model.subgraphs = [main, decoder]
    graph = Graph(model, main, {})
    ids, rows = graph.tensor([1, 1], "INT32"), graph.tensor([1, 1, 32], "FLOAT32")
    main.inputs, main.outputs = np.int32([ids]), np.int32([rows])
    by_row = codes.encode(_TABLE, by_row=True)
    main.operators = decode_rows(graph, by_row, ids, rows, "table")
    graph = Graph(model, decoder, {})
    weight, decoder.operators = decode_all(graph, codes.encode(_TABLE), "weight")
    decoder.operators += graph.assign_variable(b"weight", weight)
    lookup = Lookup(0, ids, rows, _TABLE)
    return model_bytes(model), Variable(b"weight", _TABLE.flatten()), lookup


def test_check_of_right_decoders_passes(coded):
    data, variable, lookup = coded
    check_coded_model(data, [variable], [lookup])


def test_check_of_a_wrong_variable_raises(coded):
    data, variable, _ = coded
    variable.array[-1] *= -1
    with pytest.raises(
        RuntimeError, match=r"shape \(2048,\) decodes to something else"
    ):
        check_coded_model(data, [variable], [])


def test_check_of_a_wrong_row_raises(coded):
    data, _, lookup = coded
    table = lookup.table.copy()
    table[-1, -1] += 1
    wrong = Lookup(lookup.subgraph, lookup.ids, lookup.output, table)
    with pytest.raises(
        RuntimeError, match=r"shape \(64, 32\) decodes to something else"
    ):
        check_coded_model(data, [], [wrong])


def _negation(*shape):
    fb = schema()
    model, subgraph = fb.ModelT(), _empty_subgraph()
    model.version, model.operatorCodes, model.buffers = 3, [], [fb.BufferT()]
    model.subgraphs = [subgraph]
    graph = Graph(model, subgraph, {})
    x, y = graph.tensor(shape, "FLOAT32"), graph.tensor(shape, "FLOAT32")
    subgraph.operators = [graph.operator("NEG", [x], [y], "NegOptions")]
    subgraph.inputs, subgraph.outputs = np.int32([x]), np.int32([y])
    return model_bytes(model)


def test_check_runs_like_with_another_shape_raises():
    check_runs_like(_negation(1, 2), _negation(1, 2))
    with pytest.raises(RuntimeError, match=r"returns \[\(\(1, 3\), 'float32'\)\], the"):
        check_runs_like(_negation(1, 2), _negation(1, 3))


def test_check_runs_like_a_model_that_does_not_run_is_content():
    check_runs_like(b"no model", _negation(1, 2))
