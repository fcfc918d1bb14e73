"""Word ids worked out by hand, and texts that nobody should send."""

import pytest
import tokenizers

from tfcompress.data import tokenize, train_word_tokenizer
from tfcompress.errors import InvalidValueError


@pytest.fixture(scope="module")
def tokenizer():
    # good 3, film 2, bad and it 1: ids 2, 3, 4, 5.
    texts = ["Good film", "good FILM!", "good: it", "bad"]
    return train_word_tokenizer(texts, vocabulary_size=6, length=4)


def tokens(tokenizer, *texts):
    return tokenize(tokenizer, texts, ["tokens"])["tokens"].tolist()


def test_tokenize_known_words_gives_ids_by_frequency(tokenizer):
    assert tokens(tokenizer, "good film bad it") == [[2, 3, 4, 5]]


def test_tokenize_short_text_is_padded_with_zeros(tokenizer):
    array = tokenize(tokenizer, ["it"], ["tokens"])["tokens"]
    assert array.tolist() == [[5, 0, 0, 0]]
    assert array.dtype == "int32"


def test_tokenize_long_text_is_cut(tokenizer):
    assert tokens(tokenizer, "film " * 9 + "bad") == [[3, 3, 3, 3]]


def test_tokenize_unknown_word_gives_one(tokenizer):
    assert tokens(tokenizer, "good music") == [[2, 1, 0, 0]]


@pytest.mark.parametrize(
    "text",
    [
        "GOOD, film.",
        "good<br /><br />film",
        "good - film",
        "go'od\t\nfilm",
        "Good<BR />film",
    ],
)
def test_tokenize_standardizes_text(tokenizer, text):
    assert tokens(tokenizer, text) == [[2, 3, 0, 0]]


@pytest.mark.parametrize("character", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
def test_tokenize_strips_each_ascii_punctuation(tokenizer, character):
    assert tokens(tokenizer, f"go{character}od") == [[2, 0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0, 0, 0, 0]),
        (" \t\n", [0, 0, 0, 0]),
        ("[PAD] [UNK]", [1, 1, 0, 0]),
        ("\U0001f600 good", [1, 2, 0, 0]),
        ("映画 は good", [1, 1, 2, 0]),
        ("\x00\x1b good", [1, 2, 0, 0]),
        ("\ud800 good", [2, 0, 0, 0]),
        ("good\u00a0film", [2, 3, 0, 0]),
        ("x" * 1_000_000, [1, 0, 0, 0]),
        ("good " * 200_000, [2, 2, 2, 2]),
    ],
    ids=[
        "empty", "blank", "brackets", "emoji", "cjk", "control", "surrogate",
        "no_break_space", "word_of_1_mb", "text_of_1_mb",
    ],
)  # fmt: skip
def test_tokenize_hostile_text_gives_ids(tokenizer, text, expected):
    assert tokens(tokenizer, text) == [expected]


def test_tokenize_more_than_a_chunk_keeps_the_order(tokenizer):
    texts = ["good", "film", "bad"] * 700
    assert tokens(tokenizer, *texts) == [[2, 0, 0, 0], [3, 0, 0, 0], [4, 0, 0, 0]] * 700


def test_tokenize_no_texts_gives_no_rows(tokenizer):
    assert tokenize(tokenizer, [], ["tokens"])["tokens"].shape == (0, 4)


def test_tokenize_saved_and_loaded_gives_the_same(tokenizer):
    loaded = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    texts = ["Good <br /> film?", "music", ""]
    assert tokens(loaded, *texts) == tokens(tokenizer, *texts)


def test_tokenize_one_text_raises(tokenizer):
    with pytest.raises(InvalidValueError, match=r"got one str. Write \[text\]"):
        tokenize(tokenizer, "good film", ["tokens"])


@pytest.mark.parametrize("text", [None, 1.5, b"good"])
def test_tokenize_other_than_text_raises(tokenizer, text):
    with pytest.raises(InvalidValueError, match=f"a str, got {type(text).__name__}"):
        tokenize(tokenizer, ["good", text], ["tokens"])


def test_tokenize_tokenizer_without_length_raises():
    bare = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(InvalidValueError, match="does not truncate and pad"):
        tokenize(bare, ["a"], ["tokens"])


def test_train_order_of_texts_does_not_matter():
    texts = [f"w{index % 37} w{index % 11} tie{index}" for index in range(500)]
    first = train_word_tokenizer(texts, vocabulary_size=60)
    second = train_word_tokenizer(texts[::-1], vocabulary_size=60)
    assert first.to_str() == second.to_str()


def test_train_ties_are_taken_by_code_point():
    tokenizer = train_word_tokenizer(["b é a z"], vocabulary_size=5, length=4)
    assert tokens(tokenizer, "a b z é") == [[2, 3, 4, 1]]


def test_train_fewer_words_than_asked_keeps_all():
    assert train_word_tokenizer(["one two"]).get_vocab_size() == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary_size": 2}, "vocabulary_size must be at least 3 .* got 2"),
        ({"length": 0}, "length must be at least 1 word, got 0"),
    ],
)
def test_train_bad_number_raises(arguments, message):
    with pytest.raises(InvalidValueError, match=message):
        train_word_tokenizer(["a"], **arguments)


def test_train_no_word_raises():
    with pytest.raises(InvalidValueError, match="no word in the texts"):
        train_word_tokenizer(["", "..."])
