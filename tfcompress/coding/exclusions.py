"""Which tensors of a file the user wants to keep as they are."""

import re

from tfcompress.errors import InvalidValueError


def check_patterns(exclude):
    """Raises InvalidValueError if one of the strings is no regular expression.

    >>> check_patterns(["embedding", "layer_[0-9]+/kernel"])
    """
    for pattern in exclude:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InvalidValueError(
                f"exclude must be regular expressions, got {pattern!r}: {error}."
            ) from error


def reason_to_exclude(name, exclude):
    """Says why a tensor is left alone.

    Args:
        name: the tensor's name.
        exclude: regular expressions that may match the whole name.
    Returns:
        The reason, or None where no expression matches.

    >>> reason_to_exclude("dense/kernel", ["dense"])
    >>> reason_to_exclude("dense/kernel", ["dense/.*"])
    "left as asked by 'dense/.*'"
    """
    for pattern in exclude:
        if re.fullmatch(pattern, name):
            return f"left as asked by {pattern!r}"
    return None
