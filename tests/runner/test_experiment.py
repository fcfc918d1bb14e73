"""Tests of the command that a table gives to make it again."""

import dataclasses
import os
import subprocess

import pytest

from tfcompress.data.dataset import Dataset, Split, text_array
from tfcompress.errors import InvalidValueError
from tfcompress.runner.experiment import Experiment, command, run_experiment
from tfcompress.runner.flags import Options
from tfcompress.runner.rows import Row

MAKEFILE = 'experiment:\n\t@for each in $(ARGS); do printf "%s\\n" "$$each"; done\n'


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--rows=a,b", "--epochs=1"],
        ["--recipe=cluster(16)"],
        ["--recipe=cluster(16, layers={'stem': None})", "--fresh", "--seed=1"],
        ["--model=two words.keras", '--recipe=a "b" c'],
        ['--recipe=it\'s "both" and `this` and $HOME and \\n'],
    ],
)
def test_command_pasted_into_a_shell_gives_the_same_arguments(
    tmp_path, monkeypatch, arguments
):
    monkeypatch.setattr("sys.argv", ["experiments/compress.py", *arguments])
    (tmp_path / "Makefile").write_text(MAKEFILE)
    text = command()
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
    expected = [each for each in arguments if each != "--fresh"]
    assert result.stdout.splitlines() == expected


def test_command_with_quotes_stays_readable(monkeypatch):
    argument = "--recipe=cluster(16, layers={'stem': None})"
    monkeypatch.setattr("sys.argv", ["experiments/compress.py", argument])
    assert command() == (
        "make experiment NAME=compress "
        'ARGS="\\"--recipe=cluster(16, layers={\'stem\': None})\\""'
    )


def test_run_that_fails_at_once_is_not_the_latest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split = Split({"text": text_array(["good", "bad"])}, [1, 0])

    def refuse(dataset):
        raise InvalidValueError("refused")

    experiment = Experiment(
        name="failing",
        default_dataset="reviews",
        rows=(Row(name="baseline"),),
        make_task=refuse,
        load_dataset=lambda: Dataset.from_splits(split, split, split, ["bad", "good"]),
    )
    names = [field.name for field in dataclasses.fields(Options)]
    values = dict.fromkeys(names) | {
        "formats": ("onnx",),
        "codings": ("dense",),
        "num_threads": 1,
        "rounds": 0,
        "seed": 0,
    }
    options = Options(**values)
    with pytest.raises(InvalidValueError, match="refused"):
        run_experiment(experiment, options, {})
    assert not list((tmp_path / "runs" / "failing").glob("latest*"))
