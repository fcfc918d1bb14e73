"""Subword tokenizers: three ways to one tokenizer, and texts that nobody should send.

The vocabulary is made here. keras-nlp's WordPiece runs in tensorflow_text.
"""

import random

import pytest
import tokenizers

from tfcompress.data import tokenize
from tfcompress.data.subword_tokenizer import (
    SPECIAL_TOKENS,
    byte_level_tokenizer,
    check_max_length,
    is_cased,
    read_vocabulary,
    set_max_length,
    train_vocabulary,
    wordpiece_tokenizer,
)
from tfcompress.errors import InvalidValueError

VOCABULARY = [
    *SPECIAL_TOKENS,
    *("a", "i", "!", "'", ".", "[", "]", "é", "ß", "##e", "##s", "##od", "##fi"),
    *(
        "cafe",
        "caf",
        "film",
        "good",
        "go",
        "strasse",
        "cls",
        "sep",
        "½",
        "中",
        "文",
        "😀",
    ),
    *("ש", "##ל", "##ם", "한", "한국"),
]
HOSTILE = {
    "empty": "",
    "spaces": "  \t\n ",
    "plain": "Good films! A café.",
    "emoji": "good 😀😀 😀 film \u2764\ufe0f 😀",
    "cjk": "a中文 film中 𠀀 豈 ㍿ ア한국",
    "combining accents": "cafe\u0301 e\u0300\u0316\u0301 \u0301a",
    "many combining accents": "a" + "\u0301" * 5_000,
    "control characters": "good \x01 film \x07 \x1b a \x7f\r\n",
    "right to left": "שלום \u202e film",
    "turkish": "\u0130 I \u0131 i\u0307",
    "punctuation": "a!!'...$%^`~—…¿«film»",
    "long word": "a" * 101 + " film",
    "special tokens' letters": "cls [ sep ] mask",
    "lone surrogates": "good \ud800 film \udfff",
}
# Texts that the reference, and so tokenizers, takes for the second text of each pair,
# and keras-nlp for another: to it, characters of control, format and private use, NUL,
# U+FFFD and Unicode's spaces are white space, a word, or the text's end, and characters
# are folded to compatible ones: "ß" is "ss", "½" is 1, fraction slash, 2.
PARTED = {
    "control within a word": ("go\x07od", "good"),
    "zero-width within a word": ("go\u200bod", "good"),
    "joined emoji": ("😀\u200d😀", "😀😀"),
    "soft hyphen": ("go\u00adod", "good"),
    "NUL": ("good \x00 film", "good film"),
    "no-break space": ("good\u00a0film", "good film"),
    "line separator": ("good\u2028film", "good film"),
    "replacement character": ("good \ufffd film", "good film"),
    "private use": ("a \ue000 film", "a film"),
    "sharp s": ("ß", "ß"),
    "one half": ("½", "½"),
}


@pytest.fixture(scope="module")
def tokenizer():
    return limited(wordpiece_tokenizer(VOCABULARY))


def limited(tokenizer, length=512, padding_token="[PAD]"):
    set_max_length(tokenizer, length, padding_token=padding_token)
    return tokenizer


def ids(tokenizer, text):
    arrays = tokenize(tokenizer, [text], ["token_ids", "padding_mask"])
    return arrays["token_ids"][0, : arrays["padding_mask"].sum()].tolist()


def keras_nlp_ids(texts, **settings):
    import keras_nlp
    import tensorflow as tf

    layer = keras_nlp.tokenizers.WordPieceTokenizer(VOCABULARY, **settings)
    encoded = [text.encode("utf-8", "replace") for text in texts]
    rows = next(iter(tf.data.Dataset.from_tensors(encoded).map(layer)))
    return [[2, *row, 3] for row in rows.to_list()]


def test_wordpiece_ids_are_keras_nlps(tokenizer):
    theirs = keras_nlp_ids(HOSTILE.values(), lowercase=True, strip_accents=True)
    for name, expected in zip(HOSTILE, theirs, strict=True):
        assert ids(tokenizer, HOSTILE[name]) == expected, name


def test_wordpiece_cased_ids_are_keras_nlps():
    tokenizer = limited(wordpiece_tokenizer(VOCABULARY, lowercase=False))
    for name, expected in zip(HOSTILE, keras_nlp_ids(HOSTILE.values()), strict=True):
        assert ids(tokenizer, HOSTILE[name]) == expected, name


def test_wordpiece_parts_from_keras_nlp_as_the_reference_does(tokenizer):
    texts = [text for text, _ in PARTED.values()]
    theirs = keras_nlp_ids(texts, lowercase=True, strip_accents=True)
    for (text, same), other in zip(PARTED.values(), theirs, strict=True):
        assert ids(tokenizer, text) == ids(tokenizer, same) != other, text


def test_wordpiece_known_ids(tokenizer):
    number = VOCABULARY.index
    expected = ["good", "film", "##s", "!", "a", "cafe", "中", "[UNK]"]
    assert ids(tokenizer, "GOOD films! a Café中zzz") == [2, *map(number, expected), 3]


def test_wordpiece_special_token_in_a_text_is_found_or_not(tokenizer):
    plain = limited(wordpiece_tokenizer(VOCABULARY, find_special_tokens=False))
    number = VOCABULARY.index
    assert ids(tokenizer, "a [SEP] a") == [2, number("a"), 3, number("a"), 3]
    spelled = [number(piece) for piece in ("a", "[", "sep", "]", "a")]
    (theirs,) = keras_nlp_ids(["a [SEP] a"], lowercase=True)
    assert ids(plain, "a [SEP] a") == [2, *spelled, 3] == theirs


@pytest.mark.parametrize(
    "text", ["a" * 10**6, "é" * 500_000, "中" * 333_333, "a\u0301" * 333_333]
)
def test_wordpiece_a_megabyte_is_one_unknown_word_or_is_cut(tokenizer, text):
    assert len(ids(tokenizer, text)) in (3, 512)


TEXTS = ["Good films, good food", "a goodly film", "GOOD! café", "x y z", "fil"] * 20


def test_train_vocabulary_order_of_texts_does_not_matter():
    texts = [f"w{index % 37} word{index % 11} tie{index}é" for index in range(500)]
    shuffled = random.Random(0).sample(texts, len(texts))
    first = train_vocabulary(texts, size=100)
    assert len(first) == 100
    assert first == train_vocabulary(shuffled, size=100)


def test_train_vocabulary_learns_the_pieces_of_the_texts():
    vocabulary = train_vocabulary(TEXTS, size=60)
    assert vocabulary[:5] == list(SPECIAL_TOKENS)
    assert {"good", "film", "cafe", ",", "!", "##m", "x"} <= set(vocabulary)
    assert len(set(vocabulary)) == len(vocabulary) <= 60
    assert not is_cased(vocabulary)
    tokenizer = limited(wordpiece_tokenizer(vocabulary))
    assert 1 not in ids(tokenizer, "Good FILMS, good food a goodly cafe!")


def test_train_vocabulary_many_characters_are_all_kept():
    characters = [chr(0x4E00 + number) for number in range(300)]
    assert set(characters) <= set(train_vocabulary(characters * 2, size=100))


@pytest.mark.parametrize("texts", [[], ["", " \n"]])
def test_train_vocabulary_no_words_raises(texts):
    with pytest.raises(InvalidValueError, match="no word in the texts"):
        train_vocabulary(texts)


def test_train_vocabulary_small_size_raises():
    with pytest.raises(InvalidValueError, match="must be above 5, .* got 5"):
        train_vocabulary(["a"], size=5)


def test_train_vocabulary_other_than_text_raises():
    with pytest.raises(InvalidValueError, match="A text must be a str, got bytes"):
        train_vocabulary([b"a"])


def test_read_vocabulary_line_number_is_the_id(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("[PAD]\r\n[UNK]\n[CLS]\n[SEP]\n\u2028\n\u00a0x\n".encode())
    expected = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2028", "\u00a0x"]
    assert read_vocabulary(path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"with 0 entries lacks \[PAD\], \[UNK\], \[CLS\], \[SEP\]"),
        (b"[PAD]\n[UNK]\n[CLS]\na\n", r"with 4 entries lacks \[SEP\]\. A WordPiece"),
        (b"[PAD]\na\nb\na\n", "the entry 'a' twice, in lines 2 and 4"),
        (b"[PAD]\n\n\n", "the entry '' twice, in lines 2 and 3"),
        (b"\xff\xfe\x00", "cannot be read: .*utf-8"),
    ],
)
def test_read_vocabulary_that_is_none_raises(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidValueError, match=message):
        read_vocabulary(path)


def test_read_vocabulary_missing_file_raises(tmp_path):
    with pytest.raises(
        InvalidValueError, match=r"absent\.txt' cannot be read: .*No su"
    ):
        read_vocabulary(tmp_path / "absent.txt")


def test_is_cased_special_tokens_do_not_count():
    assert not is_cased([*SPECIAL_TOKENS, "[unused1]", "a", "##b", "é"])
    assert is_cased([*SPECIAL_TOKENS, "a", "##É"])


def byte_level():
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    entries = ["<s>", "<pad>", "</s>", "<unk>", *letters, "lm", "ilm", "Ġf", "<mask>"]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    merges = [("l", "m"), ("i", "lm"), ("Ġ", "f")]
    return vocabulary, merges


def test_byte_level_ids_are_keras_nlps():
    import keras_nlp

    vocabulary, merges = byte_level()
    tokenizer = limited(
        byte_level_tokenizer(vocabulary, merges), 20_000, padding_token="<pad>"
    )
    layer = keras_nlp.tokenizers.BytePairTokenizer(
        vocabulary, [" ".join(merge) for merge in merges]
    )
    for name, text in HOSTILE.items():
        theirs = layer([text.encode("utf-8", "replace").decode()])[0]
        assert ids(tokenizer, text) == [0, *theirs, 2], name


def test_byte_level_known_ids_and_padding():
    vocabulary, merges = byte_level()
    tokenizer = limited(byte_level_tokenizer(vocabulary, merges), padding_token="<pad>")
    tokens = tokenize(tokenizer, ["film film<mask>"], ["tokens"])["tokens"][0]
    names = ["<s>", "f", "ilm", "Ġf", "ilm", "<mask>", "</s>", "<pad>"]
    assert tokens.tolist() == [vocabulary[name] for name in names]


@pytest.mark.parametrize("max_length", [2, 0, -1, 17])
def test_check_max_length_out_of_range_raises(max_length):
    with pytest.raises(
        InvalidValueError, match="at least 3 ids, .* at most 16, the pos"
    ):
        check_max_length(max_length, 16)


def test_check_max_length_at_its_limits_passes():
    check_max_length(3, 16)
    check_max_length(16, 16)
    check_max_length(10_000)


def test_set_max_length_too_small_raises(tokenizer):
    with pytest.raises(InvalidValueError, match="at least 3 ids, .* got 2"):
        set_max_length(tokenizer, 2, padding_token="[PAD]")
