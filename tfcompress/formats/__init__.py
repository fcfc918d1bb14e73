"""What the formats of model files are: each in a file of its own, stated once.

A format is a row of `FORMATS`: its files, the runtimes that open them, and what writes,
quantizes, codes and reads them. These are named, not imported: a device that runs a
file imports the runtime of that file and no other.
"""

from collections.abc import Mapping

from tfcompress.errors import InvalidValueError
from tfcompress.formats.format import Exporter, Format, LazyFunction, Quantizer
from tfcompress.formats.keras import KERAS
from tfcompress.formats.onnx import ONNX
from tfcompress.formats.openvino import OPENVINO
from tfcompress.formats.precision import Precision
from tfcompress.formats.runtimes import DEVICES, RUNTIMES, Runtime, runtime_named
from tfcompress.formats.tflite import TFLITE

__all__ = [
    "DEVICES",
    "FORMATS",
    "RUNTIMES",
    "Exporter",
    "Format",
    "LazyFunction",
    "Precision",
    "Quantizer",
    "Runtime",
    "format_named",
    "format_of_suffix",
    "runtime_named",
    "shipped_formats",
]

FORMATS: Mapping[str, Format] = {
    each.name: each for each in (TFLITE, ONNX, OPENVINO, KERAS)
}


def format_named(name):
    """Returns the `Format` of a name.

    Raises:
        InvalidValueError: if there is none.

    >>> format_named("openvino").suffixes
    ('.xml', '.bin')
    """
    if name not in FORMATS:
        choices = ", ".join(map(repr, FORMATS))
        raise InvalidValueError(f"Unknown format {name!r}; choose one of {choices}.")
    return FORMATS[name]


def format_of_suffix(suffix):
    """Returns the `Format` whose main file has a suffix; None if there is none.

    >>> format_of_suffix(".xml").name
    'openvino'
    """
    found = (each for each in FORMATS.values() if each.suffix == suffix)
    return next(found, None)


def shipped_formats():
    """Returns the names of the formats that a model is converted to: all but Keras's.

    >>> shipped_formats()
    ('tflite', 'onnx', 'openvino')
    """
    return tuple(name for name, each in FORMATS.items() if each.quantizer is not None)
