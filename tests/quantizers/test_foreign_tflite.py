"""Tests that other tools' .tflite files are quantized right, or refused in a line.

Runtimes may abort, so that all files are run in one process of their own.
"""

import functools
import importlib.util
import json
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tfcompress.errors import TfcompressError
from tfcompress.formats import FORMATS, Precision
from tfcompress.quantizers import (
    CalibrationData,
    quantize_file,
    quantized_operators,
)
from tfcompress.quantizers.tflite_graph import TfliteGraph

_PATH = pathlib.Path(__file__).with_name("foreign_tflite.py")
_SPEC = importlib.util.spec_from_file_location("foreign_tflite", _PATH)
foreign_tflite = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(foreign_tflite)
GRAPHS = foreign_tflite.GRAPHS

PRECISIONS = (
    "dynamic_range_wi8_ei8",
    "dynamic_range_wi4",
    "dynamic_range_wi4b32",
    "static_range_wi8_ai8",
    "static_range_wi8_ai8_full",
)
# Root mean square of the error by that of the outputs, for 8 and for 4 bits.
BOUNDS = {
    "dynamic_range_wi8_ei8": 0.05,
    "dynamic_range_wi4": 0.35,
    "dynamic_range_wi4b32": 0.35,
    "static_range_wi8_ai8": 0.1,
    "static_range_wi8_ai8_full": 0.2,
}
LOOPS = r"holds loops, branches or variables \((WHILE|IF|CALL_ONCE)\), whose inside has"
NONE = "has no layer with constant float32 weights that .* quantizes; its operators are"
INTEGER = "holds operators without int8 kernels in TFLite: "
# Graph, precision (None: any) -> why it is refused.
REFUSALS = {
    ("integer_already", None): NONE,
    ("no_weights", None): NONE,
    ("custom_operator", "static_range_wi8_ai8"): "Mystery",
    ("custom_operator", "static_range_wi8_ai8_full"): "Mystery",
    ("loop", "static_range_wi8_ai8_full"): LOOPS,
    ("gru", "static_range_wi8_ai8_full"): LOOPS,
    ("branches", "static_range_wi8_ai8_full"): LOOPS,
    ("variables", "static_range_wi8_ai8_full"): LOOPS,
    ("three_dimensions", "static_range_wi8_ai8_full"): INTEGER + "CONV_3D",
    ("computed_weights", "static_range_wi8_ai8_full"): "BATCH_MATMUL",
    ("batch_product", "static_range_wi8_ai8_full"): "BATCH_MATMUL",
    ("fused_lstm", "static_range_wi8_ai8_full"): INTEGER + "UNIDIRECTIONAL_SEQ",
    ("one_dimension", "static_range_wi8_ai8_full"): INTEGER + "REDUCE_MAX",
    ("two_signatures", "static_range_wi8_ai8_full"): r"several functions \(.*score",
    ("mobile", "static_range_wi8_ai8_full"): INTEGER + "NEG",
}
RUN = """
import json, pathlib, sys
import numpy as np
from tfcompress.runtime import load_session

for line in sys.stdin:
    job = json.loads(line)
    inputs = dict(np.load(job["inputs"]))
    found = []
    for path in map(pathlib.Path, (job["dense"], job["quantized"])):
        outputs = {}
        with load_session("tflite", path.parent, [path.name]) as session:
            size = job["batch"] or len(next(iter(inputs.values())))
            for begin in range(0, 12, size):
                batch = {k: v[begin : begin + size] for k, v in inputs.items()}
                for name, values in session.run(batch).items():
                    outputs.setdefault(name, []).append(np.atleast_1d(values))
        found.append({name: np.concatenate(v) for name, v in outputs.items()})
    dense, quantized = found
    errors = {}
    for name in sorted(set(dense) | set(quantized)):
        a, b = dense[name], quantized[name]
        if a.dtype.kind == "f":
            error = ((a - b) ** 2).mean() ** 0.5 / (a**2).mean() ** 0.5
        else:
            error = 1 - (a == b).mean()
        errors[name] = float(error)
    print(json.dumps(errors), flush=True)
"""


@pytest.fixture(scope="module")
def dense_path(tmp_path_factory):
    """Function: name of the graph -> path of its dense file."""
    folder = tmp_path_factory.mktemp("foreign")

    @functools.cache
    def make(name):
        path = folder / f"{name}.tflite"
        path.write_bytes(GRAPHS[name].build())
        return path

    return make


@pytest.fixture(scope="module")
def compare():
    """Function: (dense file, quantized file, graph) -> name of output -> error."""
    command = [sys.executable, "-c", RUN]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes)

    def run(dense, quantized, graph):
        inputs = {k: v[:12] for k, v in graph.examples(1).items()}
        path = pathlib.Path(quantized).with_suffix(".npz")
        np.savez(path, **inputs)
        job = {
            "dense": str(dense),
            "quantized": str(quantized),
            "inputs": str(path),
            "batch": graph.batch,
        }
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, "the process that runs the files has ended"
        return json.loads(line)

    yield run
    process.stdin.close()
    process.wait()


def _quantize(dense_path, name, precision, folder):
    data = CalibrationData(inputs=GRAPHS[name].examples(1))
    quantize_file(
        dense_path(name),
        folder,
        "tflite",
        precision=precision,
        calibration=data if Precision(precision).needs_calibration else None,
    )
    return folder / dense_path(name).name


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", GRAPHS)
def test_foreign_file_is_right_or_refused(
    tmp_path, dense_path, compare, name, precision
):
    family = "mobile" if name in foreign_tflite.MOBILES else name
    refusal = REFUSALS.get((name, None)) or REFUSALS.get((family, precision))
    if refusal:
        with pytest.raises(TfcompressError, match=refusal) as caught:
            _quantize(dense_path, name, precision, tmp_path / "new")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "new").exists()
        return
    path = _quantize(dense_path, name, precision, tmp_path / "new")
    if GRAPHS[name].is_runnable:
        errors = compare(dense_path(name), path, GRAPHS[name])
        assert max(errors.values()) < BOUNDS[precision], errors


def test_precisions_are_all_of_their_kind():
    left_out = {"dynamic_range_wi8_efp32", "dynamic_range_wi4_ei8"}
    assert set(FORMATS["tflite"].quantizer.precisions) == {*PRECISIONS, *left_out}


@pytest.mark.parametrize("precision", ["static_range_wi8_ai8", "dynamic_range_wi8_ei8"])
@pytest.mark.parametrize(
    ("name", "integer"),
    [
        ("mobile", {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1}),
        (
            "mobile_float16",
            {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1},
        ),
        ("convolutions", {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 1, "TRANSPOSE_CONV": 1}),
        ("one_dimension", {"CONV_2D": 2, "FULLY_CONNECTED": 1}),
        ("two_inputs", {"CONV_2D": 2, "FULLY_CONNECTED": 2}),
        ("loop", {"FULLY_CONNECTED": 2, "GATHER": 1}),
        ("branches", {"FULLY_CONNECTED": 4}),
        ("batch_product", {"BATCH_MATMUL": 1}),
        ("two_signatures", {"FULLY_CONNECTED": 3}),
    ],
)
def test_foreign_file_computes_in_integers(
    tmp_path, dense_path, name, precision, integer
):
    path = _quantize(dense_path, name, precision, tmp_path)
    assert quantized_operators(path).integer == integer


@pytest.mark.parametrize("name", ["convolutions", "residual", "uint8_input"])
def test_convolutions_become_half_the_size_and_less(tmp_path, dense_path, name):
    path = _quantize(dense_path, name, "dynamic_range_wi8_ei8", tmp_path)
    sizes = [p.stat().st_size for p in (dense_path(name), path)]
    assert sizes[0] > 1.8 * sizes[1]


@pytest.mark.parametrize("precision", PRECISIONS[:4])
def test_archive_behind_the_model_is_kept(tmp_path, dense_path, precision):
    path = _quantize(dense_path, "mobile_with_metadata", precision, tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt") == b"cat\ndog\nbird\nfish\nfox\n"


@pytest.mark.parametrize("name", ["mobile_without_signature", "old_codes"])
def test_names_of_a_file_without_signature_stay(tmp_path, dense_path, name):
    path = _quantize(dense_path, name, "static_range_wi8_ai8", tmp_path)
    graph = TfliteGraph(path)
    ends = graph.interface()
    assert [[graph.name(i) for i in side] for side in ends] == [
        ["x"],
        ["mask", "scores"],
    ]


@pytest.mark.parametrize("precision", ["dynamic_range_wi8_ei8", "static_range_wi8_ai8"])
def test_tied_weights_are_stored_once(tmp_path, dense_path, precision):
    path = _quantize(dense_path, "tied", precision, tmp_path)
    graph = TfliteGraph(path)
    weights = {
        graph.buffer(operator.inputs[1 if name == "FULLY_CONNECTED" else 0])
        for name, operator in graph.operators()
        if name in ("FULLY_CONNECTED", "GATHER")
    }
    assert len(weights) == 1


def test_table_alone_is_refused_where_it_stays_float(tmp_path):
    path = tmp_path / "table.tflite"
    path.write_bytes(foreign_tflite.table_alone())
    with pytest.raises(TfcompressError, match="no float32 weights but embedding tabl"):
        quantize_file(
            path, tmp_path / "new", "tflite", precision="dynamic_range_wi8_efp32"
        )
    quantize_file(path, tmp_path / "new", "tflite", precision="dynamic_range_wi8_ei8")
    assert quantized_operators(tmp_path / "new" / "table.tflite").integer == {
        "GATHER": 1
    }


@pytest.mark.parametrize("place", [40, 400, 2000, 5000])
def test_damaged_file_is_refused_in_a_line(tmp_path, dense_path, place):
    content = bytearray(dense_path("mobile").read_bytes())
    content[place : place + 24] = b"\xff" * 24
    path = tmp_path / "damaged.tflite"
    path.write_bytes(content)
    try:
        quantize_file(
            path, tmp_path / "new", "tflite", precision="dynamic_range_wi8_ei8"
        )
    except TfcompressError as error:
        assert "\n" not in str(error)
