"""Word tokenizer: text to a fixed number of word ids, without TensorFlow.

Lower case, `<br />` to a space, ASCII punctuation stripped, split at white space, the
most frequent words of the training texts kept.
"""

from tfcompress.data.tokenizing import encodable
from tfcompress.errors import InvalidValueError

PADDING_ID = 0
UNKNOWN_ID = 1
_PADDING, _UNKNOWN = "[PAD]", "[UNK]"
# All of string.punctuation, as ranges of ASCII.
_PUNCTUATION = r"[!-/:-@\[-`{-~]"


def train_word_tokenizer(texts, *, vocabulary_size=10_000, length=250):
    """Builds the vocabulary of the most frequent words in `texts`.

    Words that are equally frequent are taken in the order of their code points, so that
    the same texts in any order give the same tokenizer.

    Args:
        texts: iterable of `str`: the training split and nothing else.
        vocabulary_size: most ids, `[PAD]` (0) and `[UNK]` (1) included; at least 3.
        length: ids for each text; shorter texts are padded at the end, longer ones cut.
    Returns:
        `tokenizers.Tokenizer` for `tokenize`, which pads every text to `length`.
    Raises:
        InvalidValueError: if a number is too small, or there is no word in `texts`.
    """
    import tokenizers
    from tokenizers import models, trainers

    if vocabulary_size < 3:
        raise InvalidValueError(
            "vocabulary_size must be at least 3 ([PAD], [UNK] and a word), "
            f"got {vocabulary_size!r}."
        )
    # `[PAD]` and `[UNK]` are no added tokens: those would be found in raw text, where
    # "[PAD]" is a word like any other.
    counted = tokenizers.Tokenizer(models.WordLevel())
    _split_at_white_space(counted)
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocabulary_size - 2, min_frequency=1, show_progress=False
    )
    counted.train_from_iterator(map(encodable, texts), trainer)
    words = counted.get_vocab()
    if not words:
        raise InvalidValueError("There is no word in the texts to build a vocabulary.")
    return word_tokenizer(sorted(words, key=words.get), length=length)


def word_tokenizer(words, *, length=250):
    """Makes the word tokenizer of a list of words.

    Args:
        words: sequence of `str`, all different; the first has the id 2.
        length: ids for each text; shorter texts are padded at the end, longer ones cut.
    Returns:
        `tokenizers.Tokenizer` for `tokenize`, which pads every text to `length`.
    Raises:
        InvalidValueError: if `length` is too small.
    """
    import tokenizers
    from tokenizers import models

    if length < 1:
        raise InvalidValueError(f"length must be at least 1 word, got {length!r}.")
    vocabulary = {_PADDING: PADDING_ID, _UNKNOWN: UNKNOWN_ID}
    vocabulary.update({word: number for number, word in enumerate(words, start=2)})
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    _split_at_white_space(tokenizer)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=PADDING_ID, pad_token=_PADDING)
    return tokenizer


def _split_at_white_space(tokenizer):
    """Makes a tokenizer lower the case, strip punctuation and split."""
    import tokenizers
    from tokenizers import normalizers, pre_tokenizers

    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace("<br />", " "),
            normalizers.Replace(tokenizers.Regex(_PUNCTUATION), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
