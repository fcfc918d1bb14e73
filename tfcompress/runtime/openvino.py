"""OpenVINO IR, ONNX and TFLite files on OpenVINO's CPU or GPU plugin."""

import mmap

import numpy as np

from tfcompress.errors import InvalidValueError, require
from tfcompress.runtime.session import Session, TensorSpec

_PLUGINS = {"cpu": "CPU", "gpu": "GPU"}


def import_runtime():
    """Imports and returns `openvino`."""
    return require("openvino", extra="openvino")


def list_devices():
    """Returns OpenVINO's name of each device here -> "cpu", "gpu" or another kind."""
    names = import_runtime().Core().available_devices
    return {name: name.partition(".")[0].lower() for name in names}


def open_session(path, *, precision, num_threads, device):
    """Opens an .xml file and the .bin beside it, an .onnx or a .tflite file.

    On the GPU operators that it lacks are computed by the CPU.

    Args:
        path, precision, num_threads, device: as in `load_session`.
    """
    openvino = import_runtime()
    core = openvino.Core()
    plugin = _PLUGINS[device]
    if precision == "bfloat16":
        _check_bfloat16(core, plugin)
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32"
    }
    if device == "cpu":
        settings["INFERENCE_NUM_THREADS"] = num_threads
    core.set_property(plugin, settings)  # which HETERO hands on, and does not take
    model = _read(core, path)
    if device != "cpu" and _unsupported(core, model, plugin):
        plugin = f"HETERO:{plugin},CPU"
    compiled = core.compile_model(model, plugin)
    names = _signature_names(path)
    inputs = tuple(_spec(port, names) for port in compiled.inputs)
    # By their places: OpenVINO knows them by the tensors' names alone.
    places = {spec.name: place for place, spec in enumerate(inputs)}
    outputs = [
        [names.get(name, name) for name in sorted(port.get_names())]
        for port in compiled.outputs
    ]
    request = compiled.create_infer_request()

    def invoke(arrays):
        results = request.infer({places[name]: arrays[name] for name in arrays})
        return {
            name: results[index]
            for index, aliases in enumerate(outputs)
            for name in aliases
        }

    return Session(path, "openvino", inputs, invoke)


def operators_elsewhere(path, device):
    """Returns the kinds of operators that a device lacks, and the CPU computes.

    Args:
        path: of the model's main file.
        device: "cpu" or "gpu".
    Returns:
        Sorted tuple of names.
    """
    core = import_runtime().Core()
    return _unsupported(core, _read(core, path), _PLUGINS[device])


def has_bfloat16():
    """Returns whether OpenVINO computes in bfloat16 on this CPU."""
    return _is_capable(import_runtime().Core(), "CPU")


def _read(core, path):
    if path.suffix == ".xml":
        return core.read_model(str(path), str(path.with_suffix(".bin")))
    return core.read_model(str(path))


def _unsupported(core, model, plugin):
    supported = core.query_model(model, plugin)
    kinds = {
        node.get_type_name()
        for node in model.get_ops()
        if node.get_friendly_name() not in supported
    }
    return tuple(sorted(kinds))


def _signature_names(path):
    """Returns tensor name -> name of the input or output: OpenVINO reads no signatures,
    by which LiteRT names those of a .tflite file."""
    if path.suffix != ".tflite":
        return {}
    from tfcompress.formats.tflite_graphs import TfliteGraphs

    # Mapped: the weights are not read, and so take no memory that would be measured.
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return TfliteGraphs(path, content).signature_names()


def _is_capable(core, plugin):
    return "BF16" in core.get_property(plugin, "OPTIMIZATION_CAPABILITIES")


def _check_bfloat16(core, plugin):
    """Refuses bfloat16 where OpenVINO would compute in float32 without a word."""
    if not _is_capable(core, plugin):
        name = core.get_property(plugin, "FULL_DEVICE_NAME").strip()
        lacks = ": it lacks AVX512-BF16 and AMX" if plugin == "CPU" else ""
        raise InvalidValueError(
            f"This {plugin} ({name}) cannot compute in bfloat16{lacks}. Open the model "
            "with precision='float32'."
        )


def _spec(port, names):
    # A tensor may have several names; those that converters add are the longer ones.
    name = min(port.get_names(), key=lambda name: (len(name), name))
    shape = tuple(
        None if size.is_dynamic else size.get_length() for size in port.partial_shape
    )
    dtype = np.dtype(port.element_type.to_dtype()).name
    return TensorSpec(names.get(name, name), shape, dtype)
