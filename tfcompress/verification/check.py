"""Starts the process that runs a written file, and judges what it computed."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping

from tfcompress.atomic import temporary_folder
from tfcompress.errors import ArtifactError, VerificationError
from tfcompress.processes import child_environment, describe_end, run_child
from tfcompress.verification.bounds import bound_of
from tfcompress.verification.comparison import Mismatch, compare_outputs
from tfcompress.verification.examples import find_inputs
from tfcompress.verification.exchange import (
    SOURCE,
    TARGET,
    read_arrays,
    write_arrays,
    write_request,
)
from tfcompress.verification.result import Verification

_MODULE = "tfcompress.verification.worker"
_NUM_THREADS = 2

# A process that takes longer hangs: a start, and what a slow disk reads.
_SECONDS, _SECONDS_PER_MEGABYTE = 300, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """A model in this process that a written file is compared with.

    Attributes:
        inputs: `TensorSpec` of each input.
        compute: function of a dict of name -> array that returns a dict of output
            arrays, and raises `ArtifactError` for inputs that it does not take.
        table_sizes: input name -> numbers of rows that its tables may have.
        least_bound: bound of a model that rounds more than the file does.
    """

    inputs: tuple
    compute: Callable[[Mapping], Mapping]
    table_sizes: Mapping
    least_bound: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Computed:
    """What the process found.

    Attributes:
        inputs: role -> {input name: dtype} of each model that loaded.
        refusals: role -> the runtime's reason.
        outputs: role -> {output name: array} of each model that ran.
        num_examples: examples that were run; None where there are no inputs.
    """

    inputs: Mapping
    refusals: Mapping
    outputs: Mapping
    num_examples: int | None


def verify_beside_keras(reference, target, *, advice):
    """Runs a written file on random inputs and compares it with a Keras model.

    Args:
        reference: `Reference`.
        target: `ModelFiles`.
        advice: sentence that says what to do about a file that is wrong.
    Returns:
        `Verification`.
    Raises:
        VerificationError: if the file is wrong; one line that says how.
    """
    start = time.monotonic()
    reason = outputs = inputs = None
    try:
        inputs, outputs = find_inputs(
            reference.inputs, reference.compute, reference.table_sizes
        )
    except ArtifactError as error:
        reason = f"the Keras model takes none of the random inputs: {error}"
    judge = _Judge(target, advice)
    computed = judge.compute(None, inputs)
    judge.check_loads(computed)
    judge.check_inputs(computed, {spec.name: spec.dtype for spec in reference.inputs})
    bound = max(bound_of(target.precision), reference.least_bound)
    error = judge.check_outputs(computed, outputs, bound)
    return Verification(
        status="passed",
        against="keras",
        error=error,
        bound=bound,
        num_examples=computed.num_examples,
        reason=reason,
        seconds=time.monotonic() - start,
    )


def verify_beside_file(source, target, *, advice, inputs=None):
    """Runs a written file beside the file that it was made of.

    Args:
        source, target: `ModelFiles`.
        advice: sentence that says what to do about a file that is wrong.
        inputs: input name -> array of real examples; None for random ones.
    Returns:
        `Verification`; "skipped" where the runtime does not open the source either.
    Raises:
        VerificationError: if the file is wrong, or the source ends the runtime's
            process; one line that says how.
    """
    start = time.monotonic()
    judge = _Judge(target, advice)
    computed = judge.compute(source, inputs)
    reason = computed.refusals.get(SOURCE)
    if SOURCE not in computed.inputs:
        return Verification(
            status="skipped",
            against="file",
            reason=f"the source does not run: {reason}",
            seconds=time.monotonic() - start,
        )
    judge.check_loads(computed)
    judge.check_inputs(computed, computed.inputs[SOURCE])
    bound = bound_of(target.precision)
    error = judge.check_outputs(computed, computed.outputs.get(SOURCE), bound)
    return Verification(
        status="passed",
        against="file",
        error=error,
        bound=bound,
        num_examples=computed.num_examples,
        reason=reason and f"no inputs were found that the source takes: {reason}",
        seconds=time.monotonic() - start,
    )


class _Judge:
    """Runs the process for one written file, and says what is wrong with the file.

    Args:
        target: `ModelFiles`.
        advice: sentence that says what to do.
    """

    def __init__(self, target, advice):
        self._target = target
        self._advice = advice

    def compute(self, source, inputs):
        """Returns the `_Computed` of another process."""
        with temporary_folder() as folder:
            write_request(folder, source=source, target=self._target)
            if inputs is not None:
                write_arrays(folder / "inputs.npz", inputs)
            fault = self._run(folder, _time_limit(source, self._target))
            if fault is not None:
                raise self._ended(folder, fault)
            path = folder / "response.json"
            response = json.loads(path.read_text(encoding="utf-8"))
            paths = {role: folder / f"{role}.npz" for role in (SOURCE, TARGET)}
            inputs = read_arrays(folder / "inputs.npz")
            return _Computed(
                inputs=response["inputs"],
                refusals=response["refusals"],
                outputs={role: read_arrays(path) for role, path in paths.items()},
                num_examples=_num_examples(inputs),
            )

    def _run(self, folder, time_limit):
        """Runs the worker; returns how it ended, None where it ended well."""
        output = folder / "output.txt"
        status = run_child(
            _MODULE,
            [folder],
            environment=child_environment(_NUM_THREADS),
            output_path=output,
            timeout_seconds=time_limit,
            keep_as=self._target.format,
        )
        if status == 0:
            return None
        printed = output.read_text(encoding="utf-8", errors="replace")
        return describe_end(status, printed, time_limit)

    def check_loads(self, computed):
        """Raises `VerificationError` if the runtime refused the file or its inputs."""
        if TARGET in computed.refusals:
            raise self._error(computed.refusals[TARGET])

    def check_inputs(self, computed, expected):
        """Raises `VerificationError` if the file's inputs are not the source's."""
        actual = computed.inputs[TARGET]
        if actual != expected:
            raise self._error(f"it has the inputs {actual}, the source {expected}")

    def check_outputs(self, computed, expected, bound):
        """Returns the largest error of an output; None where there is none to compare.

        Raises `VerificationError` if an output is not the source's within the bound.
        """
        if expected is None or computed.outputs[TARGET] is None:
            return None
        try:
            return compare_outputs(expected, computed.outputs[TARGET], bound)
        except Mismatch as fault:
            raise self._error(str(fault)) from fault

    def _ended(self, folder, fault):
        """Makes the error for a process that ended without a response."""
        stage = folder / "stage.txt"
        role = stage.read_text(encoding="utf-8") if stage.is_file() else TARGET
        if role == SOURCE:
            return VerificationError(
                f"The source of {self._target.files[0]!r} cannot be used: the process "
                f"that ran it on its runtime {fault.rstrip('.')}. Nothing was written."
            )
        return self._error(f"the process that ran it {fault}")

    def _error(self, fault):
        target = self._target
        return VerificationError(
            f"{target.files[0]!r} ({target.format}, {target.precision}) is not right "
            f"and was not kept: {fault.rstrip('.')}. {self._advice}"
        )


def _time_limit(*models):
    """Returns the seconds after which a process is taken to hang."""
    sizes = [
        os.path.getsize(os.path.join(model.folder, name))
        for model in models
        if model is not None
        for name in model.files
    ]
    return _SECONDS + _SECONDS_PER_MEGABYTE * sum(sizes) / 1e6


def _num_examples(inputs):
    """Returns the leading size of the inputs; 1 of a model that takes none."""
    if inputs is None:
        return None
    shapes = [array.shape for array in inputs.values()]
    return next((shape[0] for shape in shapes if shape), 1)
