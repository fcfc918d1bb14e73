"""One function for all tools: a dense float32 file in, a quantized file out."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping

from tfcompress.atomic import atomic_files
from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.foreign import foreign_errors
from tfcompress.formats import Precision, format_named, shipped_formats
from tfcompress.layer_rules import LayerRules
from tfcompress.limits import check_path
from tfcompress.quantizers.calibration import CalibrationData, check_calibration
from tfcompress.quantizers.integer_share import IntegerShare, integer_share
from tfcompress.runtime import load_session
from tfcompress.verification import (
    SKIPPED,
    ModelFiles,
    Verification,
    verify_beside_file,
)

_log = logging.getLogger(__name__)

_ADVICE = (
    "Choose another precision, leave layers in float with layers={'NAME': None}, or "
    "keep the file as it is with verify=False."
)
_NUM_VERIFIED = 8  # examples of the calibration that a written file is run on


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizationResult:
    """What `quantize_file` wrote. Iterating it gives the names of the files.

    Attributes:
        files: names of the files in the folder, the main one first.
        integers: `IntegerShare`: what part of weights and products became integers.
        verification: `Verification` of the file beside its source.
    """

    files: tuple[str, ...]
    integers: IntegerShare
    verification: Verification

    def __iter__(self):
        return iter(self.files)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return self.files[index]


def quantize_file(
    source: str | os.PathLike,
    folder: str | os.PathLike,
    format: str,
    *,
    precision: str,
    calibration: CalibrationData | None = None,
    layers: Mapping[str, Mapping | None] | None = None,
    verify: bool = True,
) -> QuantizationResult:
    """Writes a quantized copy of a dense file; the source is left as it was.

    The file is run beside its source before it gets its name, in a fresh process
    (`tfcompress.verification`). A line says what part of it became integers; where that
    is less than half of the weights' bytes, a warning says which operators stayed.

    Weights that lie on an integer grid, as quantization-aware training leaves them,
    are written as the very integers of that grid. The same arguments give the same
    bytes.

    Args:
        source: path of a float32 .tflite, .onnx or .xml file.
        folder: path of the folder to write to, under the name of the source; other
            files in it stay.
        format: `"tflite"`, `"onnx"` or `"openvino"`.
        precision: one of `FORMATS[format].quantizer.precisions`, of
            `tfcompress.formats`. `dynamic_range_...`: integer weights, activations
            quantized while it runs. `weight_only_...`: integers in the file (OpenVINO
            and ONNX Runtime quantize blocks of activations as they run; NF4 and CB4 are
            computed in float). `static_range_...`: activations quantized by ranges that
            calibration finds; in TFLite those of dense layers and convolutions outside
            of loops (elsewhere as `dynamic_range_wi8`), `_full`: of all operators, and
            integer outputs. `wi4`: int4 in groups of 64 weights (OpenVINO) or by
            channel (TFLite; `wi4b32`: dense layers in blocks of 32); depthwise and
            transposed convolutions are int8, as are recurrent layers and what lies in
            loops. `ei8`: embedding tables in int8, `efp32` in float32; float32 too in
            TFLite's `wi4` and `wi4b32`, else int8. `nf4`: NormalFloat4 in groups of 64;
            `cb4`: NNCF's fixed codebook of 16 float8 values.
        calibration: `CalibrationData`; needed for `static_range_...`, and not used for
            others.
        layers: mapping of rules or `LayerRules`: a layer's name in the file, such as
            "classifier/logits", or a regular expression -> None, which leaves it in
            float; for TFLite also `{"num_bits": 4}` or 8, and in a static file
            `{"scheme": "dynamic_range"}`, for a layer whose activations have outliers.
            In ONNX files convolutions, recurrent layers and tables are layers too.
        verify: whether the file is run before it is kept.
    Returns:
        `QuantizationResult`.
    Raises:
        InvalidValueError: if the format, the precision or a rule is unknown, a static
            precision has no calibration data or it is not what the model takes.
        UnsupportedModelError: if the precision has no kernels for the model, or the
            model has no weights that it quantizes.
        ModelFileError: if there is no such file, it is damaged, or it lies in `folder`
            itself.
        VerificationError: if the file does not load, or its results lie beyond what the
            precision allows.
        MissingDependencyError: if the tool is not installed.

    Example: `quantize_file("dense/model.xml", "int4", "openvino",
    precision="weight_only_wi4")`
    """
    source = _path(source)
    folder = _path(folder)
    quantizer = _check(source, folder, format, precision)
    inputs = None
    precision = Precision(precision)
    if not precision.needs_calibration:
        calibration = None
    elif calibration is None:
        raise InvalidValueError(
            f"precision={precision!r} needs calibration data to find the ranges of "
            "activations. Give calibration=CalibrationData(inputs=...) with examples "
            "of the training split, or use a dynamic_range precision."
        )
    else:
        files = _files(source, format)
        with load_session(format, source.parent, files) as session:
            size = check_calibration(session.inputs, calibration)
        inputs = next(calibration.batches(size or _NUM_VERIFIED))
    if not isinstance(layers, LayerRules):
        layers = LayerRules(layers or {})
    _check_settings(layers, format)
    with atomic_files(folder) as temporary:
        target = temporary / source.name
        with foreign_errors(lambda reason: _refused(quantizer, source, reason)):
            quantizer.write(source, target, precision, calibration, layers)
        others = sorted(set(os.listdir(temporary)) - {source.name})
        files = (source.name, *others)
        verification = SKIPPED
        if verify:
            verification = _verify(source, temporary, files, format, precision, inputs)
        # Only what has run elsewhere is opened in this process.
        has_run = verification.status == "passed"
        with foreign_errors(lambda reason: _refused(quantizer, source, reason)):
            integers = integer_share(target, count_products=has_run)
    return _report(pathlib.Path(folder), precision, files, integers, verification)


def _verify(source, folder, files, format, precision, inputs):
    """Runs a quantized file beside its source; see `verify_beside_file`."""
    dense = ModelFiles(
        format=format, folder=str(source.parent), files=tuple(_files(source, format))
    )
    quantized = ModelFiles(
        format=format, folder=str(folder), files=files, precision=precision
    )
    return verify_beside_file(dense, quantized, advice=_ADVICE, inputs=inputs)


def _report(folder, precision, files, integers, verification):
    """Returns the result, and says what became integers."""
    path = folder / files[0]
    print(f"{path}: {precision}, {integers} are integers.")
    warning = integers.warning()
    if warning is not None:
        _log.warning("%s is %s in name: %s.", path, precision, warning)
    return QuantizationResult(files=files, integers=integers, verification=verification)


def _path(path):
    try:
        return check_path(path)
    except ValueError as error:
        raise InvalidValueError(f"This cannot be quantized: {error}") from error


def _refused(quantizer, source, reason):
    return ModelFileError(
        f"{quantizer.tool} cannot quantize {str(source)!r}: {reason}. Nothing was "
        "written. The file is damaged where its own runtime does not open it either; "
        "else it holds what the tool does not know."
    )


def _check(source, folder, format, precision):
    """Returns the `Quantizer` of a format that can write a precision."""
    if format not in shipped_formats():
        raise InvalidValueError(
            f"format must be one of {', '.join(shipped_formats())}, got {format!r}."
        )
    suffix, quantizer = format_named(format).suffix, format_named(format).quantizer
    if precision not in quantizer.precisions:
        raise InvalidValueError(
            f"{quantizer.tool} quantizes {format!r} files to "
            f"{', '.join(quantizer.precisions)}, got precision={precision!r}."
        )
    if source.suffix != suffix or not source.is_file():
        raise ModelFileError(f"There is no {suffix} file {str(source)!r} to quantize.")
    if pathlib.Path(folder).resolve() == source.resolve().parent:
        raise ModelFileError(
            f"The quantized file would replace its source, {str(source)!r}. Choose "
            "another folder."
        )
    return quantizer


def _check_settings(layers, format):
    quantizer = format_named(format).quantizer
    choices = ", ".join(map(repr, quantizer.settings)) or "nothing: use None"
    for key, settings in layers.rules.items():
        for name in settings or ():
            if name not in quantizer.settings:
                raise InvalidValueError(
                    f"The rule for layer {key!r} sets {name!r}; in {format!r} files a "
                    f"rule that is not None can set {choices}."
                )


def _files(source, format):
    """Returns the names of a model's files, of those that are there."""
    return [
        path.name for path in format_named(format).files_of(source) if path.is_file()
    ]
