"""Lossless packed codes for the weights inside a finished model file."""
