"""ONNX files on ONNX Runtime: its CPU provider, or CUDA's before it."""

from tfcompress.errors import InvalidValueError, require
from tfcompress.runtime.session import Session, TensorSpec

_ERRORS_ONLY = 3
_FATAL_ONLY = 4
_DTYPES = {"float": "float32", "double": "float64"}  # where numpy's name is another
# The CPU computes what the GPU's provider has no kernel for.
_PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "gpu": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}
_KINDS = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "gpu"}
# A model that returns its input, to ask providers with: a package that has a provider
# does not say whether it finds its libraries and a device.
_IDENTITY = (
    b'\x08\x08\x12\x00:6\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x00Z\x0f\n\x01x\x12\n'
    b"\n\x08\x08\x01\x12\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02"
    b"\x08\x01B\x04\n\x00\x10\r"
)


def import_runtime():
    """Imports and returns `onnxruntime`."""
    return require("onnxruntime", extra="onnx")


def list_devices():
    """Returns ONNX Runtime's name of each provider here that can be used -> "cpu",
    "gpu" or, of one that no device of ours stands for, its own name."""
    onnxruntime = import_runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY  # it falls back to the CPU, and says so
    found = {}
    for name in onnxruntime.get_available_providers():
        if name in _KINDS:
            session = onnxruntime.InferenceSession(_IDENTITY, options, providers=[name])
            if name not in session.get_providers():
                continue
        found[name] = _KINDS.get(name, name)
    return found


def open_session(path, *, precision, num_threads, device):
    """Opens an .onnx file; the arguments are those of `load_session`."""
    del precision  # the file has it
    session = _open(path, device, num_threads=num_threads)
    inputs = tuple(_spec(node) for node in session.get_inputs())
    names = [node.name for node in session.get_outputs()]

    def invoke(arrays):
        return dict(zip(names, session.run(names, arrays), strict=True))

    return Session(path, "onnxruntime", inputs, invoke)


def operators_elsewhere(path, device):
    """Returns the kinds of operators that another provider than the device's runs.

    Args:
        path: of the .onnx file.
        device: "cpu" or "gpu".
    Returns:
        Sorted tuple of names.
    """
    entry = ("session.record_ep_graph_assignment_info", "1")
    session = _open(path, device, entry)
    asked = _PROVIDERS[device][0]
    return tuple(
        sorted(
            {
                node.op_type
                for part in session.get_provider_graph_assignment_info()
                if part.ep_name != asked
                for node in part.get_nodes()
            }
        )
    )


def _open(path, device, *entries, num_threads=1):
    """Opens a session; `entries` are pairs of its configuration."""
    onnxruntime = import_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    for name, value in entries:
        options.add_session_config_entry(name, value)
    providers = list(_PROVIDERS[device])
    available = onnxruntime.get_available_providers()
    if not set(providers) <= {*available}:
        raise _no_provider(providers[0], available)
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    if providers[0] not in session.get_providers():  # it fell back to the CPU
        raise _no_provider(providers[0], session.get_providers())
    return session


def _no_provider(name, found):
    return InvalidValueError(
        f"ONNX Runtime cannot use {name!r} here, only {', '.join(found)}. Install the "
        "package 'onnxruntime-gpu' and the libraries that it needs, or run on the CPU."
    )


def _spec(node):
    element = node.type.removeprefix("tensor(").removesuffix(")")
    # A size that any value will do for is a name or None.
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, _DTYPES.get(element, element))
