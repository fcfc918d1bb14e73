"""Keras files, whichever library computes them."""

import os

from tfcompress.errors import InvalidValueError, require
from tfcompress.keras_archive import load_keras_archive, read_keras_config
from tfcompress.runtime.session import TensorSpec


def import_keras(backend):
    """Imports and returns `keras` on a backend.

    Args:
        backend: "tensorflow" or "jax".
    Raises:
        InvalidValueError: if this process has Keras on another one.
    """
    os.environ.setdefault("KERAS_BACKEND", backend)
    keras = require("keras", extra="compress")
    if keras.backend.backend() != backend:
        raise InvalidValueError(
            f"A .keras file is to be run by {backend}, but the Keras backend of this "
            f"process is {keras.backend.backend()!r}; set KERAS_BACKEND={backend}."
        )
    return keras


def load_inference_model(path):
    """Loads a .keras file.

    Args:
        path: of the file.
    Returns:
        `(model, inputs, output_names)`: the model takes and gives lists; `inputs` is a
        tuple of `TensorSpec`.
    Raises:
        ModelFileError: if the file is damaged.
        Exception: what Keras raises on a damaged file.
    """
    keras = require("keras", extra="compress")
    loaded = load_keras_archive(path, read_keras_config(path))
    model = keras.Model(list(loaded.inputs), list(loaded.outputs))
    # Outputs that are a dict come in the order of its keys. A Sequential has no such,
    # and no `output` either before it is called.
    is_functional = not isinstance(loaded, keras.Sequential)
    has_keys = is_functional and isinstance(loaded.output, dict)
    names = sorted(loaded.output) if has_keys else model.output_names
    inputs = tuple(
        TensorSpec(
            tensor._keras_history.operation.name, tuple(tensor.shape), tensor.dtype
        )
        for tensor in model.inputs
    )
    return model, inputs, names
