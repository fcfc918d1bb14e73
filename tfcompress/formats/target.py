"""What a model is shipped as, and what runs it."""

import dataclasses

from tfcompress.formats import format_named
from tfcompress.formats.precision import FLOAT32, Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A file of a model, and the runtime and device that it is measured on.

    Args:
        format: `"keras"`, `"tflite"`, `"onnx"` or `"openvino"`.
        precision: one of the format's, as text or `Precision`.
        coding: `"dense"` or `"coded"`.
        runtime: name of one of the format's runtimes; by default the first.
        device: what it is measured on.

    Raises:
        InvalidValueError: if the format, its precision or its runtime is not known.
    """

    format: str
    precision: Precision = FLOAT32
    coding: str = "dense"
    runtime: str = ""
    device: str = "cpu"

    def __post_init__(self):
        format = format_named(self.format)
        runtime = format.runtime_named(self.runtime or format.runtime.name)
        object.__setattr__(self, "precision", format.precision(self.precision))
        object.__setattr__(self, "runtime", runtime.name)

    @property
    def dense(self):
        """The dense file that a coded one is made from; itself if it is dense."""
        return dataclasses.replace(self, coding="dense")

    @property
    def file(self):
        """The same file on its format's own runtime, on the CPU.

        A file is made once: all targets that differ in runtime or device alone share
        the artifact of this one.
        """
        return dataclasses.replace(self, runtime="", device="cpu")

    @property
    def place(self):
        """What `runs_on` says of it."""
        return runs_on(self.format, self.runtime, self.device)

    def key(self, row):
        """Returns the name of this target's record; of its artifact, if it is a `file`.

        >>> Target(format="onnx", coding="coded").key("clustered")
        'clustered.onnx.float32.coded.onnxruntime.cpu'
        """
        parts = (self.format, self.precision, self.coding, self.runtime, self.device)
        return ".".join((row, *parts))


def runs_on(format, runtime, device):
    """Returns what runs a file, in words; nothing where that is as ever.

    >>> runs_on("onnx", "onnxruntime", "cpu"), runs_on("onnx", "openvino", "cpu")
    ('', 'on openvino')
    >>> runs_on("onnx", "onnxruntime", "gpu")
    'on onnxruntime gpu'
    """
    if device == "cpu":
        is_own = runtime == format_named(format).runtime.name
        return "" if is_own else f"on {runtime}"
    return f"on {runtime} {device}"
