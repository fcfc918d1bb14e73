"""The tokenizer of a user's own text model, from the file that holds its vocabulary."""

import pathlib

from tfcompress.data.folder_tokenizer import (
    find_padding_token,
    parse_tokenizer,
    read_tokenizer,
)
from tfcompress.data.subword_tokenizer import (
    FIRST,
    PADDING,
    read_entries,
    read_vocabulary,
    set_max_length,
    wordpiece_tokenizer,
)
from tfcompress.data.word_tokenizer import word_tokenizer
from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.foreign import foreign_errors
from tfcompress.limits import shown

# How Keras's TextVectorization begins its vocabulary: padding, then unknown words.
_HEADS = (["", "[UNK]"], ["[PAD]", "[UNK]"])


def tokenizer_from_file(path, max_length):
    """Reads a tokenizer and makes it cut and pad.

    Args:
        path: path of a `tokenizer.json` of Hugging Face, of a folder of a checkpoint,
            or of a text file with an entry a line: a WordPiece vocabulary, told by its
            `[CLS]`, or the words of `TextVectorization.get_vocabulary()`, whose first
            two are the empty one and `[UNK]`.
        max_length: ids of a text: the most of a subword tokenizer; to which texts are
            padded with a list of words.
    Returns:
        `tokenizers.Tokenizer` for `tokenize`.
    Raises:
        InvalidValueError: if the file is missing or no vocabulary.
        ModelFileError: if a `tokenizer.json` is damaged.
    """
    path = pathlib.Path(path)

    def damaged(reason):
        return ModelFileError(
            f"{str(path)!r} cannot be used as a tokenizer: {reason}. Copy it again."
        )

    with foreign_errors(damaged):
        return _read(path, max_length)


def _read(path, max_length):
    if not path.exists():
        raise InvalidValueError(
            f"There is no vocabulary {str(path)!r}. Name a tokenizer.json, the folder "
            "of a checkpoint, or a text file with an entry a line."
        )
    if path.is_dir():
        tokenizer, padding = read_tokenizer(path)
    elif path.suffix == ".json":
        tokenizer = parse_tokenizer(path)
        padding = (tokenizer.padding or {}).get("pad_token")
        padding = padding or find_padding_token(path.parent, tokenizer)
    else:
        lines = read_entries(path)
        if FIRST not in lines:
            return word_tokenizer(_words(path, lines), length=max_length)
        tokenizer, padding = wordpiece_tokenizer(read_vocabulary(path)), PADDING
    set_max_length(tokenizer, max_length, padding_token=padding)
    return tokenizer


def _words(path, lines):
    if lines[:2] not in _HEADS:
        raise InvalidValueError(
            f"The vocabulary {str(path)!r} begins with {shown(lines[:2])}. A list "
            "of words begins with an empty line and '[UNK]', as TextVectorization's "
            "get_vocabulary() does; a WordPiece vocabulary has '[CLS]' in it."
        )
    words = lines[2:]
    first = {}
    for number, word in enumerate(words, start=len(lines) - len(words) + 1):
        if word in first:
            raise InvalidValueError(
                f"The vocabulary {str(path)!r} has the word {shown(word)} twice, in "
                f"lines {first[word]} and {number}."
            )
        first[word] = number
    return words
