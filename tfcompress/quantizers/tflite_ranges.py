"""Activation ranges of a .tflite file, in the form that ai-edge-quantizer takes.

Its own calibration copies every tensor of every example and averages their ranges; this
one reads those that are asked for.
"""

import numpy as np

from tfcompress.errors import require


def measure_ranges(content, graph, wanted, calibration):
    """Runs a file on the calibration data.

    Args:
        content: bytes of the dense file.
        graph: `TfliteGraph` of it.
        wanted: indices of the main graph's tensors whose ranges are asked for.
        calibration: `CalibrationData`.
    Returns:
        Dict of tensor name to `{"min": array, "max": array}`.
    Raises:
        InvalidValueError: if an activation is not finite.
        RuntimeError, ValueError: if LiteRT cannot run it.
    """
    ranges = calibration.ranges()
    run, batch_size = _make_run(content)
    for batch in calibration.batches(batch_size, whole=batch_size is not None):
        interpreter = run(batch)
        for index in wanted:
            values = interpreter.get_tensor(index)
            if values.size:
                ranges.add(graph.name(index), values)
    found = {}
    for name in map(graph.name, wanted):
        least, greatest = ranges[name]
        found[name] = {"min": np.array([least]), "max": np.array([greatest])}
    return found


def _make_run(content):
    """Opens a file to run it on arrays by name.

    Returns:
        Function (dict of arrays -> interpreter that has run on them), and the number of
        examples that the model takes, None where it takes any.
    """
    litert = require("ai_edge_litert.interpreter", extra="tflite")
    interpreter = litert.Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=(
            litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    indices = _input_indices(interpreter)
    sizes = [detail["shape_signature"][0] for detail in interpreter.get_input_details()]
    fixed = [int(size) for size in sizes if size > 0]

    def run(arrays):
        for name, array in arrays.items():
            interpreter.resize_tensor_input(indices[name], array.shape)
        interpreter.allocate_tensors()
        for name, array in arrays.items():
            interpreter.set_tensor(indices[name], array)
        interpreter.invoke()
        return interpreter

    return run, fixed[0] if fixed else None


def _input_indices(interpreter):
    """Returns dict of input name to tensor index, as `load_session` names them."""
    indices = {d["index"]: d["name"] for d in interpreter.get_input_details()}
    outputs = {d["index"] for d in interpreter.get_output_details()}
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        named = {n: d["index"] for n, d in runner.get_input_details().items()}
        ends = {d["index"] for d in runner.get_output_details().values()}
        if set(named.values()) == set(indices) and ends == outputs:
            return named
    return {name: index for index, name in indices.items()}
