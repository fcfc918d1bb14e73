"""Runs the `main` of a command: flags, one line for each error, exit status.

A user's mistake ends in one line on stderr and status 1; a bug of ours keeps its
traceback.
"""

import difflib
import errno
import io
import os
import sys

from absl import app, flags

from tfcompress.errors import TfcompressError

_INTERRUPTED = 130  # 128 + SIGINT, as shells count it


def run(main):
    """Parses the flags, runs `main` and exits with its status.

    Args:
        main: function of the list of arguments that are no flags, the command's name
            first; returns None or an exit status.
    Raises:
        SystemExit: always. Status 1 where `main` raised a `TfcompressError` or an
            `OSError` (a full disk), or a flag is wrong; 130 where it was interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file's name need be no UTF-8, nor the terminal: what it lacks is escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app.run(lambda arguments: _run_guarded(main, arguments), flags_parser=_parse_flags)


def _run_guarded(main, arguments):
    try:
        return main(arguments)
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
