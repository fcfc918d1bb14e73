"""The weights that lie in a model file: read from the file, not from what made it.

Weights are constants of a floating-point type or of at most 8 bits; shapes, axes and
other integers are none, nor are the scales and zero points of quantized weights. List
the dense file: in a coded one the weights are packed, and the coding table of the
manifest says what they hold. That table alone knows how few numbers made a weight of
block scales: the dense file has thousands of values.
"""

import dataclasses
import math
import pathlib

import numpy as np

from tfcompress.compression_report import count_distinct
from tfcompress.errors import ModelFileError
from tfcompress.formats import format_named

_BITS = {
    "float64": 64,
    "float32": 32,
    "float16": 16,
    "bfloat16": 16,
    "int8": 8,
    "uint8": 8,
    "int4": 4,
    "uint4": 4,
    "nf4": 4,
}
"""Name of a weight's type -> its bits."""

_NF4_ZERO = 7  # index of 0 among its 16 numbers (Dettmers et al., QLoRA, 2023)

MIN_WEIGHTS = 1024
"""Weights of the smallest tensor that `summarize_weights` looks for a codebook in: of
smaller ones, biases among them, a table would be no smaller than what it replaces."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedWeight:
    """One weight constant of a model file.

    Attributes:
        name: its name in the file.
        shape: its shape in the file.
        dtype: such as "float32", "bfloat16", "int4" or "nf4".
        num_weights: number of elements.
        num_nonzero: elements that are not zero; of integers, that are not the zero
            point, which stands for zero.
        num_distinct_values: distinct values, told apart by their bits, zero included;
            of integers whatever their scales.
        size_bytes: bytes of the elements, and of their scales and zero points.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    num_weights: int
    num_nonzero: int
    num_distinct_values: int
    size_bytes: int

    def to_json(self):
        """Returns the weight as a dict of JSON values."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value):
        """Makes a weight from what `to_json` returned."""
        return cls(**{**value, "shape": tuple(value["shape"])})


def list_weights(format, folder, files):
    """Lists the weights in a model file.

    Args:
        format: "tflite", "onnx", "openvino" or "keras".
        folder: the folder that the files lie in.
        files: names of the model's files.
    Returns:
        Tuple of `ExportedWeight`, in the order of the file; a constant that is used
        twice is listed once.
    Raises:
        InvalidValueError: if the format is not known.
        ModelFileError: if the file cannot be read as one of its format.
        MissingDependencyError: if the package that reads the format is not installed.
    """
    return tuple(_describe(constant) for constant in _read(format, folder, files))


def read_weights(format, folder, files, sizes):
    """Reads the weights in a model file that have one of some sizes.

    Args:
        format, folder, files: as of `list_weights`.
        sizes: set of numbers of elements.
    Returns:
        Dict of name -> array of the weight's shape; integers of 4 bits are int8 or
        uint8, as are the indices of nf4, and bfloat16 is float32. Of several of one
        name the first.
    Raises:
        As `list_weights`.
    """
    arrays = {}
    for constant in _read(format, folder, files):
        if math.prod(constant.shape) in sizes and constant.name not in arrays:
            arrays[constant.name] = _to_array(constant)
    return arrays


def _read(format, folder, files):
    """Yields the `Constant` of each weight."""
    format = format_named(format)
    main = format.main_file(files)
    if main is None:
        raise ModelFileError(
            f"A model of format {format.name!r} has one {format.suffix} file, got "
            f"{sorted(files)}."
        )
    for constant in format.read_constants(pathlib.Path(folder, main)):
        if constant.dtype in _BITS:
            yield constant


def summarize_weights(weights, coding_table=()):
    """Makes the part of a record's size section that is about weights.

    Args:
        weights: `ExportedWeight`s of the dense file.
        coding_table: rows of `CodedTensor.to_json()` for the coded file that was made
            of it; empty for the dense file itself.
    Returns:
        Dict with `num_weights`, `num_nonzero`, `max_distinct_values` (over the tensors
        of at least 1,024 weights, of block scales the entries of their codebook; None
        if there is none) and `bits_per_weight` (None if there are no weights).
    """
    coded_values = {row["name"]: row["num_values"] for row in coding_table}
    num_weights = sum(weight.num_weights for weight in weights)
    saved = sum(row["dense_bytes"] - row["coded_bytes"] for row in coding_table)
    num_bytes = sum(weight.size_bytes for weight in weights) - saved
    return {
        "num_weights": num_weights,
        "num_nonzero": sum(weight.num_nonzero for weight in weights),
        "max_distinct_values": max(
            (
                coded_values.get(weight.name) or weight.num_distinct_values
                for weight in weights
                if weight.num_weights >= MIN_WEIGHTS
            ),
            default=None,
        ),
        "bits_per_weight": 8 * num_bytes / num_weights if num_weights else None,
    }


def _describe(constant):
    """Counts what there is in a `Constant`."""
    dtype, quantization = constant.dtype, constant.quantization
    shape = tuple(int(size) for size in constant.shape)
    num_weights = math.prod(shape)
    bits = _BITS[dtype]
    elements = _elements(dtype, constant.data, num_weights)
    size_bytes, mask = len(constant.data), (1 << bits) - 1
    if "float" in dtype:
        # Minus zero is a value of its own, and is zero.
        is_nonzero = elements & elements.dtype.type(mask >> 1)
    elif dtype == "nf4":
        is_nonzero = elements != _NF4_ZERO
        size_bytes += 0 if quantization is None else quantization.size_bytes
    elif quantization is None:
        is_nonzero = elements
    else:
        points = (quantization.zero_point & mask).astype(elements.dtype)
        is_nonzero = elements.reshape(shape) != points
        size_bytes += quantization.size_bytes
    return ExportedWeight(
        name=constant.name,
        shape=shape,
        dtype=dtype,
        num_weights=num_weights,
        num_nonzero=int(np.count_nonzero(is_nonzero)),
        num_distinct_values=count_distinct(elements) if elements.size else 0,
        size_bytes=size_bytes,
    )


def _elements(dtype, data, num_weights):
    """Returns the bits of each element as an unsigned integer."""
    if _BITS[dtype] == 4:
        halves = np.stack([data & 15, data >> 4], axis=1).reshape(-1)
        return halves[:num_weights]  # the last half byte may be padding
    return np.frombuffer(data, f"<u{_BITS[dtype] // 8}")


def _to_array(constant):
    """Returns the elements as numpy has them."""
    dtype, shape = constant.dtype, tuple(int(size) for size in constant.shape)
    elements = _elements(dtype, constant.data, math.prod(shape))
    if dtype == "bfloat16":
        elements = (elements.astype(np.uint32) << 16).view(np.float32)
    elif dtype == "int4":
        elements = (elements ^ 8).astype(np.int8) - np.int8(8)  # extends the sign
    elif dtype not in ("uint4", "nf4"):
        elements = elements.view(dtype)
    return elements.reshape(shape)
