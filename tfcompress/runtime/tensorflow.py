"""Keras files on TensorFlow: the model as it was before any export."""

import contextlib
import os

from tfcompress.errors import InvalidValueError, require
from tfcompress.keras_archive import load_keras_archive, read_keras_config
from tfcompress.runtime.session import Session, TensorSpec


def import_runtime():
    """Imports and returns `tensorflow`, and Keras with it.

    Raises:
        InvalidValueError: if this process has Keras on another backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    tensorflow = require("tensorflow", extra="compress")
    keras = require("keras", extra="compress")
    if keras.backend.backend() != "tensorflow":
        raise InvalidValueError(
            "A .keras file is run on TensorFlow, but the Keras backend of this process "
            f"is {keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow."
        )
    return tensorflow


def open_session(path, *, precision, num_threads):
    """Opens a .keras file; the arguments are those of `load_session`."""
    del precision  # the file has it
    tensorflow = import_runtime()
    # Both are refused once TensorFlow has run something in this process.
    with contextlib.suppress(RuntimeError):
        tensorflow.config.threading.set_intra_op_parallelism_threads(num_threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    model, output_names = _load(path)
    inputs = tuple(
        TensorSpec(
            tensor._keras_history.operation.name, tuple(tensor.shape), tensor.dtype
        )
        for tensor in model.inputs
    )
    signature = [tensorflow.TensorSpec(spec.shape, spec.dtype) for spec in inputs]

    @tensorflow.function(input_signature=[signature])
    def call(tensors):
        return tensorflow.nest.flatten(model(tensors, training=False))

    def invoke(arrays):
        outputs = call([arrays[spec.name] for spec in inputs])
        return {
            name: output.numpy()
            for name, output in zip(output_names, outputs, strict=True)
        }

    return Session(path, "tensorflow", inputs, invoke)


def _load(path):
    """Returns the model with lists as inputs and outputs, and the outputs' names."""
    keras = require("keras", extra="compress")
    loaded = load_keras_archive(path, read_keras_config(path))
    model = keras.Model(list(loaded.inputs), list(loaded.outputs))
    # Outputs that are a dict come in the order of its keys. A Sequential has no such,
    # and no `output` either before it is called.
    is_functional = not isinstance(loaded, keras.Sequential)
    has_keys = is_functional and isinstance(loaded.output, dict)
    return model, sorted(loaded.output) if has_keys else model.output_names
