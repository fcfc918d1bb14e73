"""Turns off the usage data that the tools beneath this package would send.

It has to happen before a tool is imported: most of them read their switch, or send
their first message, at that moment. So `import tfcompress` calls `turn_off`, and worker
processes inherit the environment. docs/privacy.md lists what each tool would do.
"""

import os
import sys

# Of ONNX Runtime, the Hugging Face hub, TensorFlow's TPU runtime, Ray, and of any tool
# that keeps to consoledonottrack.com.
_VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ENABLE_RUNTIME_UPTIME_TELEMETRY": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
}
_OPENVINO = "openvino_telemetry"


def turn_off():
    """Turns usage data off in this process and in those that it starts.

    Nothing is written anywhere. OpenVINO and NNCF send nothing where the package
    `openvino_telemetry` is not installed, which is what they are made to find: its only
    other switch is a file in the user's home. Its threads fork the process, too, and
    the first import of another tool at that moment would hang for ever.

    What was imported before this package has read its switches by then. It is silenced
    as far as it can be.
    """
    os.environ.update(_VARIABLES)
    if _OPENVINO in sys.modules:
        _silence_openvino(sys.modules[_OPENVINO])
    else:
        sys.modules[_OPENVINO] = None  # `import` says that there is no such package
    if "huggingface_hub.constants" in sys.modules:
        sys.modules["huggingface_hub.constants"].HF_HUB_DISABLE_TELEMETRY = True
    if "onnxruntime" in sys.modules:
        sys.modules["onnxruntime"].disable_telemetry_events()


def _silence_openvino(package):
    """Ends what OpenVINO's package is sending, and lets it send nothing more."""
    if package is None:
        return
    from openvino_telemetry.utils.sender import TelemetrySender

    TelemetrySender.send = _send_nothing
    try:
        sender = package.Telemetry().sender
    except RuntimeError:  # imported, but by nobody who sends
        return
    # Its threads end by themselves within three seconds.
    sender.executor.shutdown(wait=True, cancel_futures=True)


def _send_nothing(sender, backend, message):
    """Takes the place of `TelemetrySender.send`."""
