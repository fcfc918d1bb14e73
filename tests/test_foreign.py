"""Tests of foreign errors: everything becomes one line, but what has to pass."""

import pytest

from tfcompress.errors import DataError, InvalidValueError
from tfcompress.foreign import foreign_errors, reason_of


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
