"""Tests of tfcompress.entry_point: one line for each error, and the exit status."""

import subprocess
import sys

import pytest

_SCRIPT = '''
"""Says hello.

    hello [--name=NAME]
"""
import dataclasses

from tfcompress import entry_point
from tfcompress.errors import DataError
from tfcompress.settings import setting


@dataclasses.dataclass(frozen=True)
class Settings:
    name: str = setting("world", "Whom to greet.")
    times: int = setting(1, "How often.")


def main(settings, *arguments):
    print("hello", settings.name, list(arguments))
    {body}


if __name__ == "__main__":
    entry_point.run(main, Settings)
'''


@pytest.fixture
def hello(tmp_path):
    """Returns a function that runs a script whose `main` ends with `body`."""

    def run(*flags, body="pass"):
        script = tmp_path / "hello.py"
        script.write_text(_SCRIPT.replace("{body}", body))
        command = [sys.executable, str(script), *flags]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def test_run_calls_main_with_the_arguments(hello):
    done = hello("--name=Ada", "first", "second")
    assert done.stdout == "hello Ada ['first', 'second']\n"
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise DataError('No column\\n  text.')", "No column text."),
        ("open('/no/such/file')", "No such file or directory: '/no/such/file'"),
        (
            "raise OSError(28, 'No space left on device')",
            "No space left on device. Make room and give the same command again.",
        ),
        ("raise OSError('disk')", "disk"),
        ("raise TimeoutError", "TimeoutError"),
    ],
)
def test_run_prints_a_users_error_on_one_line(hello, body, message):
    done = hello(body=body)
    assert (done.returncode, done.stderr) == (1, f"error: {message}\n")


def test_run_keeps_the_traceback_of_a_bug(hello):
    done = hello(body="raise KeyError('x')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_run_interrupted_exits_with_130(hello):
    done = hello(body="raise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_run_exits_with_the_status_of_main(hello):
    assert hello(body="return 3").returncode == 3


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--nam=x",
            "Unknown flag --nam. Did you mean --name? --help lists the flags.",
        ),
        ("--zzzzzz", "Unknown flag --zzzzzz. --help lists the flags."),
        ("--times=x", "flag --times=x: invalid literal for int() with base 10: 'x'"),
    ],
)
def test_run_prints_a_wrong_flag_on_one_line(hello, flag, message):
    done = hello(flag)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {message}\n"


def test_run_help_prints_the_docstring_and_the_flags(hello):
    done = hello("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Says hello." in done.stdout
    assert "Whom to greet." in done.stdout


def test_run_refuses_arguments_that_main_does_not_take(tmp_path, hello):
    hello()  # writes the script
    script = tmp_path / "hello.py"
    script.write_text(script.read_text().replace(", *arguments", ", arguments=()"))
    done = subprocess.run(
        [sys.executable, str(script), "times=3"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: There is nothing to do with 'times=3': flags begin with --. --help "
        "lists them.\n"
    )


def test_run_whose_reader_has_left_ends_quietly(tmp_path, hello):
    hello()  # writes the script
    body = "[print('x' * 1000) for _ in range(10000)]"
    (tmp_path / "hello.py").write_text(_SCRIPT.replace("{body}", body))
    command = f"{sys.executable} {tmp_path / 'hello.py'} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("hello world []\n", "")
