"""Activation ranges of a .tflite file, in the form that ai-edge-quantizer takes.

Its own calibration copies every tensor of every example and averages their ranges; this
one reads those that are asked for.
"""

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.tflite_graph import TfliteGraph


def measure_ranges(path, calibration, *, dense_only):
    """Runs a file on the calibration data.

    Args:
        path: `pathlib.Path` of the dense file.
        calibration: `CalibrationData`.
        dense_only: whether the ranges of dense layers' inputs and outputs are enough.
    Returns:
        Dict of tensor name to `{"min": array, "max": array}`.
    Raises:
        InvalidValueError: if an activation is not finite.
    """
    graph = TfliteGraph(path)
    if dense_only:
        wanted = {end for layer in graph.dense_layers() for end in layer.ends}
    else:
        wanted = graph.computed_tensors()
    ranges = calibration.ranges()
    run = _make_run(path)
    for batch in calibration.batches():
        interpreter = run(batch)
        for index in wanted:
            ranges.add(graph.name(index), interpreter.get_tensor(index))
    found = {}
    for name in map(graph.name, wanted):
        least, greatest = ranges[name]
        found[name] = {"min": np.array([least]), "max": np.array([greatest])}
    return found


def _make_run(path):
    """Returns a function: dict of arrays -> interpreter that has run on them."""
    litert = require("ai_edge_litert.interpreter", extra="tflite")
    interpreter = litert.Interpreter(
        str(path),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=(
            litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    indices = _input_indices(interpreter)

    def run(arrays):
        for name, array in arrays.items():
            interpreter.resize_tensor_input(indices[name], array.shape)
        interpreter.allocate_tensors()
        for name, array in arrays.items():
            interpreter.set_tensor(indices[name], array)
        interpreter.invoke()
        return interpreter

    return run


def _input_indices(interpreter):
    """Returns dict of input name to tensor index, as `load_session` names them."""
    for key in interpreter.get_signature_list():
        details = interpreter.get_signature_runner(key).get_input_details()
        return {name: detail["index"] for name, detail in details.items()}
    return {d["name"]: d["index"] for d in interpreter.get_input_details()}
