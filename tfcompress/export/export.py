"""One function for all formats."""

import dataclasses
import os
from typing import TYPE_CHECKING

from tfcompress.atomic import atomic_files
from tfcompress.errors import InvalidValueError, require
from tfcompress.export.model_checks import check_batch_size
from tfcompress.export.reference import verify_export
from tfcompress.export.serving import make_serving
from tfcompress.formats import Precision, format_named
from tfcompress.limits import check_path
from tfcompress.runtime.session import TensorSpec
from tfcompress.verification import SKIPPED, Verification

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """What `export_model` wrote.

    Attributes:
        files: names of the files in the folder; the main one first.
        inputs: `TensorSpec` of each input, by which a runtime is fed.
        outputs: `TensorSpec` of each output.
        verification: `Verification` of the file beside the model.
    """

    files: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    verification: Verification = SKIPPED


def export_model(
    model: "keras.Model",
    format: str,
    folder: str | os.PathLike,
    *,
    precision: str = "float32",
    optimize_attention: bool = True,
    batch_size: int | None = None,
    verify: bool = True,
) -> "ExportedModel":
    """Writes a Keras 3 model as a dense file; the batch size stays free.

    The file is run beside the model before it gets its name, on random inputs in a
    fresh process (`tfcompress.verification`): it puts out what the model does, or it
    is not kept.

    In float32 the weights are those of the model to the bit, though a converter may
    store them transposed. Where a BatchNormalization follows a layer, converters
    multiply it into the layer's weights, and clusters are lost: `compress` folds it
    before where nothing is trained through it (`fold_batch_norm`).

    A model that computes in float16 or bfloat16, or mixes it with float32, is written
    to compute in float32, with the same weights and float32 inputs and outputs; a
    `.keras` file stays as it is.

    The same model gives the same bytes, but for models with loops in `"onnx"`.

    Args:
        model: functional or Sequential Keras 3 model; it is left as it was.
        format: `"keras"` (model.keras), `"tflite"` (model.tflite), `"onnx"`
            (model.onnx) or `"openvino"` (model.xml and model.bin).
        folder: path of the folder to write to; it is made if need be.
        precision: one of `FORMATS[format].exporter.precisions`, of
            `tfcompress.formats`. `"float32"`; but for `"keras"` `"float16"` (weights;
            computed in float32); for `"tflite"` `"dynamic_range_wi8"` (int8 weights,
            float activations); for `"openvino"` `"bfloat16"` (weights in float16;
            computed in bfloat16 by a session that is opened with it, see
            `tfcompress.runtime.load_session`).
        optimize_attention: whether a model with attention is written with the operators
            that the runtimes run best. False: with those that Keras computes it by,
            which is what the others are compared with.
        batch_size: None, or the number of examples that the file takes at once; a
            `.keras` file takes any.
        verify: whether the file is run before it is kept.
    Returns:
        `ExportedModel`.
    Raises:
        InvalidValueError: if the format is unknown or lacks the precision, or `model`
            is no Keras 3 model.
        UnsupportedModelError: if the model is subclassed, or holds what the format
            cannot express, or weights that the precision cannot hold.
        VerificationError: if the file does not load, or puts out something else.
        MissingDependencyError: if a package of the extra `export` is not installed.
        OSError: if the folder cannot be written; nothing half-written is left.
    """
    exporter = format_named(format).exporter
    if precision not in exporter.precisions:
        raise InvalidValueError(
            f"Format {format!r} is written in {', '.join(exporter.precisions)}, "
            f"got precision={precision!r}."
        )
    precision = Precision(precision)
    check_batch_size(batch_size)
    for module in ("tensorflow", "keras", "tf_keras"):
        require(module, extra="export")
    serving = make_serving(
        model,
        optimize_attention=optimize_attention,
        keeps_dtypes=format == "keras",
        batch_size=batch_size,
    )
    try:
        folder = check_path(folder)
    except ValueError as error:
        raise InvalidValueError(f"There is no folder to write to: {error}") from error
    with atomic_files(folder) as temporary:
        files = exporter.write(serving, temporary, precision)
        verification = SKIPPED
        if verify:
            verification = verify_export(
                model, serving, format, temporary, files, precision
            )
    return ExportedModel(files, serving.inputs, serving.outputs, verification)
