"""Codes .onnx files: constants, decoders of standard operators, the check."""
