"""Runs the `main` of a command: its settings, one line for each error, exit status.

A user's mistake ends in one line on stderr and status 1; a bug of ours keeps its
traceback.
"""

import difflib
import errno
import inspect
import io
import os
import sys

from absl import app, flags

from tfcompress.errors import InvalidValueError, TfcompressError
from tfcompress.settings import define_flags, settings_from_flags

_INTERRUPTED = 130  # 128 + SIGINT, as shells count it


def run(main, settings_class):
    """Parses the flags, runs `main` and exits with its status.

    Args:
        main: function of the settings, and of the arguments that are no flags, if it
            takes any; returns None or an exit status.
        settings_class: dataclass of `tfcompress.settings.setting` fields.
    Raises:
        SystemExit: always. Status 1 where `main` raised a `TfcompressError` or an
            `OSError` (a full disk), or a flag is wrong; 130 where it was interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file's name need be no UTF-8, nor the terminal: what it lacks is escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    define_flags(settings_class, sys.argv[0])  # under this name absl looks for --help

    def run_parsed(arguments):
        return _run_guarded(main, settings_class, arguments[1:])

    app.run(run_parsed, flags_parser=_parse_flags)


def _run_guarded(main, settings_class, arguments):
    try:
        _check_arguments(main, arguments)
        return main(settings_from_flags(settings_class), *arguments)
    except BrokenPipeError:
        # Whoever read the output has left: nobody to tell. Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (TfcompressError, OSError) as error:
        _print_error(_one_line(error))
        return 1
    except KeyboardInterrupt:
        _print_error("interrupted")
        return _INTERRUPTED


def _check_arguments(main, arguments):
    kinds = {each.kind for each in inspect.signature(main).parameters.values()}
    if arguments and inspect.Parameter.VAR_POSITIONAL not in kinds:
        raise InvalidValueError(
            f"There is nothing to do with {arguments[0]!r}: flags begin with --. "
            "--help lists them."
        )


def _parse_flags(arguments):
    try:
        return flags.FLAGS(arguments)
    except flags.UnrecognizedFlagError as error:
        close = difflib.get_close_matches(error.flagname, list(flags.FLAGS), n=1)
        hint = f" Did you mean --{close[0]}?" if close else ""
        _print_error(f"Unknown flag --{error.flagname}.{hint} --help lists the flags.")
    except flags.Error as error:
        _print_error(_one_line(error))
    except SystemExit as error:
        # absl's --help ends with status 1; a user who asked for help made no mistake.
        raise SystemExit(0) from error
    raise SystemExit(1)


def _print_error(message):
    print(f"error: {message}", file=sys.stderr)


def _one_line(error):
    """Returns the message of an exception, on one line."""
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f": {str(error.filename)!r}"
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = ". Make room and give the same command again." if is_full else ""
        return f"{error.strerror}{place}{hint}"
    return " ".join(str(error).split()) or type(error).__name__
