"""The command that makes a run again, as a user would type it."""

import re
import shlex

from tfcompress.settings import flags_of

_LEFT_OUT = ("--resume", "--fresh", "--workers", "--ray_address")


def command_of(name, settings, arguments=()):
    """Returns a command as a result holds it.

    Args:
        name: of the experiment's module.
        settings: its settings; those that say how to begin, or who does the work, are
            left out.
        arguments: those that are no flags.
    Returns:
        Dict of `name` and `arguments`, a list of texts.
    """
    found = [
        each for each in flags_of(settings) if each.partition("=")[0] not in _LEFT_OUT
    ]
    if arguments:
        found += ["--", *arguments]
    return {"name": name, "arguments": found}


def command_text(command):
    """Returns a command of `command_of` as a line for a shell.

    >>> command_text({"name": "compress", "arguments": ["--limit=3"]})
    'make experiment NAME=compress ARGS="--limit=3"'
    """
    text = " ".join(map(_quote, command["arguments"]))
    tail = f' ARGS="{_escape(text)}"' if text else ""
    return f"make experiment NAME={command['name']}{tail}"


def _quote(argument):
    """Quotes an argument for the shell that make starts, readably where possible."""
    if "'" in argument and not set('"\\$`') & set(argument):
        return f'"{argument}"'
    return shlex.quote(argument)


def _escape(arguments):
    """Escapes what stands in the double quotes of ARGS, for make and for the shell."""
    doubled = arguments.replace("$", "$$")
    return re.sub(r'([\\"$`])', r"\\\1", doubled)
