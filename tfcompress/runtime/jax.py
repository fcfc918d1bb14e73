"""Keras files on JAX: the model compiled whole, by XLA, for each size of a batch."""

import numpy as np

from tfcompress.errors import require
from tfcompress.runtime.keras_model import import_keras, load_inference_model
from tfcompress.runtime.session import Session


def import_runtime():
    """Imports and returns `jax`, and Keras with it.

    Raises:
        InvalidValueError: if this process has Keras on another backend.
    """
    jax = require("jax", extra="jax")
    import_keras("jax")
    return jax


def list_devices():
    """Returns JAX's name of each device here -> "cpu", "gpu" or another kind."""
    jax = require("jax", extra="jax")
    # The CPU is there beside any other, and is listed for itself alone.
    devices = [*jax.devices("cpu"), *jax.devices()]
    return {str(device): device.platform for device in devices}


def open_session(path, *, precision, num_threads, device):
    """Opens a .keras file; the arguments are those of `load_session`.

    XLA takes its threads from the environment of the process, see `child_environment`.
    """
    del precision, num_threads
    jax = import_runtime()
    place = jax.devices(device)[0]
    with jax.default_device(place):  # the weights go there
        model, inputs, output_names = load_inference_model(path)
    weights = [
        [jax.device_put(variable.value, place) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]

    @jax.jit
    def call(weights, tensors):
        outputs, _ = model.stateless_call(*weights, tensors, training=False)
        return jax.tree_util.tree_leaves(outputs)

    def invoke(arrays):
        with jax.default_device(place):
            outputs = call(weights, [arrays[spec.name] for spec in inputs])
        return {
            name: np.asarray(output)
            for name, output in zip(output_names, outputs, strict=True)
        }

    return Session(path, "jax", inputs, invoke)


def operators_elsewhere(path, device):
    """Returns an empty tuple: XLA compiles a model for one device, or not at all."""
    del path, device
    return ()
