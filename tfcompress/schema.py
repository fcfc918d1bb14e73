"""What a JSON value of ours holds, written down and checked.

A text names the kind of a leaf, a dict its fields, a list its items' kind; an empty
list or dict is free. Any value may be None: what was not measured.
"""

import numbers

from tfcompress.errors import InvalidValueError
from tfcompress.limits import shown

TEXT, INTEGER, NUMBER, FLAG, LIST, MAP = "text", "integer", "number", "flag", [], {}
ANY = "*"
"""Stands for every name of a mapping whose values are alike."""

_KINDS = {
    TEXT: lambda value: isinstance(value, str),
    FLAG: lambda value: isinstance(value, bool),
    INTEGER: lambda value: isinstance(value, int) and not isinstance(value, bool),
    NUMBER: lambda value: (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and value - value == 0  # neither NaN nor infinity
    ),
}


def check_schema(value, schema, where):
    """Checks a JSON value.

    Args:
        value: the value.
        schema: what it is to hold.
        where: name of the value, for the error.
    Raises:
        InvalidValueError: if a field is missing, unknown or of the wrong kind.

    >>> check_schema({"row": "a", "sizes": [1, None]},
    ...              {"row": TEXT, "sizes": [INTEGER]}, "record")
    """
    if value is None:
        return
    if isinstance(schema, str):
        if not _KINDS[schema](value):
            raise InvalidValueError(f"{where} must be {schema}, got {shown(value)}.")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise InvalidValueError(f"{where} must be a list, got {shown(value)}.")
        for item in value if schema else []:
            check_schema(item, schema[0], f"{where}[]")
    else:
        if not isinstance(value, dict):
            raise InvalidValueError(f"{where} must be a mapping, got {shown(value)}.")
        if ANY in schema:
            schema = dict.fromkeys(value, schema[ANY])
        if schema and (odd := set(value) ^ set(schema)):
            name = sorted(odd)[0]
            what = "lacks the field" if name in schema else "has an unknown field"
            raise InvalidValueError(f"{where} {what} {shown(name)}.")
        for name, kind in schema.items():
            check_schema(value[name], kind, f"{where}.{name}")
