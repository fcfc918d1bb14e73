"""Reads and writes OpenVINO IR: an .xml file, the graph, and a .bin file, the weights.

Source: the IR of version 11, which OpenVINO writes since 2022.
"""

import re
import shutil
import xml.etree.ElementTree

from tfcompress.errors import ModelFileError, require
from tfcompress.formats.constants import Constant, to_bytes
from tfcompress.formats.quantized_constants import find_openvino_quantizations

# A graph of 100,000 operators; as a tree it takes 2 GB.
_MAX_XML_BYTES = 128 * 2**20
# OpenVINO's name of a type -> numpy's, or ours where it has none.
DTYPES = {
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
_IR_VERSION = "11"
_MARK = ["tfcompress", "coding"]
_MARK_VERSION = "1"
_BETWEEN_ELEMENTS = re.compile(r">\s+<")


def weights_path(path):
    """Returns the path of the .bin file that belongs to an .xml file."""
    return path.with_suffix(".bin")


def read_model(path):
    """Reads an IR.

    Args:
        path: `pathlib.Path` of the .xml file; the .bin file is beside it.
    Returns:
        `openvino.Model`, whose constants are views of the .bin file.
    Raises:
        ModelFileError: if the files are no whole IR of version 11.
        OSError: if they cannot be read.
    """
    openvino = require("openvino", extra="openvino")
    # OpenVINO maps the weights into memory and may find out late what is missing.
    _check_files(path)
    try:
        return openvino.Core().read_model(path, weights_path(path))
    except RuntimeError as error:
        line = str(error).strip().rpartition("\n")[2]
        raise ModelFileError(
            f"{str(path)!r} cannot be read by OpenVINO {openvino.__version__}: "
            f"{line} Convert the model again, or use the version that made it."
        ) from error


def write_model(model, path):
    """Writes an `openvino.Model` to `path` and the .bin file beside it.

    The .xml is written without the white space between its elements, a sixth of it.

    Raises:
        OSError: if they cannot be written.
    """
    openvino = require("openvino", extra="openvino")
    try:
        # Otherwise what is dense would become float16.
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        line = str(error).strip().rpartition("\n")[2]
        raise OSError(
            f"OpenVINO cannot write {path.name!r}: {line} Is the disk full?"
        ) from error
    # In attributes "<" is escaped, and elements of an IR hold no text.
    path.write_text(_BETWEEN_ELEMENTS.sub("><", path.read_text("utf-8")), "utf-8")


def copy_model(source, target):
    """Copies both files as they are; a model without weights may lack the second."""
    shutil.copyfile(source, target)
    if weights_path(source).exists():
        shutil.copyfile(weights_path(source), weights_path(target))


def remove_model(path):
    """Removes both files."""
    path.unlink()
    weights_path(path).unlink(missing_ok=True)


def num_bytes(path):
    """Returns the bytes of both files together."""
    weights = weights_path(path)
    return path.stat().st_size + (weights.stat().st_size if weights.exists() else 0)


def graphs(model):
    """Yields a model and the bodies of its control flow operators, outer ones first."""
    yield model
    for node in model.get_ordered_ops():
        if node.get_type_name() == "If":
            yield from graphs(node.get_then_body())
            yield from graphs(node.get_else_body())
        elif node.get_type_name() in ("Loop", "TensorIterator"):
            yield from graphs(node.get_function())


def weight_constants(graph):
    """Yields the constants of a graph whose elements are of a type for weights: numbers
    of 2 to 8 bytes with a fraction, or integers of one byte."""
    types = require("openvino", extra="openvino").Type
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_output_element_type(0) in (
            types.f32,
            types.f16,
            types.bf16,
            types.f64,
            types.i8,
            types.u8,
        ):
            yield node


def read_constants(path):
    """Yields a `Constant` of each constant of an IR but scales and zero points, also of
    the bodies of its control flow operators.

    Args:
        path: `pathlib.Path` of the .xml file.
    """
    for graph in graphs(read_model(path)):
        quantizations, parameters = find_openvino_quantizations(graph)
        for node in graph.get_ordered_ops():
            name = node.get_friendly_name()
            if node.get_type_name() == "Constant" and name not in parameters:
                yield Constant(
                    name=name,
                    shape=tuple(node.shape),
                    dtype=DTYPES.get(node.get_element_type().get_type_name(), "other"),
                    data=to_bytes(node.data),
                    quantization=quantizations.get(name),
                )


def mark_as_coded(model):
    """Adds the entry that `is_coded` finds."""
    model.set_rt_info(_MARK_VERSION, _MARK)


def is_coded(model):
    """Returns True if `mark_as_coded` was here."""
    return model.has_rt_info(_MARK)


def _check_files(path):
    """Raises ModelFileError if the .xml is no IR or the .bin has not all weights."""
    wanted = _wanted_weight_bytes(path)
    weights = weights_path(path)
    if wanted and not weights.exists():
        raise ModelFileError(
            f"{str(path)!r} has its weights in {weights.name!r}, which is not there. "
            "Put it beside the model."
        )
    actual = weights.stat().st_size if wanted else 0
    if actual < wanted:
        raise ModelFileError(
            f"{str(weights)!r} has {actual} bytes, and {path.name!r} needs {wanted}: "
            "it is truncated, or of another model. Copy both files again."
        )


def _wanted_weight_bytes(path):
    """Returns the end of the last constant in the .bin file."""
    if (size := path.stat().st_size) > _MAX_XML_BYTES:
        raise ModelFileError(
            f"{str(path)!r} has {size:,} bytes, and at most {_MAX_XML_BYTES:,} are "
            "read: it is no graph, whose weights lie in the .bin file."
        )
    try:
        version, end = _version_and_end(path)
    except (xml.etree.ElementTree.ParseError, ValueError) as error:
        raise ModelFileError(
            f"{str(path)!r} is not an OpenVINO IR, or is truncated. Give the .xml file "
            "that OpenVINO wrote."
        ) from error
    if version != _IR_VERSION:
        raise ModelFileError(
            f"{str(path)!r} is an IR of version {version!r}, and only {_IR_VERSION!r} "
            "can be coded. Convert the model again."
        )
    return end


def _version_and_end(path):
    """Returns (version of an IR, end of its last constant); raises ValueError if it is
    none."""
    end = 0
    with path.open("rb") as file:
        events = xml.etree.ElementTree.iterparse(file, ("start", "end"))
        _, root = next(events)
        if root.tag != "net":
            raise ValueError(f"its root is {root.tag!r}")
        for event, element in events:
            if event == "end" and element.get("type") == "Const":
                data = element.find("data")
                if data is None:
                    raise ValueError("a constant has no place")
                end = max(end, int(data.get("offset", 0)) + int(data.get("size", 0)))
    return root.get("version"), end
