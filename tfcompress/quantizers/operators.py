"""What a quantized file computes in integers, and what fell back to float.

A .tflite file states the types of its operators. What ONNX Runtime and OpenVINO make of
a file is known when they have loaded it, and may differ on another CPU: there, it is
the runtime's own optimized graph that is read.

Operators that compute nothing (reshapes, casts, shapes, pieces of other tensors) are
not listed.
"""

import collections
import dataclasses
import os
import pathlib
import re

from tfcompress.atomic import temporary_folder
from tfcompress.errors import ModelFileError, require
from tfcompress.formats import FORMATS, format_of_suffix, openvino_file
from tfcompress.formats.onnx_file import constants, parse_model, scopes
from tfcompress.formats.tflite_graphs import TfliteGraphs
from tfcompress.quantizers.onnx_blocks import INTEGER_ACTIVATIONS

_TFLITE_INTEGERS = {"INT8", "UINT8", "INT4", "INT2", "INT16"}
_TFLITE_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
_TFLITE_MOVES = {
    *("BROADCAST_TO", "CALL_ONCE", "CAST", "CONCATENATION", "EXPAND_DIMS", "PACK"),
    *("RESHAPE", "SHAPE", "SLICE", "SPLIT", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"),
    *("ASSIGN_VARIABLE", "READ_VARIABLE", "UNPACK", "VAR_HANDLE"),
    *("IF", "WHILE"),  # what they run is listed
}
_ONNX_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
# Names of ONNX Runtime's integer operators, such as QGemm and DynamicQuantizeMatMul.
_ONNX_INTEGER = re.compile(r".*Integer.*|Q[A-Z].*|DynamicQuantize.+")
_ONNX_MOVES = {
    *("Cast", "Concat", "Constant", "Expand", "Identity", "Range", "Reshape", "Shape"),
    *("Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
}
_ONNX_BODIES = ("If", "Loop", "Scan")  # what is in them is listed
_OPENVINO_CONVERSIONS = ("FakeQuantize",)
_OPENVINO_MOVES = {
    *("Broadcast", "Concatenation", "Const", "Convert", "Input", "Output", "Range"),
    *("Reorder", "Reshape", "ShapeOf", "Split", "StridedSlice", "Transpose"),
}
_OPENVINO_INTEGERS = {"i8", "u8", "i4", "u4"}
_OPENVINO_PAIRS = (["i8"], ["u8"])


@dataclasses.dataclass(frozen=True)
class QuantizedOperators:
    """Counts of operators by what they compute in.

    Attributes:
        integer: name of the operator -> how many multiply, add or look up integers.
        floating: the same of those that compute in floating point.
        conversions: the same of those that turn one into the other.
    """

    integer: dict[str, int]
    floating: dict[str, int]
    conversions: dict[str, int]

    def to_json(self) -> dict:
        """Returns the counts as a dict of dicts."""
        return dataclasses.asdict(self)


def quantized_operators(path: str | os.PathLike) -> "QuantizedOperators":
    """Lists what a model file computes in integers.

    Args:
        path: path of a .tflite, .onnx or .xml file, quantized or not.
    Returns:
        `QuantizedOperators`; names as the format or its runtime calls them, sorted.
    Raises:
        ModelFileError: if there is no such file, or it is of another format.
        MissingDependencyError: if the format's runtime is not installed.
    """
    path = pathlib.Path(path)
    format = format_of_suffix(path.suffix)
    if format is None or format.read_operators is None or not path.is_file():
        suffixes = [each.suffix for each in FORMATS.values() if each.read_operators]
        raise ModelFileError(
            f"There is no {', '.join(suffixes)} file {str(path)!r} to list the "
            "operators of."
        )
    counts = collections.defaultdict(collections.Counter)
    for kind, name in format.read_operators(path):
        counts[kind][name] += 1
    kinds = ("integer", "floating", "conversions")
    return QuantizedOperators(*(dict(sorted(counts[kind].items())) for kind in kinds))


def read_tflite(path):
    """Yields (kind, name) of the operators, those in loops and branches included."""
    graph = TfliteGraphs(path)
    for index in range(graph.num_graphs):
        for name, operator in graph.operators(index):
            inputs, outputs = (
                {graph.dtype(int(end), index) for end in ends if end >= 0}
                for ends in (operator.inputs, operator.outputs)
            )
            if name in _TFLITE_CONVERSIONS:
                yield "conversions", name
            elif name in _TFLITE_MOVES:
                continue
            elif inputs & _TFLITE_INTEGERS:
                yield "integer", name
            elif "FLOAT32" in outputs:
                yield "floating", name


def read_onnx(path):
    """Yields (kind, name) of the operators that ONNX Runtime runs."""
    onnx = require("onnx", extra="coding")
    onnxruntime = require("onnxruntime", extra="onnx")
    with temporary_folder() as folder:
        optimized = folder / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3  # a warning that the file is for this machine
        providers = ["CPUExecutionProvider"]
        onnxruntime.InferenceSession(str(path), options, providers=providers)
        graphs = list(scopes(parse_model(optimized)))
    types = onnx.TensorProto
    integers = (types.INT8, types.UINT8, types.INT4, types.UINT4)
    are_integers = {
        name: tensor.data_type in integers
        for graph in graphs
        for name, tensor in constants(graph)
    }
    for node in (node for graph in graphs for node in graph.body.node):
        name = node.op_type
        if name in _ONNX_CONVERSIONS:
            yield "conversions", name
        elif name in _ONNX_MOVES or name in _ONNX_BODIES:
            continue
        elif name == "Gather":
            if node.input[0] in are_integers:
                yield "integer" if are_integers[node.input[0]] else "floating", name
        else:
            is_integer = _ONNX_INTEGER.fullmatch(name) or any(
                each.name == "accuracy_level" and each.i == INTEGER_ACTIVATIONS
                for each in node.attribute
            )
            yield "integer" if is_integer else "floating", name


def read_openvino(path):
    """Yields (kind, name) of the kernels that OpenVINO's CPU plugin runs."""
    openvino = require("openvino", extra="openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino_file.read_model(path)
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    # Rows of activations become int8 where they meet integer weights, unless it is 0.
    is_dynamic = int(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")) > 0
    for node in compiled.get_runtime_model().get_ordered_ops():
        name = node.get_rt_info()["layerType"].astype(str)
        types = [port.get_element_type().get_type_name() for port in node.inputs()]
        is_integer = bool(types) and types[0] in _OPENVINO_INTEGERS
        if name == "FullyConnected" and types[1] in _OPENVINO_INTEGERS:
            is_integer = is_integer or is_dynamic
        if name in _OPENVINO_CONVERSIONS:
            yield "conversions", name
        elif name in _OPENVINO_MOVES or not types or types[0] in ("i32", "i64"):
            continue
        elif name == "Eltwise" and is_integer and types[1:2] not in _OPENVINO_PAIRS:
            continue  # what makes a mask of booleans float
        else:
            yield "integer" if is_integer else "floating", name
