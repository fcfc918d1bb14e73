"""Checks a coded ONNX file: reads it, decodes every tensor, compares the bits.

Each decoder is cut out of the written file, as a model of its own, and run by ONNX
Runtime, the operators one by one as they stand.
"""

import ctypes
import hashlib

from tfcompress.errors import ModelFileError, require
from tfcompress.formats import onnx_file


def check_coded_model(source, target, expected):
    """Checks a file that was just written.

    Args:
        source: `pathlib.Path` of the dense file.
        target: `pathlib.Path` of the coded one; removed if it is wrong.
        expected: list of `driver.Expected`.
    Raises:
        ModelFileError: if a tensor decodes to other bits, or if ONNX's own checker
            has something against the file and had nothing against the source.
    """
    model, external_names = onnx_file.read_model(target)
    fault = _wrong_tensor(model, expected) or _new_complaint(source, target)
    if fault is not None:
        onnx_file.remove_model(target, external_names)
        raise ModelFileError(
            f"{str(source)!r} cannot be coded: the coded file {fault}. Nothing was "
            "written; keep the dense file and report this."
        )


def _wrong_tensor(model, expected):
    scopes = list(onnx_file.scopes(model))
    made = {scope: _made_in(scope) for scope in scopes}
    for tensor in expected:
        scope = scopes[tensor.graph_index]
        decoder = _decoder_model(model, scope, made, tensor)
        if _sha256_of_run(decoder, tensor) != tensor.sha256:
            return f"does not decode {tensor.name!r} to the same bits"
    return None


def _new_complaint(source, target):
    complaint = onnx_file.complaint(target)
    if complaint is None or onnx_file.complaint(source) is not None:
        return None
    return f"is no valid ONNX: {complaint}"


def _made_in(scope):
    """Maps each name that a scope makes to what makes it: a node or a tensor."""
    made = {tensor.name: tensor for tensor in scope.initializers}
    for node in scope.body.node:
        made.update(dict.fromkeys(node.output, node))
    return made


def _decoder_model(model, scope, made, tensor):
    """Cuts out the part of a model that makes one constant, as a model of its own."""
    onnx = require("onnx", extra="coding")
    helper = onnx.helper
    parts = {}
    _collect(tensor.name, scope, made, parts)
    graph = helper.make_graph(
        [part for part in parts.values() if isinstance(part, onnx.NodeProto)],
        "decoder",
        [],
        [helper.make_tensor_value_info(tensor.name, tensor.element_type, tensor.shape)],
        [part for part in parts.values() if isinstance(part, onnx.TensorProto)],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", scope.opset)],
        ir_version=model.ir_version,
    )


def _collect(name, scope, made, parts):
    """Puts into `parts` what makes `name`, in the order in which it has to run."""
    if name in parts:
        return
    while name not in made[scope]:
        scope = scope.parent
    part = made[scope][name]
    for input_name in getattr(part, "input", ()):
        _collect(input_name, scope, made, parts)
    parts[name] = part


def _sha256_of_run(decoder, tensor):
    """Runs a decoder and returns the hash of what it gives; None if that is no tensor
    of the right type and shape."""
    onnxruntime = require("onnxruntime", extra="coding")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )
    session = onnxruntime.InferenceSession(
        decoder.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (value,) = session.run_with_ort_values(None, {})
    if (value.element_type(), tuple(value.shape())) != (
        tensor.element_type,
        tensor.shape,
    ):
        return None
    # bfloat16 has no numpy dtype that ONNX Runtime knows: read the memory.
    data = (ctypes.c_char * value.tensor_size_in_bytes()).from_address(value.data_ptr())
    return hashlib.sha256(data).hexdigest()
