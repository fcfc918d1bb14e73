"""One function for all tools: a dense float32 file in, a quantized file out."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping

from tfcompress.atomic import atomic_folder
from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.quantizers import onnx, openvino, tflite


@dataclasses.dataclass(frozen=True)
class Quantizer:
    """What quantizes the files of one format.

    Attributes:
        tool: the package, as records name it.
        suffix: of the file to name.
        precisions: those it can write.
        write: function `write(source, target, precision)` of two paths.
    """

    tool: str
    suffix: str
    precisions: tuple[str, ...]
    write: Callable


QUANTIZERS: Mapping[str, Quantizer] = {
    "tflite": Quantizer(
        "ai-edge-quantizer", ".tflite", tuple(tflite.RECIPES), tflite.write
    ),
    "onnx": Quantizer("onnxruntime.quantization", ".onnx", onnx.PRECISIONS, onnx.write),
    "openvino": Quantizer("nncf", ".xml", tuple(openvino.MODES), openvino.write),
}


def quantize_file(source, folder, format, *, precision):
    """Writes a quantized copy of a dense file; the source is left as it was.

    Args:
        source: path of a float32 .tflite, .onnx or .xml file.
        folder: path of the folder to make; an existing one is replaced.
        format: `"tflite"`, `"onnx"` or `"openvino"`.
        precision: one of `QUANTIZERS[format].precisions`. `dynamic_range_...`: integer
            weights, activations quantized while it runs. `weight_only_...`: computed in
            float. `wi4`: int4 in groups of 64 weights (OpenVINO) or by channel (TFLite;
            `wi4b32`: in blocks of 32); `nf4`: NormalFloat4 in groups of 64; `cb4`:
            NNCF's fixed codebook of 16 float8 values.
    Returns:
        Names of the files in `folder`, the main one first.
    Raises:
        InvalidValueError: if the format or the precision is unknown.
        ModelFileError: if there is no such file.
        MissingDependencyError: if the tool is not installed.

    Example: `quantize_file("dense/model.xml", "int4", "openvino",
    precision="weight_only_wi4")`
    """
    source = pathlib.Path(source)
    if format not in QUANTIZERS:
        raise InvalidValueError(
            f"format must be one of {', '.join(QUANTIZERS)}, got {format!r}."
        )
    quantizer = QUANTIZERS[format]
    if precision not in quantizer.precisions:
        raise InvalidValueError(
            f"{quantizer.tool} quantizes {format!r} files to "
            f"{', '.join(quantizer.precisions)}, got precision={precision!r}."
        )
    if source.suffix != quantizer.suffix or not source.is_file():
        raise ModelFileError(
            f"There is no {quantizer.suffix} file {str(source)!r} to quantize."
        )
    with atomic_folder(folder) as temporary:
        quantizer.write(source, temporary / source.name, precision)
        others = sorted(set(os.listdir(temporary)) - {source.name})
    return source.name, *others
