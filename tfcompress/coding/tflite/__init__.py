"""Codes .tflite files: weights, decoders that run once or by row, the check."""
