"""The weights that lie in a model file: read from the file, not from what made it.

Weights are constants of a floating-point type or of at most 8 bits; shapes, axes and
other integers are none, nor are the scales and zero points of quantized weights. List
the dense file: in a coded one the weights are packed, and the coding table of the
manifest says what they hold. That table alone knows how few numbers made a weight of
block scales: the dense file has thousands of values.
"""

import dataclasses
import io
import math
import pathlib
import zipfile

import numpy as np

from tfcompress.compression_report import count_distinct
from tfcompress.errors import ModelFileError, require
from tfcompress.formats import format_named
from tfcompress.formats.quantized_constants import (
    find_onnx_quantizations,
    find_openvino_quantizations,
    tflite_parameter_tensors,
    tflite_quantization,
)

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

_OPTIMIZER = "optimizer/"  # Keras saves its state beside the weights

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
    return tuple(
        _describe(name, shape, dtype, data, quantization)
        for name, shape, dtype, data, quantization in _read(format, folder, files)
    )


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
    for name, shape, dtype, data, _ in _read(format, folder, files):
        if math.prod(shape) in sizes and name not in arrays:
            arrays[name] = _to_array(shape, dtype, data)
    return arrays


def _read(format, folder, files):
    """Yields name, shape, dtype, packed data and quantization of each weight."""
    format = format_named(format)
    main = format.main_file(files)
    if main is None:
        raise ModelFileError(
            f"A model of format {format.name!r} has one {format.suffix} file, got "
            f"{sorted(files)}."
        )
    for weight in format.read_weights(pathlib.Path(folder, main)):
        if weight[2] in _BITS:
            yield weight


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


def _describe(name, shape, dtype, data, quantization):
    """Counts what there is in `data`, a uint8 array of the packed elements.

    Of integers `quantization` may be their `Quantization`, else it is None.
    """
    shape = tuple(int(size) for size in shape)
    num_weights = math.prod(shape)
    bits = _BITS[dtype]
    elements = _elements(dtype, data, num_weights)
    size_bytes, mask = len(data), (1 << bits) - 1
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
        name=name,
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


def _to_array(shape, dtype, data):
    """Returns the elements as numpy has them."""
    shape = tuple(int(size) for size in shape)
    elements = _elements(dtype, data, math.prod(shape))
    if dtype == "bfloat16":
        elements = (elements.astype(np.uint32) << 16).view(np.float32)
    elif dtype == "int4":
        elements = (elements ^ 8).astype(np.int8) - np.int8(8)  # extends the sign
    elif dtype not in ("uint4", "nf4"):
        elements = elements.view(dtype)
    return elements.reshape(shape)


def _to_bytes(array):
    """Returns the elements of an array as a uint8 array, in the order of C."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def read_tflite(path):
    schema = require("ai_edge_litert.schema_py_generated", extra="tflite")
    content = path.read_bytes()
    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise ModelFileError(f"{str(path)!r} is no TFLite file.")
    types = {
        value: name.lower()
        for name, value in vars(schema.TensorType).items()
        if isinstance(value, int)
    }
    model = schema.Model.GetRootAs(content, 0)
    listed = set()
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        parameters = tflite_parameter_tensors(schema, graph)
        for index in sorted(set(range(graph.TensorsLength())) - parameters):
            tensor = graph.Tensors(index)
            data = _tflite_data(path, content, model.Buffers(tensor.Buffer()))
            if len(data) and tensor.Buffer() not in listed:
                listed.add(tensor.Buffer())
                shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
                name = tensor.Name().decode("utf-8", "replace")
                quantization = tflite_quantization(tensor)
                yield name, shape, types[tensor.Type()], data, quantization


def _tflite_data(path, content, buffer):
    """Returns the bytes of a buffer, which may lie behind the flatbuffer."""
    begin, size = buffer.Offset(), buffer.Size()
    if not size:
        return buffer.DataAsNumpy() if buffer.DataLength() else ()
    if begin + size > len(content):
        raise ModelFileError(
            f"{str(path)!r} is truncated: a weight of {size} bytes lies beyond its end."
        )
    return np.frombuffer(content, np.uint8, size, begin)


def read_onnx(path):
    onnx = require("onnx", extra="coding")
    from google.protobuf.message import DecodeError

    try:
        # External data is read with its tensor, one at a time.
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelFileError(f"{str(path)!r} is no ONNX file.") from error
    constants = dict(_onnx_tensors(model.graph))

    def read(tensor):
        return onnx.numpy_helper.to_array(tensor, str(path.parent))

    quantizations, parameters = find_onnx_quantizations(
        list(_onnx_nodes(model.graph)), constants, read
    )
    for name, tensor in _onnx_tensors(model.graph):
        dtype = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
        if dtype in _BITS and name not in parameters:
            data = _to_bytes(read(tensor))
            if _BITS[dtype] == 4:
                data = _pack_halves(data)
            yield name, tensor.dims, dtype, data, quantizations.get(name)


def _onnx_tensors(graph):
    """Yields the constants of a graph and of the graphs inside its nodes, named."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield node.output[0], attribute.t
            for inner in (attribute.g, *attribute.graphs):
                yield from _onnx_tensors(inner)


def _onnx_nodes(graph):
    """Yields the nodes of a graph and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _onnx_nodes(inner)


def _pack_halves(data):
    """Packs 4-bit elements, each in a byte, two to the byte."""
    padded = np.append(data & 15, np.zeros(len(data) % 2, np.uint8))
    return padded[0::2] | padded[1::2] << 4


def read_openvino(path):
    openvino = require("openvino", extra="openvino")
    names = {
        "f64": "float64",
        "f32": "float32",
        "f16": "float16",
        "bf16": "bfloat16",
        "i8": "int8",
        "u8": "uint8",
        "i4": "int4",
        "u4": "uint4",
        "nf4": "nf4",
    }
    try:
        model = openvino.Core().read_model(str(path), str(path.with_suffix(".bin")))
    except RuntimeError as error:
        raise ModelFileError(f"{str(path)!r} is no OpenVINO IR, or damaged.") from error
    quantizations, parameters = find_openvino_quantizations(model)
    for node in model.get_ordered_ops():
        name = node.get_friendly_name()
        if node.get_type_name() == "Constant" and name not in parameters:
            dtype = names.get(node.get_element_type().get_type_name(), "other")
            data = _to_bytes(node.data)
            yield name, node.shape, dtype, data, quantizations.get(name)


def read_keras(path):
    h5py = require("h5py", extra="compress")
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read("model.weights.h5")
        file = h5py.File(io.BytesIO(content), "r")
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ModelFileError(f"{str(path)!r} is no .keras file, or damaged.") from error
    names = []
    with file:
        file.visit(names.append)
        for name in names:
            if isinstance(file[name], h5py.Dataset) and not name.startswith(_OPTIMIZER):
                array = file[name][()]
                yield name, array.shape, array.dtype.name, _to_bytes(array), None
