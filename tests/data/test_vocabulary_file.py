"""Tests that a user's vocabulary file gives the ids his model was trained with."""

import pytest

from tfcompress.data.subword_tokenizer import SPECIAL_TOKENS, wordpiece_tokenizer
from tfcompress.data.tokenizing import tokenize
from tfcompress.data.vocabulary_file import tokenizer_from_file
from tfcompress.errors import InvalidValueError, ModelFileError

PIECES = [*SPECIAL_TOKENS, "film", "##s", "good"]


def ids(tokenizer, text):
    return tokenize(tokenizer, [text], ["tokens"])["tokens"][0].tolist()


@pytest.mark.parametrize("head", ["\n[UNK]\n", "[PAD]\n[UNK]\n"])
def test_words_of_text_vectorization_have_its_ids(tmp_path, head):
    path = tmp_path / "words.txt"
    path.write_text(head + "the\ngood\nfilm\n")
    tokenizer = tokenizer_from_file(path, 5)
    assert ids(tokenizer, "Good film, strange!") == [3, 4, 1, 0, 0]


def test_wordpiece_vocabulary_is_told_by_its_special_tokens(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n")
    tokenizer = tokenizer_from_file(path, 16)
    assert ids(tokenizer, "good films") == [2, 7, 5, 6, 3, 0, 0, 0]


def test_tokenizer_json_is_taken_as_it_is(tmp_path):
    path = tmp_path / "mine.json"
    wordpiece_tokenizer(PIECES).save(str(path))
    assert ids(tokenizer_from_file(path, 16), "good films")[:5] == [2, 7, 5, 6, 3]


def test_folder_of_a_checkpoint_is_read(tmp_path):
    wordpiece_tokenizer(PIECES).save(str(tmp_path / "tokenizer.json"))
    assert ids(tokenizer_from_file(tmp_path, 16), "good")[:3] == [2, 7, 3]


def test_missing_file_raises(tmp_path):
    with pytest.raises(InvalidValueError, match="There is no vocabulary '.*words.txt'"):
        tokenizer_from_file(tmp_path / "words.txt", 5)


def test_words_without_head_raise(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("the\ngood\n")
    with pytest.raises(InvalidValueError, match=r"begins with \['the', 'good'\]"):
        tokenizer_from_file(path, 5)


def test_word_twice_raises(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n[UNK]\nthe\nthe\n")
    with pytest.raises(InvalidValueError, match="has the word 'the' twice"):
        tokenizer_from_file(path, 5)


def test_words_that_are_no_text_raise(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidValueError, match="cannot be read"):
        tokenizer_from_file(path, 5)


def test_damaged_json_raises(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(ModelFileError, match="cannot be used as a tokenizer"):
        tokenizer_from_file(path, 5)


def test_word_twice_among_many_is_found_at_once(tmp_path):
    path = tmp_path / "words.txt"
    words = [f"word{number}" for number in range(60_000)]
    path.write_text("\n".join(["", "[UNK]", *words, "word59999"]) + "\n")
    message = "has the word 'word59999' twice, in lines 60002 and 60003"
    with pytest.raises(InvalidValueError, match=message):
        tokenizer_from_file(path, 5)


def test_vocabulary_of_gigabytes_is_refused_unread(tmp_path):
    path = tmp_path / "words.txt"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InvalidValueError, match="it has 1,099,511,627,776 bytes, and"):
        tokenizer_from_file(path, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' stands in it twice"),
        ('{"a": ' + "[" * 100_000, "is nested 100001 levels deep or deeper"),
        ('{"version": "1.0", "model": {"type": "BPE"}}', "cannot be used as a token"),
    ],
)
def test_hostile_json_raises(tmp_path, text, message):
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(ModelFileError, match=message):
        tokenizer_from_file(path, 5)
