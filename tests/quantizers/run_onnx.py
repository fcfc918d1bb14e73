"""Runs ONNX files in a process of its own, which a crash of the runtime ends.

    python run_onnx.py inputs.npz outputs.npz first.onnx second.onnx ...

Outputs are named after the file's place, the level of optimization and the output.
"""

import sys

import numpy as np
import onnxruntime

LEVELS = ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL")


def _run(path, level, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, level
    )
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return zip(names, session.run(names, inputs), strict=True)


def main(inputs, outputs, *paths):
    with np.load(inputs) as arrays:
        given = dict(arrays)
    found = {}
    for index, path in enumerate(paths):
        for level in LEVELS:
            for name, values in _run(path, level, given):
                found[f"{index} {level} {name}"] = values
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
