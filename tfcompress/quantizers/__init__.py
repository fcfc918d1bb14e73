"""Dense files to quantized ones, by the field's own tools.

ONNX Runtime's quantizer, NNCF and ai-edge-quantizer do the work; here stands which of
their modes has which of our names for a precision, and nothing half-written is left.
"""

from tfcompress.quantizers.quantize import QUANTIZERS, Quantizer, quantize_file

__all__ = ["QUANTIZERS", "Quantizer", "quantize_file"]
