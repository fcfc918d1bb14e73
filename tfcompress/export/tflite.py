"""Keras model -> `.tflite`, by TensorFlow's converter.

Keras's own exporter is not used: its output has no name of its own, and it lets the
file use TensorFlow operators that LiteRT's interpreter lacks.
"""

from tfcompress.atomic import atomic_file
from tfcompress.errors import UnsupportedModelError
from tfcompress.export.keras_functions import TFLITE
from tfcompress.export.model_checks import check_float64, check_outputs_differ
from tfcompress.export.refusals import conversion_refusal
from tfcompress.export.serving import use_flat_graph, use_functions
from tfcompress.export.tflite_layers import replacements
from tfcompress.foreign import silenced
from tfcompress.formats.precision import FLOAT32

FILE = "model.tflite"


def write(serving, folder, precision):
    """Writes `model.tflite` with the signature `serving_default`.

    Args:
        serving: `Serving`.
        folder: `pathlib.Path` of an existing folder.
        precision: of `formats.TFLITE.exporter`.
    Returns:
        Tuple of file names in `folder`, the main one first.
    Raises:
        UnsupportedModelError: if an operator has no counterpart.
    """
    check_float64(serving, "TFLite")
    check_outputs_differ(serving, "TFLite")
    try:
        content = _convert(serving, precision)
    except UnsupportedModelError:
        raise
    except Exception as error:
        raise conversion_refusal(serving, "TFLite", error, _convert) from error
    with atomic_file(folder / FILE) as path:
        path.write_bytes(content)
    return (FILE,)


def _convert(serving, precision=FLOAT32):
    """Returns the bytes of the file."""
    import tensorflow as tf

    serving = use_functions(serving, TFLITE)
    serving = use_flat_graph(serving, replacements())
    function = serving.concrete_function
    # The converter reads the values of variables that it finds in a TensorFlow object;
    # in a Keras 3 model it finds none, and says nothing.
    holder = tf.Module()
    holder.held = list(function.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
    if precision.weight_bits < 32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision.weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with silenced():
        return converter.convert()
