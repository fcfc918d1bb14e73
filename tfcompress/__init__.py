"""Compression toolkit for Keras 3 and TensorFlow models."""
