"""Presets: the tokenizer and the network of one place, and what cannot be one."""

import pytest

from tfcompress.data import tokenize
from tfcompress.data.subword_tokenizer import train_vocabulary
from tfcompress.errors import InvalidValueError, ModelFileError, UnsupportedModelError
from tfcompress.models import load_preset, preset_tokenizer

TEXTS = ["A good film", "a bad film", "good, bad, films"] * 5


def ids(tokenizer, text):
    return tokenize(tokenizer, [text], ["tokens"], length=5)["tokens"][0].tolist()


def test_load_preset_random_learns_its_vocabulary_from_texts():
    preset = load_preset("random:tiny", texts=TEXTS)
    assert preset.vocabulary == train_vocabulary(TEXTS)
    assert preset.vocabulary_size == len(preset.vocabulary)
    assert preset.positions == 512
    first, good, film, last, padding = ids(preset.tokenizer(8), "GOOD film")
    assert [preset.vocabulary[good], preset.vocabulary[film]] == ["good", "film"]
    assert (first, last, padding) == (2, 3, 0)


def test_load_preset_random_takes_a_vocabulary_file_or_its_entries(tmp_path):
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good"]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(entries))
    for vocabulary in (entries, path, str(path)):
        preset = load_preset("random:base", vocabulary=vocabulary, texts=TEXTS)
        assert preset.vocabulary == entries
    tokenizer = preset_tokenizer("random:tiny", 5, vocabulary=path)
    assert ids(tokenizer, "Góod zz") == [2, 4, 1, 3, 0]


def test_load_preset_random_with_capitals_is_cased():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Good", "é"]
    tokenizer = preset_tokenizer("random:tiny", vocabulary=vocabulary)
    assert ids(tokenizer, "Good good é") == [2, 4, 1, 5, 3]


def test_load_preset_folder_without_settings_is_as_its_vocabulary(checkpoint):
    assert ids(preset_tokenizer(str(checkpoint), 8), "GOOD Films") == [2, 5, 7, 8, 3]


def test_tokenizer_has_our_length_and_padding(checkpoint):
    preset = load_preset(str(checkpoint))
    stored = preset.tokenizer(4)
    stored.enable_padding(length=4)
    stored.save(str(checkpoint / "tokenizer.json"))
    tokenizer = load_preset(str(checkpoint)).tokenizer(16)
    arrays = tokenize(tokenizer, ["good " * 9], ["tokens"])
    assert arrays["tokens"].tolist() == [[2, *[5] * 9, 3, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("max_length", [2, 17, 512])
def test_max_length_beyond_the_position_table_raises(checkpoint, max_length):
    preset = load_preset(str(checkpoint))
    message = f"at least 3 ids, .* at most 16, the positions .* got {max_length}"
    with pytest.raises(InvalidValueError, match=message):
        preset.tokenizer(max_length)
    with pytest.raises(InvalidValueError, match=message):
        preset.build_classifier(2, max_length)


@pytest.mark.parametrize("num_classes", [0, 1, -3])
def test_build_classifier_fewer_than_two_classes_raises(checkpoint, num_classes):
    with pytest.raises(InvalidValueError, match=f"at least 2, got {num_classes}"):
        load_preset(str(checkpoint)).build_classifier(num_classes, 8)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_build_classifier_dropout_out_of_range_raises(checkpoint, dropout):
    with pytest.raises(
        InvalidValueError, match=rf"fraction in \[0, 1\), got {dropout}"
    ):
        load_preset(str(checkpoint)).build_classifier(2, 8, dropout=dropout)


@pytest.mark.parametrize("preset", ["random:", "random:huge", "random:Tiny"])
def test_load_preset_unknown_size_raises(preset):
    with pytest.raises(
        InvalidValueError,
        match=f"{preset}' is of an unknown size; choose one of random:tiny, rando",
    ):
        load_preset(preset, texts=TEXTS)


def test_load_preset_random_without_vocabulary_raises():
    with pytest.raises(
        InvalidValueError, match=r"give vocabulary, a vocab\.txt or the"
    ):
        load_preset("random:tiny")


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], r"'given as a list' with 0 entries lacks \[PAD\]"),
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[PAD]"], r"entry '\[PAD\]' twice"),
    ],
)
def test_load_preset_random_with_a_bad_vocabulary_raises(vocabulary, message):
    with pytest.raises(InvalidValueError, match=message):
        load_preset("random:tiny", vocabulary=vocabulary)


def test_load_preset_folder_with_a_vocabulary_raises(checkpoint):
    with pytest.raises(InvalidValueError, match="has a vocabulary of its own; vocab"):
        load_preset(str(checkpoint), vocabulary=["a"])


@pytest.mark.parametrize("preset", ["", "absent", "./absent", "gs://bucket/model"])
def test_load_preset_that_does_not_exist_raises(preset):
    with pytest.raises(
        InvalidValueError, match="no preset .* Give a folder, random:ti"
    ):
        load_preset(preset)


def test_load_preset_misspelt_name_raises_with_the_closest():
    with pytest.raises(InvalidValueError, match="closest .* are bert_tiny_en_uncased"):
        load_preset("bert_tiny_en_uncase")


@pytest.mark.parametrize(
    "preset",
    ["hf://user/model", "kaggle://keras/bert/keras/bert_x/1", "bert_tiny_en_uncased"],
)
def test_load_preset_without_a_network_raises(monkeypatch, tmp_path, preset):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(
        InvalidValueError, match=r"cannot be had: .* cannot be reached \(.*random:tiny"
    ):
        load_preset(preset)


def test_load_preset_kaggle_handle_of_another_form_raises():
    with pytest.raises(InvalidValueError, match="must have the form kaggle://user/mod"):
        load_preset("kaggle://keras/bert")


def test_load_preset_tokenizer_json_unlike_vocab_txt_raises(checkpoint):
    load_preset(str(checkpoint)).tokenizer(8).save(str(checkpoint / "tokenizer.json"))
    load_preset(str(checkpoint))
    path = checkpoint / "vocab.txt"
    path.write_text(path.read_text().replace("bad", "sad"))
    with pytest.raises(
        ModelFileError, match="'bad' has the id 6 in the first and None in the second"
    ):
        load_preset(str(checkpoint))


@pytest.mark.parametrize("content", ["", "{}", '{"model": {}}'])
def test_load_preset_damaged_tokenizer_json_raises(checkpoint, content):
    (checkpoint / "tokenizer.json").write_text(content)
    with pytest.raises(
        ModelFileError, match=r"tokenizer\.json' cannot be (read|used) as"
    ):
        load_preset(str(checkpoint))


def test_load_preset_sentencepiece_raises(checkpoint):
    (checkpoint / "vocab.txt").rename(checkpoint / "spiece.model")
    with pytest.raises(UnsupportedModelError, match="SentencePiece .*'tokenizer.json'"):
        load_preset(str(checkpoint))


def test_load_preset_without_tokenizer_raises(checkpoint):
    (checkpoint / "vocab.txt").unlink()
    with pytest.raises(
        ModelFileError, match=r"no tokenizer: it needs 'tokenizer\.json'"
    ):
        load_preset(str(checkpoint))


def test_load_preset_tokenizer_without_special_tokens_raises(checkpoint):
    import tokenizers

    entries = {"[PAD]": 0, "[UNK]": 1}
    model = tokenizers.models.WordLevel(entries, unk_token="[UNK]")
    tokenizers.Tokenizer(model).save(str(checkpoint / "tokenizer.json"))
    with pytest.raises(ModelFileError, match=r"adds no special token such as \[CLS\]"):
        load_preset(str(checkpoint))
