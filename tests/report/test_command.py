"""Tests of the command that a table gives to make it again."""

import dataclasses
import os
import subprocess

import pytest

from tfcompress.report.command import command_of, command_text
from tfcompress.settings import setting


@dataclasses.dataclass(frozen=True)
class Settings:
    formats: tuple[str, ...] = setting((), "Formats.")
    limit: int | None = setting(None, "Examples.")
    recipe: str | None = setting(None, "Recipe.")
    verify: bool = setting(True, "Whether files are run.")
    fresh: bool = setting(False, "Begin anew.")


MAKEFILE = 'experiment:\n\t@for each in $(ARGS); do printf "%s\\n" "$$each"; done\n'


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        ({}, []),
        ({"formats": ("a", "b"), "limit": 3}, ["--formats=a,b", "--limit=3"]),
        ({"recipe": "cluster(16)"}, ["--recipe=cluster(16)"]),
        (
            {"recipe": "cluster(16, layers={'stem': None})", "fresh": True},
            ["--recipe=cluster(16, layers={'stem': None})"],
        ),
        ({"recipe": 'a "b" c'}, ['--recipe=a "b" c']),
        (
            {"recipe": 'it\'s "both" and `this` and $HOME and \\n'},
            ['--recipe=it\'s "both" and `this` and $HOME and \\n'],
        ),
        ({"verify": False}, ["--noverify"]),
    ],
)
def test_command_pasted_into_a_shell_gives_the_same_arguments(
    tmp_path, values, arguments
):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    text = command_text(command_of("compress", Settings(**values)))
    assert text.startswith("make experiment NAME=compress")
    # Tests may be started by make, which tells a make inside that it is one.
    shell = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAG"))}
    result = subprocess.run(
        ["bash", "-c", text],
        cwd=tmp_path,
        env=shell,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == arguments


def test_command_with_quotes_stays_readable():
    settings = Settings(recipe="cluster(16, layers={'stem': None})")
    assert command_text(command_of("compress", settings)) == (
        "make experiment NAME=compress "
        'ARGS="\\"--recipe=cluster(16, layers={\'stem\': None})\\""'
    )
