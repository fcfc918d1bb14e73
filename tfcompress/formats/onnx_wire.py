"""Finds the other files that an .onnx file reads, without the package `onnx`.

A device that runs an artifact has ONNX Runtime alone. So the fields of the message that
can hold a tensor are walked as protobuf writes them, and the tensors' data is skipped.

Source: onnx.proto of IR version 3 to 14; protobuf's encoding guide (tags and varints).
"""

import mmap

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_MAX_DEPTH = 100  # protobuf's own
_EXTERNAL = "external"
# Message -> number of a field -> the message in it. Of others nothing is asked.
_FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: _EXTERNAL},
}
_KEY, _VALUE = 1, 2


def external_locations(path):
    """Returns the names of the files that tensors of an ONNX model lie in.

    Args:
        path: `pathlib.Path` of the .onnx file.
    Returns:
        Set of bytes, as they stand in the file: paths relative to its folder.
    Raises:
        ValueError: if the file is no whole protobuf message.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return set(_walk(data, 0, len(data), "model", 0))


def _walk(data, start, end, message, depth):
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")
    for number, first, last in _fields(data, start, end):
        inner = _FIELDS[message].get(number)
        if inner == _EXTERNAL:
            entry = {n: data[a:b] for n, a, b in _fields(data, first, last)}
            if entry.get(_KEY) == b"location":
                yield entry.get(_VALUE, b"")
        elif inner is not None:
            yield from _walk(data, first, last, inner, depth + 1)


def _fields(data, position, end):
    """Yields (number, start, end) of the fields that have a length."""
    while position < end:
        tag, position = _varint(data, position, end)
        kind = tag & 7
        if kind == _VARINT:
            _, position = _varint(data, position, end)
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        elif kind == _BYTES:
            size, start = _varint(data, position, end)
            position = start + size
            if position <= end:
                yield tag >> 3, start, position
        else:
            raise ValueError(f"it has a field of the unknown kind {kind}")
        if position > end:
            raise ValueError("a field reaches beyond its end")


def _varint(data, position, end):
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= end:
            break
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("a number in it has no end")
