"""A loaded model, and the check of what it is given."""

import dataclasses

from tfcompress.errors import ArtifactError, InvalidValueError
from tfcompress.foreign import foreign_errors


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of an input or an output of a model.

    Attributes:
        name: the tensor's name in the model.
        shape: sizes; None where any size will do, as for the batch.
        dtype: numpy's name of the element type, such as "int32".
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Session:
    """A model that is loaded and ready to run. Made by `load_session`.

    Attributes:
        inputs: tuple of `TensorSpec`, as the model file states them.
        invoke: the runtime's own call, dict of arrays in, dict of arrays out. It
            checks nothing, which is what a latency is measured with.
    """

    def __init__(self, path, runtime, inputs, invoke):
        """Takes what one of the modules beside this one has opened.

        Args:
            path: the model's main file, for messages.
            runtime: the runtime's name, for messages.
            inputs: tuple of `TensorSpec`.
            invoke: function, dict of arrays -> dict of arrays.
        """
        self.inputs = inputs
        self.invoke = invoke
        self._path = path
        self._runtime = runtime

    def run(self, inputs, *, check=True):
        """Runs the model once.

        Args:
            inputs: dict of name -> array; every input of the model, its dtype as in
                `inputs`, one leading dimension (the batch) for all.
            check: whether that is checked. Files of others may have inputs that differ
                in their leading dimension, such as states.
        Returns:
            Dict of output name -> array, the batch leading.
        Raises:
            InvalidValueError: if names, shapes or dtypes are not the model's (LiteRT
                takes a wrong length and OpenVINO a wrong dtype without a word), or the
                session is closed.
            ArtifactError: if the runtime cannot compute it.
        """
        if self.invoke is None:
            raise InvalidValueError(
                f"The session of {str(self._path)!r} is closed; open another one."
            )
        if check:
            check_inputs(self.inputs, inputs)
        with foreign_errors(self._refusal):
            return self.invoke(inputs)

    def _refusal(self, reason):
        return refusal(self._runtime, "run", self._path, reason)

    def close(self):
        """Lets go of the runtime's memory. Closing twice does nothing."""
        self.invoke = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def refusal(runtime, action, path, reason):
    """Makes the one-line error for a file that a runtime refuses.

    Args:
        runtime: the runtime's name.
        action: "load" or "run".
        path: the model's main file.
        reason: what the runtime says, one line.
    Returns:
        `ArtifactError`, to be raised.
    """
    return ArtifactError(f"{runtime} cannot {action} {str(path)!r}: {reason}")


def check_inputs(specs, inputs):
    """Checks named arrays against what a model takes.

    Args:
        specs: sequence of `TensorSpec`.
        inputs: dict of name -> array.
    Raises:
        InvalidValueError: if a name is missing or unknown, a dtype or shape is not the
            spec's, or the arrays differ in their leading dimension.

    >>> import numpy as np
    >>> spec = TensorSpec("tokens", (None, 2), "int32")
    >>> check_inputs([spec], {"tokens": np.zeros((5, 2), np.int32)})
    """
    names = [spec.name for spec in specs]
    for name in inputs:
        if name not in names:
            raise InvalidValueError(
                f"The model has no input {name!r}; its inputs are {names}."
            )
    for spec in specs:
        if spec.name not in inputs:
            raise InvalidValueError(
                f"Input {spec.name!r} is missing; the model's inputs are {names}."
            )
        _check_array(spec, inputs[spec.name])
    batches = {name: len(array) for name, array in inputs.items()}
    if len(set(batches.values())) > 1:
        sizes = ", ".join(f"{size} for {name!r}" for name, size in batches.items())
        raise InvalidValueError(
            f"All inputs need the same leading dimension (the batch), got {sizes}."
        )


def _check_array(spec, array):
    dtype = getattr(array, "dtype", None)
    if dtype is None:
        raise InvalidValueError(
            f"Input {spec.name!r} must be a numpy array, got {type(array).__name__}."
        )
    if dtype != spec.dtype:
        raise InvalidValueError(
            f"Input {spec.name!r} must have dtype {spec.dtype!r}, got {str(dtype)!r}. "
            f"Convert it with .astype({spec.dtype!r})."
        )
    fits = array.ndim == len(spec.shape) and all(
        expected is None or expected == size
        for expected, size in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InvalidValueError(
            f"Input {spec.name!r} must have shape {spec.shape}, got {array.shape}."
        )
