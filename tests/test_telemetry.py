"""No tool sends usage data: fresh processes in a home of their own, as users run them.

`CI` is not set in them, nor is it known that pytest runs: some tools then send nothing.
"""

import os
import subprocess
import sys

import pytest

import tfcompress

# Python runs a module of this name before any other. A process that a tool forks off
# has it too.
GUARD = """
import os, socket

def refuse(self, address):
    with open(os.environ["CONNECTIONS"], "a") as file:
        print(address, file=file)
    raise OSError("This test lets nobody connect.")

socket.socket.connect = refuse
"""

# The order in which the hang was: OpenVINO's threads forked while `compress` imported.
EVERY_TOOL = """
import threading
import keras, numpy as np
from tfcompress import compress, export_model
from tfcompress.quantizers import quantize_file
from tfcompress.runtime import load_session

layers = keras.layers
model = keras.Sequential([keras.Input((8,)), layers.Dense(16), layers.Dense(2)])
export_model(model, "openvino", "dense")
compress(model, "cluster(4)", None)
export_model(model, "onnx", "dense")
for format, name in [("onnx", "model.onnx"), ("openvino", "model.xml")]:
    quantize_file("dense/" + name, format, format, precision="weight_only_wi8")
    load_session(format, format, ["model.onnx"] if format == "onnx" else
                 ["model.xml", "model.bin"]).close()
import ai_edge_quantizer.quantizer, huggingface_hub, kagglehub, keras_hub
import tensorflow_datasets
print("threads:", *[thread.name for thread in threading.enumerate()])
"""

OPENVINO_FIRST = """
import threading
import openvino
import tfcompress
from openvino.tools.ovc.telemetry_utils import init_ovc_telemetry
init_ovc_telemetry("other").send_event("ov", "import", "once more")
print("threads:", *[thread.name for thread in threading.enumerate()])
"""


@pytest.fixture
def run(tmp_path):
    """Function: code -> its output, and what it tried to connect to."""
    site, home = tmp_path / "site", tmp_path / "home"
    site.mkdir()
    home.mkdir()
    (site / "sitecustomize.py").write_text(GUARD)
    connections = tmp_path / "connections"
    connections.touch()
    kept = {k: v for k, v in os.environ.items() if k not in SWITCHES}
    root = os.path.dirname(os.path.dirname(tfcompress.__file__))
    environment = kept | {
        "PYTHONPATH": os.pathsep.join([str(site), root]),
        "CONNECTIONS": str(connections),
        "HOME": str(home),
        "KERAS_HOME": str(tmp_path / "keras"),
        "TMPDIR": str(tmp_path),
    }

    def call(code):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, connections.read_text()

    call.home = home
    return call


SWITCHES = {
    "CI",
    "TF_BUILD",
    "JENKINS_URL",
    "PYTEST_CURRENT_TEST",
    "ORT_DISABLE_TELEMETRY",
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
}


def test_every_tool_in_one_process_ends_and_sends_nothing(run):
    output, connections = run(EVERY_TOOL)
    assert output.splitlines()[-1] == "threads: MainThread"
    assert connections == ""
    # ONNX Runtime would leave a database of what is to be sent, and the machine's id.
    assert list(run.home.iterdir()) == []


def test_openvino_imported_before_is_silenced(run):
    output, _ = run(OPENVINO_FIRST)
    assert output.splitlines()[-1] == "threads: MainThread"


def test_switches_reach_the_processes_that_are_started():
    code = "import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "1"


def test_huggingface_hub_knows_that_telemetry_is_off():
    from huggingface_hub import constants

    assert constants.HF_HUB_DISABLE_TELEMETRY
