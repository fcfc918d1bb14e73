"""Settings of a command: a frozen dataclass, whose fields are the command's flags.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Settings:
        steps: int = setting(6, "Steps to time.")
        formats: tuple[str, ...] = setting(("onnx",), "Formats to write.")

From Python a command is called with an instance; on the command line its flags make
one. Types are `str`, `int`, `float` and `bool`, each of them or None, and tuples of
`str` and `int`, which are written with commas. What a value can be is checked by
`__post_init__`, so that both ways are told alike.
"""

import dataclasses
import math
import typing

from absl import flags

from tfcompress.errors import InvalidValueError

_DEFINE = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
}


def setting(default, help, *, choices=None, is_repeated=False, decides=True):
    """Returns a field of a settings class.

    Args:
        default: value, or None.
        help: text of `--help`.
        choices: what a `str` can be; None for anything.
        is_repeated: whether the flag of a tuple is given once for each item, in place
            of commas.
        decides: whether it changes results, and does not only say where and how to run.
    """
    names = {"choices": choices, "is_repeated": is_repeated, "decides": decides}
    return dataclasses.field(default=default, metadata={"help": help, **names})


def another_default(settings_class, name, default):
    """Returns a base's field with another default."""
    (field,) = (f for f in dataclasses.fields(settings_class) if f.name == name)
    return dataclasses.field(default=default, metadata=field.metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckedSettings:
    """Base of settings: each class checks its own and calls the next one's check."""

    def __post_init__(self):
        """Raises `InvalidValueError` if a value is not one that a setting can have."""


def define_flags(settings_class, module_name, flag_values=flags.FLAGS):
    """Defines a flag for each field.

    Args:
        settings_class: dataclass of `setting` fields.
        module_name: of the module whose `--help` shows them.
        flag_values: where they are defined.
    """
    for field, kind in _fields(settings_class):
        options = {"flag_values": flag_values, "module_name": module_name}
        arguments = [field.name, field.default, field.metadata["help"]]
        if typing.get_origin(kind) is tuple:
            arguments[1] = [str(item) for item in field.default]
            repeated = field.metadata["is_repeated"]
            define = flags.DEFINE_multi_string if repeated else flags.DEFINE_list
        elif choices := field.metadata["choices"]:
            arguments.insert(2, choices)
            define = flags.DEFINE_enum
        else:
            define = _DEFINE[kind]
        define(*arguments, **options)


def settings_from_flags(settings_class, flag_values=flags.FLAGS):
    """Returns the settings that parsed flags give.

    Raises:
        InvalidValueError: if a value is not one that the setting can have.
    """
    values = {}
    for field, kind in _fields(settings_class):
        value = flag_values[field.name].value
        if typing.get_origin(kind) is tuple:
            value = tuple(_items(field.name, value, typing.get_args(kind)[0]))
        values[field.name] = value
    return settings_class(**values)


def parse_settings(settings_class, arguments):
    """Returns the settings that a command line gives, without the global flags.

    Args:
        settings_class: dataclass of `setting` fields.
        arguments: list of flags, such as `["--steps=3"]`.
    Raises:
        InvalidValueError: if a value is not one that the setting can have.
        absl.flags.Error: if a flag is unknown or cannot be read.
    """
    flag_values = flags.FlagValues()
    define_flags(settings_class, "settings", flag_values)
    flag_values(["settings", *arguments])
    return settings_from_flags(settings_class, flag_values)


def flags_of(settings):
    """Returns the flags that give these settings; those with the default are left out.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Settings:
    ...     steps: int = setting(6, "Steps to time.")
    ...     verify: bool = setting(True, "Whether to verify.")
    >>> flags_of(Settings(steps=3, verify=False))
    ['--steps=3', '--noverify']
    """
    found = []
    for field, kind in _fields(settings):
        value = getattr(settings, field.name)
        if value == field.default:
            continue
        if kind is bool:
            found.append(f"--{'' if value else 'no'}{field.name}")
        elif typing.get_origin(kind) is not tuple:
            found.append(f"--{field.name}={value}")
        elif field.metadata["is_repeated"]:
            found += [f"--{field.name}={item}" for item in value]
        else:
            found.append(f"--{field.name}={','.join(map(str, value))}")
    return found


def deciding_values(settings):
    """Returns field name -> JSON value of the settings that change results.

    Raises:
        InvalidValueError: if a number is not finite, which no record can hold.
    """
    values = {}
    for field, _ in _fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidValueError(
                f"--{field.name} must be a finite number, got {value}."
            )
        if field.metadata["decides"]:
            values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def check_at_least(settings, low, *names):
    """Raises `InvalidValueError` if a setting is below `low`; None is not."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < low:
            raise InvalidValueError(f"--{name} must be at least {low}, got {value!r}.")


def check_choices(settings, name, choices):
    """Raises `InvalidValueError` if a tuple is empty, or not all of `choices`.

    Args:
        settings: has the tuple of `str`.
        name: of the field.
        choices: tuple of `str`.
    """
    values = getattr(settings, name)
    for value in values:
        if value not in choices:
            raise InvalidValueError(
                f"--{name} must be of {', '.join(choices)}, got {value!r}."
            )
    if not values:
        raise InvalidValueError(
            f"--{name} is empty. Name at least one of {', '.join(choices)}."
        )


def _fields(settings):
    """Yields each field with its type, None aside."""
    is_class = isinstance(settings, type)
    hints = typing.get_type_hints(settings if is_class else type(settings))
    for field in dataclasses.fields(settings):
        kind = hints[field.name]
        kinds = [each for each in typing.get_args(kind) if each is not type(None)]
        yield field, kinds[0] if len(kinds) == 1 else kind


def _items(name, texts, kind):
    try:
        return [kind(text) for text in texts]
    except ValueError as error:
        raise InvalidValueError(
            f"--{name} must be whole numbers with commas between them, got "
            f"{','.join(texts)!r}."
        ) from error
