"""Errors whose message is for the user: one line that says what, where and what to do.

Entry points print the message of a `TfcompressError` and exit with status 1; any
other exception is a bug of ours and keeps its traceback.
"""

import importlib


class TfcompressError(Exception):
    """Base of every error that a user's input can cause."""


class InvalidValueError(TfcompressError, ValueError):
    """An argument, flag, config field or recipe has a value that cannot be used."""


class UnsupportedModelError(TfcompressError, ValueError):
    """A model holds a layer or a structure that cannot be treated."""


class DataError(TfcompressError, ValueError):
    """A dataset cannot be had, or a data file does not hold what was asked for."""


class ModelFileError(TfcompressError, ValueError):
    """A model file is damaged, of no known format, or cannot be coded."""


class ArtifactError(TfcompressError, ValueError):
    """An artifact folder is incomplete, altered, or not an artifact."""


class VerificationError(TfcompressError, RuntimeError):
    """A file that was just written is not right: it is not kept."""


class TrainingError(TfcompressError, RuntimeError):
    """Training cannot go on: the loss is no longer a number."""


class StepError(TfcompressError, RuntimeError):
    """A step of a run, or what runs its steps, cannot go on."""


class MissingDependencyError(TfcompressError, ImportError):
    """A package of an extra that is not installed is needed."""


def require(module, *, extra, package=None):
    """Imports `module` or says which extra brings it.

    Args:
        module: dotted name, such as `"onnxruntime"`.
        extra: name of the extra in `setup.cfg` that installs it.
        package: name by which it is installed, where that is not the module's.
    Returns:
        The imported module.
    Raises:
        MissingDependencyError: if the package is not installed.

    >>> require("json", extra="onnx").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != name:
            raise
        package = package or name.replace("_", "-")
        raise MissingDependencyError(
            f"The package {package!r} is needed for this and is not installed. "
            f"Install it with: pip install {package} (it belongs to the extra "
            f"{extra!r} of tfcompress)."
        ) from error
