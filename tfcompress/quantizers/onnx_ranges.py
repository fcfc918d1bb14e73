"""What is known of an ONNX model's activations: their ranges and numbers of axes."""

import numpy as np

from tfcompress.errors import ArtifactError, UnsupportedModelError, require
from tfcompress.formats.onnx_file import write_model
from tfcompress.runtime import load_session

_FILE = "with_activations.onnx"
_FREE_BATCH = 4

# ONNX's shape inference copies a model; it is not asked about larger ones.
_MAX_BYTES = 2**30


def measure_ranges(source, proto, names, calibration, folder):
    """Runs a model on examples and returns the ranges of activations.

    Args:
        source: `pathlib.Path` of the model's file, for messages.
        proto: its `onnx.ModelProto`; comes back as it was.
        names: names of float32 activations of the main graph.
        calibration: `CalibrationData`.
        folder: `pathlib.Path` of a folder for a temporary file.
    Returns:
        Dict of name -> (least, greatest), which enclose 0; activations that hold no
        numbers on any of the examples are not in it.
    Raises:
        UnsupportedModelError: if ONNX Runtime does not run the model.
        InvalidValueError: if an activation is not finite.
    """
    if not names:
        return {}
    onnx = require("onnx", extra="quantizers")
    outputs = proto.graph.output
    known, count = {value.name for value in outputs}, len(outputs)
    make = onnx.helper.make_empty_tensor_value_info
    outputs.extend(make(name) for name in names if name not in known)
    path = folder / _FILE
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)  # what is written may come back without its weights
    write_model(copy, path)
    del outputs[count:]
    try:
        return _run(path, names, calibration)
    except ArtifactError as error:
        reason = str(error).replace(str(path), str(source))
        raise UnsupportedModelError(
            f"No activation ranges can be measured: {reason}"
        ) from error
    finally:
        for file in folder.glob(f"{_FILE}*"):
            file.unlink()


def _run(path, names, calibration):
    ranges, seen = calibration.ranges(), set()
    with load_session("onnx", path.parent, [path.name]) as session:
        sizes = {spec.shape[0] for spec in session.inputs if spec.shape}
        size = max((s for s in sizes if s is not None), default=_FREE_BATCH)
        for batch in calibration.batches(size):
            if size in sizes and any(len(array) < size for array in batch.values()):
                continue  # the model takes whole batches alone
            found = session.run(batch)
            for name in names:
                if isinstance(found[name], np.ndarray) and found[name].size:
                    ranges.add(name, found[name])
                    seen.add(name)
    return {name: ranges[name] for name in sorted(seen)}


def count_axes(proto):
    """Returns name -> number of axes of the activations of the main graph, as far as
    ONNX finds it out."""
    onnx = require("onnx", extra="quantizers")
    if proto.ByteSize() > _MAX_BYTES:
        return {}
    try:
        graph = onnx.shape_inference.infer_shapes(proto).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return {}
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
