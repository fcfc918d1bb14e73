"""What a record says of a target that failed, whoever raised the error."""

import textwrap

from tfcompress.errors import TfcompressError

_WIDTH = 300


def describe_failure(error):
    """Returns one line about an error.

    Args:
        error: an exception. Of one that is not this package's the class is named and
            its first line is kept.

    >>> describe_failure(KeyError("layer"))
    "KeyError: 'layer'"
    """
    text = str(error)
    if isinstance(error, TfcompressError):
        return text
    lines = text.strip().splitlines()
    reason = textwrap.shorten(lines[0], _WIDTH) if lines else ""
    name = type(error).__name__
    return f"{name}: {reason}" if reason else name
