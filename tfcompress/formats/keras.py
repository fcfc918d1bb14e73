"""Keras's own files: the model as it was before any export."""

from tfcompress.formats.format import Exporter, Format, LazyFunction
from tfcompress.formats.precision import precisions
from tfcompress.formats.runtimes import JAX, TENSORFLOW

KERAS = Format(
    name="keras",
    title="a Keras file",
    suffixes=(".keras",),
    runtimes=(TENSORFLOW, JAX),
    exporter=Exporter(
        tool="keras",
        write=LazyFunction("tfcompress.export.keras:write"),
        precisions=precisions("float32"),
    ),
    read_constants=LazyFunction("tfcompress.formats.keras_file:read_constants"),
)
