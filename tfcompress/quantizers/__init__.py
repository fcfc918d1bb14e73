"""Dense files to quantized ones, by the field's own tools.

NNCF and ai-edge-quantizer do the work; here stands which of their modes has which of
our names for a precision, activation ranges are found, and weights that lie on an
integer grid already are kept on it. ONNX files are rewritten here, to operators of ONNX
Runtime's (`onnx.py` says why).
"""

from tfcompress.quantizers.calibration import CalibrationData
from tfcompress.quantizers.integer_share import IntegerShare
from tfcompress.quantizers.operators import QuantizedOperators, quantized_operators
from tfcompress.quantizers.quantize import (
    QuantizationResult,
    quantize_file,
)

__all__ = [
    "CalibrationData",
    "IntegerShare",
    "QuantizationResult",
    "QuantizedOperators",
    "quantize_file",
    "quantized_operators",
]
