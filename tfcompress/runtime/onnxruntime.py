"""ONNX files on ONNX Runtime's CPU provider."""

from tfcompress.errors import require
from tfcompress.runtime.session import Session, TensorSpec, refusal

SUFFIXES = (".onnx",)

_ERRORS_ONLY = 3
_DTYPES = {"float": "float32", "double": "float64"}  # where numpy's name is another


def import_runtime():
    """Imports and returns `onnxruntime`."""
    return require("onnxruntime", extra="onnx")


def open_session(path, *, precision, num_threads):
    """Opens an .onnx file; the arguments are those of `load_session`."""
    del precision  # the file has it
    onnxruntime = import_runtime()
    errors = _errors()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except errors as error:
        raise refusal("onnxruntime", "load", path, error) from error
    inputs = tuple(_spec(node) for node in session.get_inputs())
    names = [node.name for node in session.get_outputs()]

    def invoke(arrays):
        return dict(zip(names, session.run(names, arrays), strict=True))

    return Session(path, "onnxruntime", inputs, invoke, errors)


def _spec(node):
    element = node.type.removeprefix("tensor(").removesuffix(")")
    # A size that any value will do for is a name or None.
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, _DTYPES.get(element, element))


def _errors():
    """Returns ONNX Runtime's exceptions: they have no base but Exception."""
    state = require("onnxruntime.capi.onnxruntime_pybind11_state", extra="onnx")
    return tuple(
        value
        for value in vars(state).values()
        if isinstance(value, type) and issubclass(value, Exception)
    )
