"""Reads .onnx files to quantize, and writes quantized ones."""

import re

from tfcompress.errors import ModelFileError, UnsupportedModelError, require

# A protobuf message cannot be larger. Some room is left for the nodes.
_MAX_FILE_BYTES = 2**31 - 2**26

# Of files that others have quantized already.
_QUANTIZED = re.compile(
    r"(Dynamic)?QuantizeLinear|DequantizeLinear|QLinear\w+|Q(Gemm|Attention|MoE)"
    r"|\w*Integer(ToFloat)?|DynamicQuantize\w+|MatMulNBits|MatMulBnb4"
    r"|GatherBlockQuantized|\w*FpQ4"
)


def read_model(path):
    """Reads an .onnx file with the weights that it keeps in other files.

    Functions of the model's own are written out where they are called, so that their
    weights are weights of the graph.

    Args:
        path: `pathlib.Path` of the file.
    Returns:
        `onnx.ModelProto`.
    Raises:
        ModelFileError: if the file is no whole ONNX model, or weights are not beside
            it.
        UnsupportedModelError: if it is quantized already.
    """
    onnx = require("onnx", extra="quantizers")
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model(path)
    except DecodeError as error:
        raise ModelFileError(
            f"{str(path)!r} is not an ONNX model, or is truncated. Export or copy the "
            "model again."
        ) from error
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelFileError(
            f"{str(path)!r} keeps weights in other files, and they cannot be read: "
            f"{reason}. Put these files, whole, beside the model."
        ) from error
    if not model.graph.output or not model.opset_import:
        raise ModelFileError(
            f"{str(path)!r} is not a whole ONNX model: it lacks outputs or an opset. "
            "Export or copy the model again."
        )
    _refuse_quantized(model, path)
    if model.functions:
        inliner = require("onnx.inliner", extra="quantizers")
        model = inliner.inline_local_functions(model)
    return model


def write_model(model, path):
    """Writes a ModelProto: one file, or two where it is too large for one.

    Args:
        model: the ModelProto.
        path: `pathlib.Path` to write; weights that do not fit in 2 GB go to `<its
            name>.data` beside it.
    """
    onnx = require("onnx", extra="quantizers")
    if model.ByteSize() <= _MAX_FILE_BYTES:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # what is saved so comes back without its weights
    onnx.save_model(
        copy,
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{path.name}.data",
    )


def find_complaint(path):
    """Returns what ONNX's own checker has against a file; None if nothing."""
    onnx = require("onnx", extra="quantizers")
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        return str(error).strip().partition("\n")[0]
    return None


def _refuse_quantized(model, path):
    bodies = [model.graph, *model.functions]
    while bodies:
        for node in bodies.pop().node:
            if _QUANTIZED.fullmatch(node.op_type):
                raise UnsupportedModelError(
                    f"{str(path)!r} is quantized already: it holds the operator "
                    f"{node.op_type} ({node.name or node.output[0]!r}). Give the float "
                    "file that it was made from."
                )
            for attribute in node.attribute:
                bodies += (attribute.g, *attribute.graphs)
