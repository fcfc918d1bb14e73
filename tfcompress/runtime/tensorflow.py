"""Keras files on TensorFlow: the model as it was before any export."""

import contextlib

from tfcompress.errors import InvalidValueError, require
from tfcompress.runtime.keras_model import import_keras, load_inference_model
from tfcompress.runtime.session import Session


def import_runtime():
    """Imports and returns `tensorflow`, and Keras with it.

    Raises:
        InvalidValueError: if this process has Keras on another backend.
    """
    tensorflow = require("tensorflow", extra="compress")
    import_keras("tensorflow")
    return tensorflow


def list_devices():
    """Returns TensorFlow's name of each device here -> "cpu", "gpu" or another kind."""
    devices = require("tensorflow", extra="compress").config.list_physical_devices()
    return {device.name: device.device_type.lower() for device in devices}


def open_session(path, *, precision, num_threads, device):
    """Opens a .keras file; the arguments are those of `load_session`."""
    del precision  # the file has it
    tensorflow = import_runtime()
    if not tensorflow.config.list_physical_devices(device.upper()):
        raise InvalidValueError(  # TensorFlow would take the CPU without a word
            f"TensorFlow finds no {device!r} here, only {', '.join(list_devices())}. "
            "Install its drivers, or run on the CPU."
        )
    # Both are refused once TensorFlow has run something in this process.
    with contextlib.suppress(RuntimeError):
        tensorflow.config.threading.set_intra_op_parallelism_threads(num_threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    place = f"/{device.upper()}:0"
    with tensorflow.device(place):  # the weights go there
        model, inputs, output_names = load_inference_model(path)
    signature = [tensorflow.TensorSpec(spec.shape, spec.dtype) for spec in inputs]

    @tensorflow.function(input_signature=[signature])
    def call(tensors):
        return tensorflow.nest.flatten(model(tensors, training=False))

    def invoke(arrays):
        with tensorflow.device(place):
            outputs = call([arrays[spec.name] for spec in inputs])
        return {
            name: output.numpy()
            for name, output in zip(output_names, outputs, strict=True)
        }

    return Session(path, "tensorflow", inputs, invoke)


def operators_elsewhere(path, device):
    """Returns None: TensorFlow places operators without a word of where."""
    del path, device
