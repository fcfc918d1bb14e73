"""The process that runs a written file, and its source where that is a file too.

    python -m tfcompress.verification.worker FOLDER

It reads `request.json` in the folder, and `inputs.npz` where the caller has inputs, and
writes `stage.txt` before whatever may end the process, `inputs.npz`, `source.npz` and
`target.npz` with what was computed, and `response.json` at the end. It imports the
runtime, numpy and this package's light modules. Started by `check.py`.
"""

import pathlib
import sys

import numpy as np

from tfcompress.atomic import write_json
from tfcompress.errors import ArtifactError, InvalidValueError, TfcompressError
from tfcompress.runtime import load_session
from tfcompress.verification.examples import find_inputs
from tfcompress.verification.exchange import (
    SOURCE,
    TARGET,
    read_arrays,
    read_request,
    write_arrays,
)
from tfcompress.verification.tables import table_sizes

# By these a runtime says that it does not take an input or cannot compute.
_REFUSALS = (TfcompressError, ValueError, RuntimeError, TypeError, IndexError)


def main(folder):
    """Runs the files of the request in `folder`; a refusal becomes the response."""
    folder = pathlib.Path(folder)
    request = read_request(folder)
    inputs = read_arrays(folder / "inputs.npz")
    response = {"refusals": {}, "inputs": {}, "has_inputs": inputs is not None}
    for role in (SOURCE, TARGET):
        if request[role] is None:
            continue
        (folder / "stage.txt").write_text(role, encoding="utf-8")
        try:
            session = _open(request[role])
            specs = session.inputs
            response["inputs"][role] = {spec.name: spec.dtype for spec in specs}
            if inputs is None and role == SOURCE and _are_numbers(specs):
                sizes = table_sizes(request[role])
                inputs, outputs = find_inputs(specs, _runner(session), sizes)
                write_arrays(folder / "inputs.npz", inputs)
                response["has_inputs"] = True
            elif inputs is not None:
                outputs = _runner(session)(inputs)
            else:
                continue
            write_arrays(folder / f"{role}.npz", outputs)
        except _REFUSALS as error:
            response["refusals"][role] = " ".join(str(error).split())
    write_json(folder / "response.json", response)


def _open(model):
    try:
        return load_session(**model)
    except InvalidValueError:
        if model["precision"] != "bfloat16":
            raise
        # This CPU lacks it: the file is one of float16 weights all the same.
        return load_session(**model | {"precision": "float32"})


def _are_numbers(specs):
    """Returns whether there is a random value of every input's type."""
    kinds = (np.number, np.bool_)
    return all(
        any(np.issubdtype(np.dtype(spec.dtype), kind) for kind in kinds)
        for spec in specs
    )


def _runner(session):
    """Returns a function that runs a session and raises `ArtifactError` alone."""

    def run(inputs):
        try:
            outputs = session.run(inputs, check=False)
        except _REFUSALS as error:
            raise ArtifactError(str(error)) from error
        # A runtime may hand out its own memory, which the next run overwrites.
        return {name: np.array(array) for name, array in outputs.items()}

    return run


if __name__ == "__main__":
    main(sys.argv[1])
