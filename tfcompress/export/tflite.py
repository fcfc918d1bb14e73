"""Keras model -> `.tflite`, by TensorFlow's converter.

Keras's own exporter is not used: its output has no name of its own, and it lets the
file use TensorFlow operators that LiteRT's interpreter lacks.
"""

import re

from tfcompress.atomic import atomic_file
from tfcompress.export.serving import refusal, use_flat_graph
from tfcompress.export.tflite_layers import replacements

FILE = "model.tflite"
PRECISIONS = ("float32", "float16", "dynamic_range_wi8")


def write(serving, folder, precision):
    """Writes `model.tflite` with the signature `serving_default`.

    Args:
        serving: `Serving`.
        folder: `pathlib.Path` of an existing folder.
        precision: one of `PRECISIONS`.
    Returns:
        Tuple of file names in `folder`, the main one first.
    Raises:
        UnsupportedModelError: if an operator has no counterpart.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    serving = use_flat_graph(serving, replacements())
    function = serving.concrete_function
    # The converter reads the values of variables that it finds in a TensorFlow object;
    # in a Keras 3 model it finds none, and says nothing.
    holder = tf.Module()
    holder.held = list(function.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        content = converter.convert()
    except ConverterError as error:
        raise refusal(serving, "TFLite", _reason(error)) from error
    with atomic_file(folder / FILE) as path:
        path.write_bytes(content)
    return (FILE,)


def _reason(error):
    """Returns the part of the converter's report that names the operator."""
    named = re.search(r"'tf\.\w+' op [^\n]*", str(error))
    return named.group() if named else str(error).partition("\n")[0]
