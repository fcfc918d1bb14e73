"""Tests of foreign errors: everything becomes one line, but what has to pass."""

import os
import subprocess
import sys

import pytest

from tfcompress.errors import DataError, InvalidValueError
from tfcompress.foreign import foreign_errors, reason_of, silenced


def make(reason):
    return DataError(f"It is damaged: {reason}.")


class Panic(BaseException):
    """As the exceptions of Rust are: no `Exception`."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("two\n  lines."), "It is damaged: two lines."),
        (Panic("it panicked"), "It is damaged: Panic: it panicked."),
        (MemoryError(), "It is damaged: MemoryError."),
        (OSError("no number"), "It is damaged: no number."),
    ],
)
def test_foreign_errors_become_one_line(error, message):
    with pytest.raises(DataError) as caught, foreign_errors(make):
        raise error
    assert str(caught.value) == message
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [InvalidValueError("ours"), KeyboardInterrupt(), OSError(28, "full")]
)
def test_foreign_errors_let_pass_what_is_no_answer(error):
    with pytest.raises(type(error)) as caught, foreign_errors(make):
        raise error
    assert caught.value is error


def test_foreign_errors_let_pass_what_the_caller_knows():
    with pytest.raises(KeyError), foreign_errors(make, passing=KeyError):
        raise KeyError("a")


def test_panic_of_tokenizers_becomes_one_line():
    import tokenizers

    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"a": 0}, unk_token="a")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    with pytest.raises(DataError, match="It is damaged: "), foreign_errors(make):
        tokenizer.enable_truncation(2, stride=3)
        tokenizer.encode("a a a a a")


def test_reason_of_a_long_message_is_cut():
    assert len(reason_of(ValueError("word " * 1000))) <= 300


def test_silenced_drops_what_is_written_past_python(capfd):
    os.write(2, b"before\n")
    with silenced():
        os.write(2, b"advice of a converter\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_silenced_lets_what_is_raised_pass_and_the_error_be_seen_again(capfd):
    with pytest.raises(KeyError), silenced():
        raise KeyError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_silenced_where_the_standard_error_is_closed_runs_the_block():
    code = "from tfcompress.foreign import silenced\nwith silenced(): print('ran')"
    command = [sys.executable, "-c", f"import os; os.close(2)\n{code}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"ran\n"
