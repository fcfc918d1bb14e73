"""Reads the weights that an .onnx file keeps in other files beside it."""

import math

from tfcompress.errors import ModelFileError, require
from tfcompress.foreign import foreign_errors
from tfcompress.limits import shown

# Bits of an element of the types that may lie in other files.
_BITS = {
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("DOUBLE", "INT64", "UINT64", "COMPLEX64"), 64),
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "INT16", "UINT16"), 16),
    **dict.fromkeys(("INT8", "UINT8", "BOOL"), 8),
    **dict.fromkeys(("INT4", "UINT4"), 4),
    "COMPLEX128": 128,
}


def is_external(tensor):
    """Returns whether the values of a TensorProto lie in another file."""
    helper = require("onnx", extra="coding").external_data_helper
    return helper.uses_external_data(tensor)


def load_external(tensor, path):
    """Moves a weight from another file into its TensorProto.

    Args:
        tensor: the TensorProto.
        path: `pathlib.Path` of the model's file.
    Returns:
        The name of the file that it was in, relative to the model's folder.
    Raises:
        ModelFileError: if it is not there, or not whole.
    """
    helper = require("onnx", extra="coding").external_data_helper
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")

    def unreadable(reason):
        return ModelFileError(
            f"{str(path)!r} keeps the weight {shown(tensor.name)} in "
            f"{shown(location)}, and it cannot be read there: {reason}. Put that "
            "file, whole, beside the model."
        )

    try:
        with foreign_errors(unreadable):
            _check_place(tensor, entries, path.parent / location)
            helper.load_external_data_for_tensor(tensor, str(path.parent))
    except OSError as error:
        raise unreadable(error.strerror) from error
    return location


def _check_place(tensor, entries, path):
    """Raises ValueError where a weight is not within its file."""
    onnx = require("onnx", extra="coding")
    if min(tensor.dims, default=1) < 0:
        raise ValueError("a size is negative")
    offset = int(entries.get("offset", 0))
    size = path.stat().st_size
    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    bits = _BITS.get(names.get(tensor.data_type))
    wanted = int(entries.get("length", 0))
    if bits is not None:
        wanted = -(-math.prod(tensor.dims) * bits // 8)
    if offset < 0 or offset + wanted > size:
        raise ValueError(f"it needs {wanted} bytes from {offset} on, of {size}")
    if int(entries.get("length", wanted)) != wanted:
        raise ValueError(
            f"it has {int(entries['length'])} bytes where its shape needs {wanted}"
        )
