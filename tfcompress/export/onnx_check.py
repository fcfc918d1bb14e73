"""Compares a written .onnx file with the Keras model on one small batch.

The operators of `onnx_leaves` are ours and not tf2onnx's, so that a file that holds
them is run once before it gets its name.
"""

import numpy as np

from tfcompress.errors import ArtifactError
from tfcompress.export.refusals import refusal
from tfcompress.runtime import load_session

# Relative to the largest number of an output: float32 files agree within some 1e-6. In
# mixed precision the runtime keeps float32 in places where Keras rounds, and weights
# that are stored as float16 are rounded.
_TOLERANCE = 1e-3
_ROUNDED_TOLERANCE = 5e-2

_BATCH = 2
_LENGTH = 8


def check_outputs(serving, path, *, is_float16=False):
    """Refuses a file whose outputs are not the model's.

    Args:
        serving: `Serving`, whose model is the reference.
        path: `pathlib.Path` of the .onnx file.
        is_float16: whether its weights are stored as float16.
    Raises:
        UnsupportedModelError: if ONNX Runtime refuses the file, or an output differs.
    """
    arrays = {spec.name: _example(spec) for spec in serving.inputs}
    try:
        with load_session("onnx", path.parent, [path.name]) as session:
            found = session.run(arrays)
    except ArtifactError as error:
        raise refusal(serving, "ONNX", str(error)) from error
    expected = serving.compute(list(arrays.values()))
    is_exact = not is_float16 and _is_float32(serving.model)
    tolerance = _TOLERANCE if is_exact else _ROUNDED_TOLERANCE
    for spec, wanted in zip(serving.outputs, expected, strict=True):
        largest = np.abs(wanted).max()
        difference = np.abs(found[spec.name] - wanted).max()
        if not difference <= tolerance * largest:
            raise refusal(
                serving,
                "ONNX",
                f"output {spec.name!r} of the file differs from the model's by "
                f"{difference:.2g}, where the largest number is {largest:.2g}",
            )


def _is_float32(model):
    return all(layer.compute_dtype == "float32" for layer in model._flatten_layers())


def _example(spec):
    """Makes an input: whatever ids and masks mean, they may be 0 and 1."""
    shape = [_LENGTH if size is None else size for size in spec.shape]
    shape[0] = _BATCH
    if np.issubdtype(spec.dtype, np.floating):
        values = np.random.default_rng(0).normal(size=shape)
    else:
        values = np.ones(shape)
        values[..., -1] = 0
    return values.astype(spec.dtype)
