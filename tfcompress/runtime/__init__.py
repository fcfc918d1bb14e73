"""Runs a model file, whatever its format, on a stock runtime of that format.

    with load_session("tflite", folder, ["model.tflite"]) as session:
        outputs = session.run({"tokens": tokens})

A runtime is imported when its first session is opened, so that a device needs the
package of its own runtime and no other.
"""

from tfcompress.runtime.load import import_runtime, load_session, operators_elsewhere
from tfcompress.runtime.session import Session, TensorSpec, check_inputs

__all__ = [
    "Session",
    "TensorSpec",
    "check_inputs",
    "import_runtime",
    "load_session",
    "operators_elsewhere",
]
