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
