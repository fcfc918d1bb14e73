"""Keras's own files: the model as it was before any export, run by TensorFlow."""

from tfcompress.formats.format import Exporter, Format, LazyFunction, Runtime
from tfcompress.formats.precision import precisions

KERAS = Format(
    name="keras",
    title="a Keras file",
    suffixes=(".keras",),
    runtimes=(Runtime(name="tensorflow", package="tensorflow", extra="compress"),),
    exporter=Exporter(
        tool="keras",
        write=LazyFunction("tfcompress.export.keras:write"),
        precisions=precisions("float32"),
    ),
    read_constants=LazyFunction("tfcompress.formats.keras_file:read_constants"),
)
