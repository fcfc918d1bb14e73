"""Settings that hold for every test."""

import os

# Before TensorFlow is imported: its C++ log is no part of a test's output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
