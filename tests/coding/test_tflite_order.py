"""Tests of tfcompress.coding.tflite.order: what waits for what."""

import numpy as np
import pytest

from tfcompress.coding.tflite.order import (
    find_dependencies,
    read_dependencies,
    write_dependencies,
)
from tfcompress.formats.tflite_file import model_bytes, parse_model, read_model
from tfcompress.formats.tflite_graphs import operator_name

_ENTRY = b"model_control_dependencies"


def _entry(model):
    (buffer,) = [e.buffer for e in model.metadata if e.name == _ENTRY]
    return model.buffers[buffer].data.tobytes()


def test_write_dependencies_of_two_subgraphs_gives_the_known_bytes(graphs):
    model = graphs.empty().model
    write_dependencies(model, [[(0, 3), (2, 100)], []])
    assert list(_entry(model)) == [1, 2, 2, 0, 6, 4, 0xC8, 1, 0]


def test_write_dependencies_again_replaces_them(graphs):
    model = graphs.empty().model
    write_dependencies(model, [[(0, 1)]])
    write_dependencies(model, [[(1, 2)]])
    assert len(model.metadata) == 1
    assert read_dependencies(model) == [[(1, 2)]]


@pytest.mark.parametrize("data", [b"", b"\x02\x01\x00"])
def test_read_dependencies_of_no_or_other_version_is_none(graphs, data):
    model = graphs.empty().model
    assert read_dependencies(model) is None
    write_dependencies(model, [[]])
    model.buffers[-1].data = np.frombuffer(data, np.uint8)
    assert read_dependencies(model) is None


def test_find_dependencies_reads_wait_for_what_their_use_waits_for(graphs):
    graph = graphs.empty()
    x, y, z, weight = (graph.tensor([2, 2], "FLOAT32") for _ in range(4))
    flat = graph.tensor([4], "FLOAT32")
    graph.subgraph.operators = [
        graph.operator("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=0),
        graph.operator("EXP", [x], [y]),
        *graph.read_variable(b"weight", weight),
        graph.operator("RESHAPE", [y], [flat]),
        graph.operator("MUL", [flat, weight], [z], "MulOptions"),
    ]
    # The call before the handle before the read; the handle after EXP, which the use
    # needs by way of RESHAPE.
    pairs = find_dependencies(graph.model, graph.subgraph)
    assert pairs == [(0, 2), (1, 2), (2, 3)]


def _two_parts(files, edit=None):
    """Converts two dense layers with an operator between that XNNPACK leaves."""
    import tensorflow as tf

    first, second = files.clustered(64, 96), files.clustered(96, 64, seed=1)

    def function(x):
        rolled = tf.cumsum(x @ first, axis=-1)
        return rolled @ second

    return files.convert(function, files.floats(None, None, 64), edit=edit)


def test_code_weights_of_a_later_part_are_not_copied_into_it(files):
    path = _two_parts(files)
    coded, _ = files.code(path)
    interpreter = files.interpreter(coded)
    interpreter.allocate_tensors()
    parts = [
        operator
        for operator in interpreter._get_ops_details()
        if operator["op_name"] == "DELEGATE"
    ]
    assert len(parts) == 2
    shapes = {d["index"]: tuple(d["shape"]) for d in interpreter.get_tensor_details()}
    given = {shapes[index] for part in parts for index in part["outputs"]}
    assert not given & {(96, 64), (64, 96)}
    files.check_same_outputs(path, coded, atol=1e-3)


def test_code_dependencies_of_the_file_keep_their_operators(files):
    def edit(model):
        # CUMSUM is the second of three operators.
        write_dependencies(model, [[(0, 1), (1, 2)]])

    path = _two_parts(files, edit)
    assert len(files.kinds(path)[0]) == 3
    coded, _ = files.code(path)
    model = read_model(coded)
    operators = model.subgraphs[0].operators
    names = [operator_name(model, operator) for operator in operators]
    sums = names.index("CUMSUM")
    pairs = read_dependencies(model)[0]
    assert (sums - 1, sums) in pairs
    assert (sums, names.index("BATCH_MATMUL", sums)) in pairs
    files.check_same_outputs(path, coded, atol=1e-3)


def test_code_file_without_variables_has_no_dependencies(files):
    import tensorflow as tf

    table = files.clustered(500, 16)
    path = files.convert(lambda x: tf.gather(table, x), files.ids(None, 3))
    coded, result = files.code(path)
    assert result.is_coded
    assert read_dependencies(parse_model(coded.read_bytes(), coded)) is None


def test_model_bytes_keep_dependencies(graphs):
    graph = graphs.empty()
    write_dependencies(graph.model, [[(0, 1000)]])
    model = parse_model(model_bytes(graph.model), "model")
    assert read_dependencies(model) == [[(0, 1000)]]


def test_find_dependencies_operator_that_feeds_itself_ends(graphs):
    graph = graphs.empty()
    x, y, weight = (graph.tensor([2, 2], "FLOAT32") for _ in range(3))
    graph.subgraph.operators = [
        *graph.read_variable(b"weight", weight),
        graph.operator("ABS", [x], [x]),
        graph.operator("ABS", [y], [x]),
        graph.operator("MUL", [x, y], [y], "MulOptions"),
        graph.operator("MUL", [weight, y], [y], "MulOptions"),
    ]
    assert find_dependencies(graph.model, graph.subgraph) == [(0, 1)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x01\x01\x05\x00", "its dependencies end early"),
        (b"\x01" + b"\xff" * 1_000_000, "has no end"),
        (b"\x01\xff\xff\xff\xff\x0f", "its dependencies end early"),
    ],
)
def test_read_dependencies_damaged_raise(graphs, data, message):
    model = graphs.empty().model
    write_dependencies(model, [[]])
    model.buffers[-1].data = np.frombuffer(data, np.uint8)
    with pytest.raises(ValueError, match=message):
        read_dependencies(model)
