"""OpenVINO IR on OpenVINO's CPU plugin."""

import numpy as np

from tfcompress.errors import InvalidValueError, require
from tfcompress.runtime.session import Session, TensorSpec


def import_runtime():
    """Imports and returns `openvino`."""
    return require("openvino", extra="openvino")


def open_session(path, *, precision, num_threads):
    """Opens an .xml file and the .bin beside it; arguments as in `load_session`."""
    openvino = import_runtime()
    core = openvino.Core()
    if precision == "bfloat16":
        _check_bfloat16(core)
    settings = {
        "INFERENCE_NUM_THREADS": num_threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
    }
    model = core.read_model(str(path), str(path.with_suffix(".bin")))
    compiled = core.compile_model(model, "CPU", settings)
    inputs = tuple(_spec(port) for port in compiled.inputs)
    names = [sorted(port.get_names()) for port in compiled.outputs]
    request = compiled.create_infer_request()

    def invoke(arrays):
        results = request.infer(arrays)
        return {
            name: results[index]
            for index, aliases in enumerate(names)
            for name in aliases
        }

    return Session(path, "openvino", inputs, invoke)


def has_bfloat16():
    """Returns whether OpenVINO computes in bfloat16 on this CPU."""
    return _is_capable(import_runtime().Core())


def _is_capable(core):
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _check_bfloat16(core):
    """Refuses bfloat16 where OpenVINO would compute in float32 without a word."""
    if not _is_capable(core):
        raise InvalidValueError(
            f"This CPU ({core.get_property('CPU', 'FULL_DEVICE_NAME').strip()}) cannot "
            "compute in bfloat16: it lacks AVX512-BF16 and AMX. Open the model with "
            "precision='float32'."
        )


def _spec(port):
    # A tensor may have several names; those that converters add are the longer ones.
    name = min(port.get_names(), key=lambda name: (len(name), name))
    shape = tuple(
        None if size.is_dynamic else size.get_length() for size in port.partial_shape
    )
    return TensorSpec(name, shape, np.dtype(port.element_type.to_dtype()).name)
