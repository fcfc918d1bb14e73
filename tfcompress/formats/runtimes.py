"""The runtimes that open model files, and what each needs; a module of
`tfcompress.runtime` has the name of each."""

import dataclasses
import importlib.util
from collections.abc import Mapping

from tfcompress.errors import InvalidValueError

DEVICES = ("cpu", "gpu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """What runs the files of a format.

    Attributes:
        name: as records have it: of a module of `tfcompress.runtime`.
        package: that it imports.
        extra: of `setup.cfg`, which installs it.
        devices: what it can be asked to run on, of `DEVICES`; whether there is such a
            one is known by the runtime alone.
        environment: variables that its processes need.
    """

    name: str
    package: str
    extra: str
    devices: tuple[str, ...] = ("cpu",)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_installed(self):
        """Whether the package is there; it is not imported."""
        return importlib.util.find_spec(self.package) is not None


LITERT = Runtime(name="litert", package="ai_edge_litert", extra="tflite")
ONNXRUNTIME = Runtime(
    name="onnxruntime", package="onnxruntime", extra="onnx", devices=DEVICES
)
OPENVINO = Runtime(
    name="openvino", package="openvino", extra="openvino", devices=DEVICES
)
TENSORFLOW = Runtime(
    name="tensorflow", package="tensorflow", extra="compress", devices=DEVICES
)
JAX = Runtime(
    name="jax",
    package="jax",
    extra="jax",
    devices=DEVICES,
    environment={"KERAS_BACKEND": "jax"},
)
RUNTIMES: Mapping[str, Runtime] = {
    each.name: each for each in (LITERT, ONNXRUNTIME, OPENVINO, TENSORFLOW, JAX)
}


def runtime_named(name):
    """Returns the `Runtime` of a name.

    Raises:
        InvalidValueError: if there is none.

    >>> runtime_named("jax").devices
    ('cpu', 'gpu')
    """
    if name not in RUNTIMES:
        choices = ", ".join(map(repr, RUNTIMES))
        raise InvalidValueError(f"Unknown runtime {name!r}; choose one of {choices}.")
    return RUNTIMES[name]
