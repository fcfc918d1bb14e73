"""Arrays of subword ids worked out by hand: names, lengths, padding."""

import numpy as np
import pytest

from tfcompress.data import tokenize
from tfcompress.data.subword_tokenizer import set_max_length, wordpiece_tokenizer
from tfcompress.data.word_tokenizer import train_word_tokenizer
from tfcompress.errors import InvalidValueError

NAMES = ["token_ids", "padding_mask", "segment_ids"]


@pytest.fixture
def tokenizer():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##c"]
    tokenizer = wordpiece_tokenizer(vocabulary)
    set_max_length(tokenizer, 12, padding_token="[PAD]")
    return tokenizer


def ids(tokenizer, *texts, length=None):
    return tokenize(tokenizer, texts, ["tokens"], length=length)["tokens"].tolist()


def test_tokenize_gives_ids_mask_and_segments(tokenizer):
    arrays = tokenize(tokenizer, ["bc a", ""], NAMES, length=6)
    assert arrays["token_ids"].tolist() == [[2, 5, 6, 4, 3, 0], [2, 3, 0, 0, 0, 0]]
    assert arrays["padding_mask"].tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0]]
    assert arrays["segment_ids"].tolist() == [[0] * 6] * 2
    assert {str(array.dtype) for array in arrays.values()} == {"int32"}


def test_tokenize_gives_the_names_that_were_asked_for(tokenizer):
    assert list(tokenize(tokenizer, ["a"], ["padding_mask"])) == ["padding_mask"]


@pytest.mark.parametrize(("words", "length"), [(0, 8), (6, 8), (7, 12), (50, 12)])
def test_tokenize_free_length_is_rounded_up_within_the_truncation(
    tokenizer, words, length
):
    texts = ["a", "a " * words]
    assert tokenize(tokenizer, texts, NAMES)["token_ids"].shape == (2, length)


def test_tokenize_free_length_holds_for_all_chunks(tokenizer):
    texts = ["a"] * 1_500 + ["a " * 8] + ["b"]
    rows = ids(tokenizer, *texts)
    assert rows[0] == rows[1_499] == [2, 4, 3] + [0] * 9
    assert rows[1_500] == [2, *[4] * 8, 3, 0, 0]
    assert rows[1_501] == [2, 5, 3] + [0] * 9


def test_tokenize_longer_text_keeps_its_special_tokens(tokenizer):
    assert ids(tokenizer, "a b " * 9) == [[2, *[4, 5] * 5, 3]]
    assert ids(tokenizer, "a b a b", length=4) == [[2, 4, 5, 3]]


def test_tokenize_leaves_the_tokenizer_as_it_was(tokenizer):
    before = tokenizer.to_str()
    ids(tokenizer, "a b", length=3)
    assert tokenizer.to_str() == before


def test_tokenize_padding_to_one_length_may_be_overruled(tokenizer):
    tokenizer.enable_padding(length=12)
    assert len(ids(tokenizer, "a")[0]) == 12
    assert ids(tokenizer, "a", length=4) == [[2, 4, 3, 0]]


def test_tokenize_pads_with_the_tokenizers_own_id():
    tokenizer = wordpiece_tokenizer(["[UNK]", "[CLS]", "[SEP]", "a", "[PAD]"])
    set_max_length(tokenizer, 8, padding_token="[PAD]")
    assert ids(tokenizer, "a", length=5) == [[1, 3, 2, 4, 4]]


def test_tokenize_no_texts_gives_no_rows(tokenizer):
    assert tokenize(tokenizer, [], NAMES)["token_ids"].shape == (0, 8)


def test_tokenize_lone_surrogate_is_a_question_mark(tokenizer):
    assert ids(tokenizer, "a\ud800 a", length=6) == ids(tokenizer, "a? a", length=6)


@pytest.mark.parametrize("length", [0, 13])
def test_tokenize_length_beyond_the_truncation_raises(tokenizer, length):
    with pytest.raises(InvalidValueError, match=rf"in 1\.\.12, .* got {length}"):
        ids(tokenizer, "a", length=length)


def test_tokenize_unknown_name_raises(tokenizer):
    with pytest.raises(InvalidValueError, match="the input 'image' of a text; .*'tok"):
        tokenize(tokenizer, ["a"], ["image"])


def test_tokenize_padding_at_the_start_raises(tokenizer):
    tokenizer.enable_padding(direction="left")
    with pytest.raises(InvalidValueError, match="does not truncate and pad at the end"):
        ids(tokenizer, "a")


def test_tokenize_gives_the_dtype_that_a_model_asks_for():
    tokenizer = train_word_tokenizer(["good film"], vocabulary_size=4, length=3)
    asked = {"tokens": "int64", "padding_mask": "float32"}
    arrays = tokenize(tokenizer, ["good"], asked)
    assert {name: array.dtype.name for name, array in arrays.items()} == asked
    plain = tokenize(tokenizer, ["good"], list(asked))
    for name, array in plain.items():
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, arrays[name])
