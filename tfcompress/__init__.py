"""Compression toolkit for Keras 3 and TensorFlow models.

`compress(model, recipe, training)` makes a smaller Keras 3 model; `export_model` writes
it as a TFLite, ONNX or OpenVINO file; `code_file` packs the weights of any such file.
"""

import importlib

_PUBLIC = {
    "ClusterConfig": "tfcompress.methods",
    "CompressionResult": "tfcompress.compress",
    "LayerRules": "tfcompress.layer_rules",
}

__all__ = sorted(_PUBLIC)
