"""Tests of tfcompress.formats.tflite_file: bytes in, bytes out, and damaged files."""

import numpy as np
import pytest

from tfcompress.coding.tflite.graph import Graph
from tfcompress.errors import ModelFileError
from tfcompress.formats.tflite_file import (
    is_coded,
    mark_as_coded,
    model_bytes,
    parse_model,
    read_model,
    read_model_to_write,
    schema,
)


def _model(**fields):
    """y = x + constant, with an odd number of bytes before the constant."""
    fb = schema()
    model, subgraph = fb.ModelT(), fb.SubGraphT()
    model.version, model.description = 3, b"odd"
    model.operatorCodes, model.subgraphs, model.buffers = [], [subgraph], [fb.BufferT()]
    subgraph.tensors = []
    graph = Graph(model, subgraph, {})
    x = graph.tensor([-1, 3], "FLOAT32", "x")
    y = graph.tensor([-1, 3], "FLOAT32", "y")
    graph.constant(np.zeros(5, np.uint8))
    bias = graph.constant(np.float32([1, 2, 3]), "bias")
    subgraph.operators = [graph.operator("ADD", [x, bias], [y], "AddOptions")]
    subgraph.inputs, subgraph.outputs = np.int32([x]), np.int32([y])
    for name, value in fields.items():
        setattr(model, name, value)
    return model


def test_model_bytes_twice_gives_the_same_bytes():
    assert model_bytes(_model()) == model_bytes(_model())


def test_model_bytes_opens_in_the_interpreter():
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model_bytes(_model()))
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.zeros((1, 3), np.float32))
    interpreter.invoke()
    assert interpreter.get_tensor(1).tolist() == [[1.0, 2.0, 3.0]]


def test_model_bytes_writes_the_same_numbers_once():
    sizes = []
    for zero in (0, 1):
        model = _model()
        for number, tensor in enumerate(model.subgraphs[0].tensors):
            tensor.quantization = schema().QuantizationParametersT()
            points = np.full(100, zero * number, np.int64)
            tensor.quantization.zeroPoint = points
        data = model_bytes(model)
        sizes.append(len(data))
        found = parse_model(data, "file").subgraphs[0].tensors
        for number, tensor in enumerate(found):
            assert tensor.quantization.zeroPoint.tolist() == [zero * number] * 100
    num_tensors = len(found)
    assert sizes[1] - sizes[0] >= 800 * (num_tensors - 1)


def test_model_bytes_aligns_buffers_to_16_bytes():
    data = model_bytes(_model())
    start = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    for buffer in parse_model(data, "file").buffers:
        if buffer.data is not None:
            place = buffer.data.__array_interface__["data"][0] - start
            assert place % 16 == 0


def test_model_bytes_keeps_an_empty_constant_a_constant():
    model = _model()
    model.buffers[1].data = np.zeros(0, np.uint8)
    buffers = parse_model(model_bytes(model), "file").buffers
    assert buffers[0].data is None
    assert len(buffers[1].data) == 0


def test_is_coded_after_mark_survives_the_file():
    model = _model()
    assert not is_coded(model)
    mark_as_coded(model)
    assert is_coded(parse_model(model_bytes(model), "file"))


def test_read_model_that_is_none_raises(tmp_path):
    path = tmp_path / "picture.tflite"
    path.write_bytes(b"\x89PNG\r\n\x1a\n and so on")
    with pytest.raises(
        ModelFileError, match="is not a TensorFlow Lite model: it lacks"
    ):
        read_model(path)


def test_read_model_truncated_anywhere_raises(tmp_path):
    data = model_bytes(_model())
    path = tmp_path / "model.tflite"
    for size in range(8, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(ModelFileError, match="damaged or truncated"):
            read_model(path)


def test_parse_model_with_an_index_out_of_its_list_raises():
    model = _model()
    model.subgraphs[0].operators[0].inputs = np.int32([0, 99])
    with pytest.raises(ModelFileError, match="damaged or truncated"):
        parse_model(model_bytes(model), "model.tflite")


def test_parse_model_without_a_graph_raises():
    with pytest.raises(ModelFileError, match="damaged or truncated"):
        parse_model(model_bytes(_model(subgraphs=None)), "model.tflite")


def _write_with_weights_behind(path, *, num_missing_bytes=0):
    """Writes a file whose last constant lies behind its flatbuffer, as large models'
    and ai-edge-quantizer's do; returns the constant's bytes."""
    model = _model()
    buffer = model.buffers[2]
    behind, buffer.data = bytes(buffer.data), None
    buffer.offset = buffer.size = 1 << 20  # as wide as the numbers that follow
    buffer.offset = len(_pack(model))
    buffer.size = len(behind)
    data = _pack(model) + behind
    path.write_bytes(data[: len(data) - num_missing_bytes])
    return behind


def _pack(model):
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_read_model_takes_in_weights_behind_the_flatbuffer(tmp_path):
    path = tmp_path / "quantized.tflite"
    behind = _write_with_weights_behind(path)
    model = read_model(path)
    assert bytes(model.buffers[2].data) == behind
    again = parse_model(model_bytes(model), "again")
    assert bytes(again.buffers[2].data) == behind
    assert again.buffers[2].offset == 0


def test_read_model_truncated_weights_behind_the_flatbuffer_raise(tmp_path):
    path = tmp_path / "quantized.tflite"
    _write_with_weights_behind(path, num_missing_bytes=1)
    with pytest.raises(ModelFileError, match="12 bytes of weights lie beyond its end"):
        read_model(path)


def test_read_model_with_more_weights_than_a_flatbuffer_holds_raises(
    tmp_path, monkeypatch
):
    path = tmp_path / "large.tflite"
    _write_with_weights_behind(path)
    monkeypatch.setattr("tfcompress.formats.tflite_file._MAX_BUFFER_BYTES", 16)
    with pytest.raises(ModelFileError, match="more than 2 GB of weights"):
        read_model_to_write(path)


def test_read_model_with_weights_in_other_files_raises(tmp_path):
    fb = schema()
    buffer, group = fb.ExternalBufferT(), fb.ExternalBufferGroupT()
    group.name = b"weights.bin"
    model = _model(externalBuffers=[buffer], externalBufferGroups=[group])
    path = tmp_path / "split.tflite"
    path.write_bytes(_pack(model))
    with pytest.raises(ModelFileError, match="keeps weights in other files"):
        read_model_to_write(path)


def test_parse_model_offsets_that_share_one_part_are_counted(tmp_path):
    """100,000 offsets to one graph, which has as many to one operator: 0.8 MB."""
    import flatbuffers

    fb, count = schema(), 100_000
    builder = flatbuffers.Builder(2**20)
    fb.OperatorStart(builder)
    operator = fb.OperatorEnd(builder)
    fb.SubGraphStartOperatorsVector(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(operator)
    operators = builder.EndVector()
    fb.SubGraphStart(builder)
    fb.SubGraphAddOperators(builder, operators)
    graph = fb.SubGraphEnd(builder)
    fb.ModelStartSubgraphsVector(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    fb.ModelStart(builder)
    fb.ModelAddSubgraphs(builder, graphs)
    builder.Finish(fb.ModelEnd(builder), file_identifier=b"TFL3")
    path = tmp_path / "bomb.tflite"
    path.write_bytes(builder.Output())
    with pytest.raises(ModelFileError, match="is a damaged or truncated TensorFlow"):
        read_model(path)


def test_parse_model_operator_that_reads_what_nothing_makes_raises():
    model = _model()
    model.subgraphs[0].inputs = np.zeros(0, np.int32)
    with pytest.raises(ModelFileError, match="is a damaged or truncated TensorFlow"):
        parse_model(model_bytes(model), "model")
    model = _model()
    for buffer in model.buffers:  # as one wrong byte in what all buffers share does
        buffer.data = None
    with pytest.raises(ModelFileError, match="is a damaged or truncated TensorFlow"):
        parse_model(model_bytes(model), "model")
