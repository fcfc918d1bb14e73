"""Tests that ONNX files of other people are quantized right, or refused in one line."""

import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest

from tests.quantizers import foreign_onnx
from tfcompress.quantizers import (
    QUANTIZERS,
    CalibrationData,
    needs_calibration,
    quantize_file,
)

PRECISIONS = QUANTIZERS["onnx"].precisions
LEVELS = ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL")


def _examples(proto, count, seed):
    """Returns random inputs; integers are rows of the tables."""
    rng, inputs = np.random.default_rng(seed), {}
    constants = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        kind = value.type.tensor_type
        shape = [count, *(size.dim_value for size in kind.shape.dim[1:])]
        if value.name in constants:
            continue
        if kind.elem_type == onnx.TensorProto.INT64:
            inputs[value.name] = rng.integers(0, 40, shape)
        else:
            inputs[value.name] = rng.normal(size=shape).astype(np.float32)
    return inputs


def _batch(proto):
    """Returns the size of a batch that a model takes."""
    sizes = [value.type.tensor_type.shape.dim[0] for value in proto.graph.input]
    return max(1, sizes[0].dim_value) if sizes[0].dim_value else 16


def _run(folder, inputs, paths):
    """Runs files in a process of their own; returns name -> outputs."""
    np.savez(folder / "inputs.npz", **inputs)
    script = pathlib.Path(__file__).with_name("run_onnx.py")
    done = subprocess.run(
        [sys.executable, script, folder / "inputs.npz", folder / "out.npz", *paths],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-600:]}"
    with np.load(folder / "out.npz") as arrays:
        return dict(arrays)


def _quantize(path, folder, precision, proto):
    calibration = None
    if needs_calibration(precision):
        calibration = CalibrationData(inputs=_examples(proto, 48, seed=1))
    quantize_file(path, folder, "onnx", precision=precision, calibration=calibration)
    return folder / path.name


def _error(found, expected):
    """Returns the root mean square of what differs, relative to what is expected."""
    size = np.sqrt(np.mean(np.square(expected.astype(np.float64))))
    return np.sqrt(np.mean(np.square(found - expected.astype(np.float64)))) / size


@pytest.mark.parametrize("make", foreign_onnx.RIGHT, ids=lambda make: make.__name__)
def test_quantize_file_of_a_foreign_graph_is_right(tmp_path, make):
    proto = make()
    onnx.checker.check_model(proto)
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    paths = [path]
    paths += [_quantize(path, tmp_path / p, p, proto) for p in PRECISIONS]
    for each in paths:
        onnx.checker.check_model(str(each))
    found = _run(tmp_path, _examples(proto, _batch(proto), seed=2), paths)
    for value in proto.graph.output:
        expected = found[f"0 ORT_ENABLE_ALL {value.name}"]
        for index, precision in enumerate(PRECISIONS, 1):
            for level in LEVELS:
                error = _error(found[f"{index} {level} {value.name}"], expected)
                assert error < 0.05, (precision, level, value.name, error)
