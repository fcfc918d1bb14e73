"""What a driver tells a worker and what that answers: JSON, nothing of ours pickled."""

import os
import platform
import traceback

from tfcompress import errors
from tfcompress.errors import StepError, TfcompressError
from tfcompress.executor.identity import check_identity, identity
from tfcompress.executor.step import Step


def make_call(step):
    """Returns the JSON value by which a worker does a step."""
    return {
        # First, and never changed: a worker of another version must find it.
        "identity": identity(),
        "folder": os.getcwd(),
        "step": step.to_json(),
    }


def answer_call(call):
    """Does the step of a call, in this process.

    Args:
        call: value of `make_call`.
    Returns:
        JSON value that `check_answer` reads. Whatever is raised is in it.
    """
    try:
        check_identity(call["identity"])
        _enter(call["folder"])
        Step.from_json(call["step"]).run()
    except OSError as error:
        return _answer(StepError(f"{error} (on {platform.node()})"))
    except Exception as error:  # noqa: BLE001 - it is raised again by `check_answer`
        return _answer(error)
    return {"error": None}


def check_answer(step, answer):
    """Raises what a step has raised in its worker, in the words that it had there.

    Args:
        step: `Step`.
        answer: value of `answer_call`.
    Raises:
        TfcompressError: of the class that the worker raised.
        RuntimeError: for a bug of ours, with the worker's traceback.
    """
    if answer["error"] is None:
        return
    kind = getattr(errors, answer["error"], None)
    if not (isinstance(kind, type) and issubclass(kind, TfcompressError)):
        raise RuntimeError(f"The step {step.name!r} failed:\n{answer['traceback']}")
    raise kind(answer["message"])


def _answer(error):
    return {
        "error": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def _enter(folder):
    """Goes to the driver's folder, from which its paths count."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise StepError(
            f"The folder {folder!r}, where the run was started, is not there on "
            f"{platform.node()}. Workers on other machines must share it."
        ) from error
