"""TFLite files on LiteRT's interpreter, with its default delegate (XNNPACK)."""

import numpy as np

from tfcompress.errors import require
from tfcompress.runtime.session import Session, TensorSpec


def import_runtime():
    """Imports and returns `ai_edge_litert.interpreter`."""
    return require("ai_edge_litert.interpreter", extra="tflite")


def list_devices():
    """Returns LiteRT's name of each device here -> its kind: the CPU is the one."""
    return {"CPU": "cpu"}


def open_session(path, *, precision, num_threads, device):
    """Opens a .tflite file; the arguments are those of `load_session`."""
    del precision, device  # the file has the one, and the other is the CPU
    litert = import_runtime()
    interpreter = litert.Interpreter(str(path), num_threads=num_threads)
    details = interpreter.get_input_details()
    if not any((detail["shape_signature"][1:] < 0).any() for detail in details):
        interpreter.allocate_tensors()  # else an image may have to be larger than 1
    input_names, output_names = _names(interpreter)
    inputs = tuple(
        _spec(name, detail) for name, detail in zip(input_names, details, strict=True)
    )
    output_details = interpreter.get_output_details()
    invoke = _make_invoke(
        interpreter,
        dict(zip(input_names, details, strict=True)),
        dict(zip(output_names, output_details, strict=True)),
    )
    return Session(path, "litert", inputs, invoke)


def operators_elsewhere(path, device):
    """Returns an empty tuple: there is one device."""
    del path, device
    return ()


def _spec(name, detail):
    sizes = detail["shape_signature"]
    shape = tuple(None if size < 0 else int(size) for size in sizes)
    dtype = np.float32 if _scale(detail) else detail["dtype"]
    return TensorSpec(name, shape, np.dtype(dtype).name)


def _scale(detail):
    """Returns the scale of a tensor of quantized integers, 0 of any other."""
    is_integer = np.issubdtype(detail["dtype"], np.integer)
    return detail["quantization"][0] if is_integer else 0


def _to_stored(values, detail):
    """Quantizes an input for a file that takes integers in place of float32."""
    if not _scale(detail):
        return values
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    rounded = np.round(values / np.float32(scale)) + zero_point
    return np.clip(rounded, limits.min, limits.max).astype(detail["dtype"])


def _to_real(values, detail):
    """Returns an output as the float32 numbers that its integers stand for."""
    if not _scale(detail):
        return values
    scale, zero_point = detail["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale)


def _make_invoke(interpreter, inputs, outputs):
    """Returns the function that runs the main graph on named arrays.

    `inputs` and `outputs` are dicts of name to the interpreter's detail.

    The runner of a signature would do it too, but it allocates anew in every call, and
    so prepares the whole graph again where a file decodes its weights.
    """
    allocated = {}

    def invoke(arrays):
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != allocated:
            allocated.clear()  # shapes that do not fit leave nothing allocated
            for name, shape in shapes.items():
                interpreter.resize_tensor_input(inputs[name]["index"], shape)
            interpreter.allocate_tensors()
            allocated.update(shapes)
        for name, array in arrays.items():
            stored = _to_stored(array, inputs[name])
            interpreter.set_tensor(inputs[name]["index"], stored)
        interpreter.invoke()
        return {
            name: _to_real(interpreter.get_tensor(detail["index"]), detail)
            for name, detail in outputs.items()
        }

    return invoke


def _names(interpreter):
    """Returns the names of the main graph's inputs and outputs, two lists.

    They are those of the signature on the main graph; a file without signatures has the
    names of its tensors.
    """
    inputs = [_identity(detail) for detail in interpreter.get_input_details()]
    outputs = [_identity(detail) for detail in interpreter.get_output_details()]
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        named_inputs = _by_identity(runner.get_input_details())
        named_outputs = _by_identity(runner.get_output_details())
        if set(inputs) == set(named_inputs) and set(outputs) == set(named_outputs):
            return (
                [named_inputs[tensor] for tensor in inputs],
                [named_outputs[tensor] for tensor in outputs],
            )
    return [name for _, name in inputs], [name for _, name in outputs]


def _by_identity(named_details):
    return {_identity(detail): name for name, detail in named_details.items()}


def _identity(detail):
    return detail["index"], detail["name"]
