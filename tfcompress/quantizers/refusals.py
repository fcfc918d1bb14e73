"""One line of ours in place of what another package raises."""

import contextlib
import struct

from tfcompress.errors import ModelFileError, TfcompressError, UnsupportedModelError

# What readers of flatbuffers, runtimes and quantizers raise on what they cannot treat.
_FOREIGN_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@contextlib.contextmanager
def refusing(path, problem, other, *, errors=()):
    """Makes an `UnsupportedModelError` of whatever the body raises.

    Args:
        path: `pathlib.Path` of the file, for the message.
        problem: what cannot be done with it, as the sentence goes on.
        other: name of a precision that asks for less.
        errors: further exceptions, which have no common base.
    Raises:
        UnsupportedModelError: with the first words of the other's message.
    """
    try:
        yield
    except TfcompressError:
        raise
    except (*_FOREIGN_ERRORS, *errors) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnsupportedModelError(
            f"{str(path)!r} {problem} ({reason[:200]}). Leave the layer in float with "
            f"layers={{...: None}}, or use precision={other!r}."
        ) from error


@contextlib.contextmanager
def reading(path, kind):
    """Makes a `ModelFileError` of whatever the body raises on a damaged file.

    Args:
        path: `pathlib.Path` of the file.
        kind: what it should be, such as "TensorFlow Lite model".
    Raises:
        ModelFileError: in place of the reader's own exceptions.
    """
    try:
        yield
    except TfcompressError:
        raise
    except _FOREIGN_ERRORS as error:
        raise ModelFileError(
            f"{str(path)!r} is damaged, or no {kind}. Convert or copy it again."
        ) from error
