"""ONNX files on ONNX Runtime's CPU provider."""

from tfcompress.errors import require
from tfcompress.runtime.session import Session, TensorSpec

_ERRORS_ONLY = 3
_DTYPES = {"float": "float32", "double": "float64"}  # where numpy's name is another


def import_runtime():
    """Imports and returns `onnxruntime`."""
    return require("onnxruntime", extra="onnx")


def open_session(path, *, precision, num_threads):
    """Opens an .onnx file; the arguments are those of `load_session`."""
    del precision  # the file has it
    onnxruntime = import_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    inputs = tuple(_spec(node) for node in session.get_inputs())
    names = [node.name for node in session.get_outputs()]

    def invoke(arrays):
        return dict(zip(names, session.run(names, arrays), strict=True))

    return Session(path, "onnxruntime", inputs, invoke)


def _spec(node):
    element = node.type.removeprefix("tensor(").removesuffix(")")
    # A size that any value will do for is a name or None.
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, _DTYPES.get(element, element))
