"""Checks a coded IR: reads it, decodes every tensor on the CPU, compares the bits."""

import hashlib

from tfcompress.errors import ModelFileError, require
from tfcompress.formats import openvino_file


def check_coded_model(source, target, expected):
    """Checks an IR that was just written.

    Args:
        source: `pathlib.Path` of the dense .xml file, for the message.
        target: `pathlib.Path` of the coded one; removed if it is wrong.
        expected: list of `driver.Expected`.
    Raises:
        ModelFileError: if a tensor decodes to other bits.
    """
    model = openvino_file.read_model(target)
    nodes = [
        {node.get_friendly_name(): node for node in graph.get_ordered_ops()}
        for graph in openvino_file.graphs(model)
    ]
    core = require("openvino", extra="coding").Core()
    for tensor in expected:
        node = nodes[tensor.graph_index][tensor.name]
        if _sha256_of_run(core, node, tensor) != tensor.sha256:
            openvino_file.remove_model(target)
            raise ModelFileError(
                f"{str(source)!r} cannot be coded: the coded file does not decode "
                f"{tensor.name!r} to the same bits. Nothing was written; keep the "
                "dense file and report this."
            )


def _sha256_of_run(core, node, tensor):
    """Runs a decoder and returns the hash of what it gives; None if that is no tensor
    of the right type and shape."""
    openvino = require("openvino", extra="coding")
    ops = require("openvino.opset8", extra="coding")
    decoder = openvino.Model([ops.result(node)], [], "decoder")
    compiled = core.compile_model(decoder, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    request.infer()
    value = request.get_output_tensor(0)
    if value.element_type.get_type_name() != tensor.element_type:
        return None
    if tuple(value.shape) != tensor.shape:
        return None
    return hashlib.sha256(value.data).hexdigest()
