"""ONNX Runtime's own quantizer."""

from tfcompress.errors import require

PRECISIONS = ("dynamic_range_wi8",)


def write(source, target, precision):
    """Quantizes the weights of matrix products and lookups to int8, by tensor.

    Args:
        source, target: `pathlib.Path` of the files.
        precision: of `PRECISIONS`; there is one.
    """
    del precision
    quantization = require("onnxruntime.quantization", extra="quantizers")
    quantization.quantize_dynamic(
        source, target, weight_type=quantization.QuantType.QInt8
    )
