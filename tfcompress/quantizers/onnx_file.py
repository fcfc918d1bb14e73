"""Reads .onnx files to quantize."""

import re

from tfcompress.errors import UnsupportedModelError, require
from tfcompress.formats import onnx_file

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
    model, _ = onnx_file.read_model(path)
    _refuse_quantized(model, path)
    if model.functions:
        inliner = require("onnx.inliner", extra="quantizers")
        model = inliner.inline_local_functions(model)
    return model


def _refuse_quantized(model, path):
    for node in (node for scope in onnx_file.scopes(model) for node in scope.body.node):
        if _QUANTIZED.fullmatch(node.op_type):
            raise UnsupportedModelError(
                f"{str(path)!r} is quantized already: it holds the operator "
                f"{node.op_type} ({node.name or node.output[0]!r}). Give the float "
                "file that it was made from."
            )
