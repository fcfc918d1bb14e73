"""Where code of others is called: whatever it raises becomes one line of ours."""

import contextlib
import os
import sys
import textwrap

from tfcompress.errors import TfcompressError

# What a user or the interpreter stops is no answer of the code that was called.
_STOPS = (KeyboardInterrupt, SystemExit, GeneratorExit)
_SPEAKING = (ValueError, RuntimeError, OSError)  # their kind adds nothing
_MAX_REASON = 300  # characters


@contextlib.contextmanager
def foreign_errors(make_error, *, passing=()):
    """Turns what a block raises into one error of ours.

    Parsers and runtimes raise what they like on a damaged file. Some exceptions, such
    as the panics of Rust, are no `Exception` at all. A `TfcompressError` passes, and so
    does an `OSError` with a number, such as a full disk.

    Args:
        make_error: function of a reason, one line without a full stop -> the error.
        passing: exception or tuple of such that pass too.
    Raises:
        What `make_error` returns.

    >>> from tfcompress.errors import DataError
    >>> with foreign_errors(lambda reason: DataError(f"It is damaged: {reason}.")):
    ...     {}["a"]
    Traceback (most recent call last):
    tfcompress.errors.DataError: It is damaged: KeyError: 'a'.
    """
    try:
        yield
    except (TfcompressError, *_STOPS):
        raise
    except passing:
        raise
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise make_error(reason_of(error)) from error


@contextlib.contextmanager
def silenced():
    """Drops what a block writes to the standard error, by whatever library.

    Converters write diagnostics there with advice that does not hold here, from C++,
    past Python's own. What they raise passes. What other threads write at the same time
    is dropped too.
    """
    try:
        kept = os.dup(2)
    except OSError:  # it is closed: nothing can be written there
        yield
        return
    _flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        _flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _flush():
    if sys.stderr is not None:
        sys.stderr.flush()


def reason_of(error):
    """Returns what an exception says, on one line, without its full stop.

    Args:
        error: exception of any package.
    Returns:
        `str`: the beginning of its message, after the exception's kind where that is
        needed to understand it.

    >>> reason_of(ValueError("It is wrong.\\n  Try again.")), reason_of(KeyError("a"))
    ('It is wrong. Try again', "KeyError: 'a'")
    """
    text = " ".join(
        line.strip()
        for line in str(error).splitlines()
        if not line.startswith("Exception from ")  # OpenVINO's own call stack
    )
    text = textwrap.shorten(text, _MAX_REASON).rstrip(". ")
    kind = type(error).__name__
    if text and (type(error) in _SPEAKING or isinstance(error, TfcompressError)):
        return text
    return f"{kind}: {text}" if text else kind
