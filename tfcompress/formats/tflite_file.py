"""Reads and writes .tflite files as objects of LiteRT's flatbuffer schema.

Source: the schema that `ai_edge_litert` ships (TFLite schema, version 3).
"""

import pathlib
import struct

import numpy as np

from tfcompress.errors import ModelFileError, require
from tfcompress.formats.tflite_tensors import check_tensors_are_made

_IDENTIFIER = b"TFL3"
_MARK = b"tfcompress.coding"
_MARK_VERSION = b"1"

# The schema asks for it (`force_align: 16`), and kernels rely on it.
_BUFFER_ALIGNMENT = 16

# Larger models keep their buffers behind the flatbuffer, and some tools those of every
# model.
MAX_FLATBUFFER_BYTES = 2**31 - 1

# What is left is for the graph.
_MAX_BUFFER_BYTES = MAX_FLATBUFFER_BYTES - 2**26

# Tables that a file can have for LiteRT, which refuses one of more before it opens it.
MAX_TABLES = 1_000_000
# Tensors that an operator reads and writes, or dimensions of one: far above all known.
_MEAN_ENDS = 64

# What the schema's reader raises on bytes that are no flatbuffer, or half of one.
_PARSE_ERRORS = (
    struct.error,
    AttributeError,
    RecursionError,
    IndexError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)


def schema():
    """Returns LiteRT's schema module; MissingDependencyError where there is none."""
    return require("ai_edge_litert.schema_py_generated", extra="tflite")


def read_model(path, content=None):
    """Reads a .tflite file.

    Args:
        path: path of the file.
        content: bytes of the file where they are another's than at `path`.
    Returns:
        The schema's `ModelT`; the arrays of its buffers are views of the file's bytes,
        also of those that the file keeps behind its flatbuffer.
    Raises:
        ModelFileError: if the file is no whole .tflite file.
        OSError: if it cannot be read.
    """
    path = pathlib.Path(path)
    data = path.read_bytes() if content is None else content
    if data[4:8] != _IDENTIFIER:
        raise ModelFileError(
            f"{str(path)!r} is not a TensorFlow Lite model: it lacks the identifier "
            "TFL3. Give a file that the converter wrote."
        )
    model = parse_model(data, path)
    _take_in_buffers(model, data, path)
    return model


def read_model_to_write(path):
    """Reads a .tflite file that `model_bytes` can write whole.

    Args, Returns, Raises: as of `read_model`; `ModelFileError` too if the file has more
    weights than a flatbuffer holds, or other parts behind it or in other files.
    """
    if path.stat().st_size > MAX_FLATBUFFER_BYTES:
        raise _too_large(path)
    model = read_model(path)
    if _has_external_parts(model):
        raise ModelFileError(
            f"{str(path)!r} keeps weights in other files, or options of custom "
            "operators outside its flatbuffer; such files cannot be coded. Leave it "
            "dense."
        )
    if _buffer_bytes(model) > _MAX_BUFFER_BYTES:
        raise _too_large(path)
    return model


def _too_large(path):
    return ModelFileError(
        f"{str(path)!r} has more than 2 GB of weights, which a flatbuffer cannot "
        "hold; such files cannot be coded. Split the model or leave it dense."
    )


def parse_model(data, path):
    """Parses the bytes of a .tflite file; `path` is for the message.

    Raises:
        ModelFileError: if they are damaged or truncated.
    """
    try:
        _check_counts(data)
        model = schema().ModelT.InitFromPackedBuf(data)
        _fill_absent_lists(model)
        _check_indices(model)
    except _PARSE_ERRORS as error:
        raise ModelFileError(
            f"{str(path)!r} is a damaged or truncated TensorFlow Lite model. Convert "
            "or copy it again."
        ) from error
    return model


def model_bytes(model):
    """Packs a `ModelT` into the bytes of a .tflite file.

    Buffers are aligned to 16 bytes, which the schema's own `Pack` does not do, and
    vectors of numbers that are the same are written once: shapes, and the zero points
    of channels, of 8 bytes each. The same model gives the same bytes.
    """
    size = min(2 * _buffer_bytes(model) + (1 << 16), MAX_FLATBUFFER_BYTES)
    builder = _sharing_builder(size)
    original = model.buffers
    model.buffers = [_AlignedBuffer(buffer) for buffer in original]
    try:
        root = model.Pack(builder)
    finally:
        model.buffers = original
    builder.Finish(root, file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def mark_as_coded(model):
    """Adds the metadata entry that `is_coded` finds."""
    fb = schema()
    buffer = fb.BufferT()
    buffer.data = np.frombuffer(_MARK_VERSION, np.uint8)
    model.buffers.append(buffer)
    entry = fb.MetadataT()
    entry.name, entry.buffer = _MARK, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]


def forget_details(model):
    """Drops what no runtime reads: names of activations, quantization without scales.

    A converter names an activation after all operators that it fused: 31 kB of MiniLM's
    file, of 480 tensors. Inputs, outputs and constants keep their names.
    """
    for subgraph in model.subgraphs:
        ends = {*subgraph.inputs.tolist(), *subgraph.outputs.tolist()}
        for index, tensor in enumerate(subgraph.tensors):
            if index not in ends and model.buffers[tensor.buffer].data is None:
                tensor.name = None
            found = tensor.quantization
            if found is not None and found.scale is None and found.details is None:
                tensor.quantization = None


def is_coded(model):
    """Returns True if `mark_as_coded` was here."""
    return any(entry.name == _MARK for entry in model.metadata or [])


def _sharing_builder(size):
    """Returns a flatbuffers.Builder that writes the same vector of numbers once."""
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):
        def __init__(self, size):
            super().__init__(size)
            self.known = {}

        def CreateNumpyVector(self, x):
            key = (x.dtype.str, x.tobytes())
            if key not in self.known:
                self.known[key] = super().CreateNumpyVector(x)
            return self.known[key]

    return SharingBuilder(size)


class _AlignedBuffer:
    """A buffer that packs itself aligned."""

    def __init__(self, buffer):
        self._data = buffer.data

    def Pack(self, builder):
        fb = schema()
        data = None
        if self._data is not None:  # an empty constant is a constant still
            payload = np.asarray(self._data, np.uint8).tobytes()
            builder.StartVector(1, len(payload), _BUFFER_ALIGNMENT)
            builder.head -= len(payload)
            builder.Bytes[builder.head : builder.head + len(payload)] = payload
            data = builder.EndVector()
        fb.BufferStart(builder)
        if data is not None:
            fb.BufferAddData(builder, data)
        return fb.BufferEnd(builder)


def _check_counts(data):
    """Raises ValueError where parts of a file stand for more than it can hold.

    Offsets may point to one part again and again: a small file, unpacked, has no end.
    """
    model = schema().Model.GetRootAs(data, 0)
    lengths = [
        model.SubgraphsLength(),
        model.BuffersLength(),
        model.OperatorCodesLength(),
        model.MetadataLength(),
        model.MetadataBufferLength(),
        model.SignatureDefsLength(),
    ]
    _check_total(sum(lengths), data)
    numbers = 0
    for index in range(lengths[0]):
        graph = model.Subgraphs(index)
        lengths += [graph.TensorsLength(), graph.OperatorsLength()]
        _check_total(sum(lengths), data)
        numbers += graph.InputsLength() + graph.OutputsLength()
        for number in range(graph.OperatorsLength()):
            operator = graph.Operators(number)
            numbers += operator.InputsLength() + operator.OutputsLength()
        for number in range(graph.TensorsLength()):
            numbers += graph.Tensors(number).ShapeLength()
        _check_total(numbers // _MEAN_ENDS, data)
    for index in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(index)
        lengths += [signature.InputsLength(), signature.OutputsLength()]
        _check_total(sum(lengths), data)


def _check_total(count, data):
    if count > min(MAX_TABLES, len(data)):
        raise ValueError(f"it would have {count} parts")


def _fill_absent_lists(model):
    """Makes lists of what the flatbuffer may leave out."""
    if not model.subgraphs or not model.buffers or model.operatorCodes is None:
        raise ValueError("it has no graph")
    for subgraph in model.subgraphs:
        subgraph.tensors = subgraph.tensors or []
        subgraph.operators = subgraph.operators or []
        for holder in (subgraph, *subgraph.operators):
            for name in ("inputs", "outputs"):
                if getattr(holder, name) is None:
                    setattr(holder, name, np.zeros(0, np.int32))


def _has_external_parts(model):
    # An offset of 1 is a placeholder that converters write into whole files.
    return bool(model.externalBuffers) or any(
        operator.largeCustomOptionsOffset > 1
        for subgraph in model.subgraphs
        for operator in subgraph.operators
    )


def _take_in_buffers(model, data, path):
    """Makes arrays of the buffers behind the flatbuffer, as of those in it."""
    for buffer in model.buffers:
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(data):
                raise ModelFileError(
                    f"{str(path)!r} is truncated: {buffer.size} bytes of weights lie "
                    "beyond its end. Convert or copy it again."
                )
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0


def _buffer_bytes(model):
    return sum(len(b.data) for b in model.buffers if b.data is not None)


def _check_indices(model):
    """Raises ValueError where the parts of a model do not fit together."""
    for subgraph in model.subgraphs:
        num_tensors = len(subgraph.tensors)
        _check_range([t.buffer for t in subgraph.tensors], len(model.buffers))
        codes = [operator.opcodeIndex for operator in subgraph.operators]
        _check_range(codes, len(model.operatorCodes))
        for holder in (subgraph, *subgraph.operators):
            ends = [*holder.inputs.tolist(), *holder.outputs.tolist()]
            # -1 is an optional input that is left out.
            _check_range([end for end in ends if end != -1], num_tensors)
    if not model.externalBuffers:
        check_tensors_are_made(model)


def _check_range(indices, size):
    if any(not 0 <= index < size for index in indices):
        raise ValueError("an index leaves its list")
