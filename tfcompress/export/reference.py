"""The Keras model as what a written file is compared with, and the .keras file itself.

A .keras file is loaded in this process and not in a fresh one: classes of the user's
own are known here alone, and it is Keras itself that would be opened.
"""

import dataclasses
import time

import numpy as np

from tfcompress.errors import ArtifactError, VerificationError
from tfcompress.verification import (
    ModelFiles,
    Reference,
    Verification,
    bound_of,
    verify_beside_keras,
)
from tfcompress.verification.bounds import ROUNDING_BOUNDS
from tfcompress.verification.comparison import Mismatch, compare_outputs
from tfcompress.verification.examples import find_inputs

_ADVICE = (
    "Export to another format or precision; verify=False keeps the file for a look at "
    "it. Please report this."
)


def verify_export(model, serving, format, folder, files, precision):
    """Runs a file that was just exported, and compares it with the model.

    Args:
        model: the caller's Keras 3 model, whose policy may be another than the file's.
        serving: `Serving` that the file was written from.
        format: of the file.
        folder: `pathlib.Path` of the folder that it lies in.
        files: its files' names, the main one first.
        precision: that it was written in.
    Returns:
        `Verification`.
    Raises:
        VerificationError: if the file is wrong; one line that says how.
    """
    reference = make_reference(dataclasses.replace(serving, model=model))
    if format == "keras":
        return _verify_keras(reference, serving, folder / files[0])
    target = ModelFiles(
        format=format, folder=str(folder), files=tuple(files), precision=precision
    )
    return verify_beside_keras(reference, target, advice=_ADVICE)


def make_reference(serving):
    """Returns the `Reference` of a model."""
    rows = {x.shape[0] for x in serving.model.weights if len(x.shape) > 0}
    dtypes = {layer.compute_dtype for layer in serving.model._flatten_layers()}
    bounds = [ROUNDING_BOUNDS[dtype] for dtype in dtypes if dtype in ROUNDING_BOUNDS]
    return Reference(
        inputs=serving.inputs,
        compute=_compute(serving),
        table_sizes={spec.name: sorted(rows) for spec in serving.inputs},
        least_bound=max(bounds, default=0.0),
    )


def _compute(serving):
    """Returns a function from named inputs to named outputs of the Keras model."""
    import tensorflow as tf

    refusals = (tf.errors.OpError, ValueError, TypeError)

    def compute(inputs):
        arrays = [inputs[spec.name] for spec in serving.inputs]
        try:
            outputs = serving.compute(arrays)
        except refusals as error:
            raise ArtifactError(" ".join(str(error).split())[:300]) from error
        return {
            spec.name: np.asarray(array).astype(spec.dtype)
            for spec, array in zip(serving.outputs, outputs, strict=True)
        }

    return compute


def _verify_keras(reference, serving, path):
    """Loads a .keras file again and compares its outputs with the model's."""
    import keras

    start = time.monotonic()
    kinds = {type(layer) for layer in serving.model._flatten_layers()}
    try:
        inputs, expected = find_inputs(
            reference.inputs, reference.compute, reference.table_sizes
        )
    except ArtifactError as error:
        reason = f"the Keras model takes none of the random inputs: {error}"
        return Verification(status="skipped", against="keras", reason=reason)
    try:
        loaded = keras.saving.load_model(
            path,
            custom_objects={kind.__name__: kind for kind in kinds},
            compile=False,
            safe_mode=False,  # it was written by this process a moment ago
        )
        found = _compute(dataclasses.replace(serving, model=loaded))(inputs)
        bound = bound_of("float32")
        error = compare_outputs(expected, found, bound)
    except (ValueError, TypeError, KeyError, OSError, Mismatch) as fault:
        reason = " ".join(str(fault).split())[:300]
        raise VerificationError(
            f"{path.name!r} was made but is not right, and was not kept: {reason}. "
            "Give each layer of your own a get_config, and register it with "
            "keras.saving.register_keras_serializable."
        ) from fault
    return Verification(
        status="passed",
        against="keras",
        error=error,
        bound=bound,
        num_examples=len(next(iter(inputs.values()), [0])),
        seconds=time.monotonic() - start,
    )
