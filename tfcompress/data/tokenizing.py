"""Texts into the arrays that a model takes, without TensorFlow.

The same `tokenizers` object is used in training and, saved as `tokenizer.json`, in an
artifact. It carries the most ids of a text (its truncation) and how shorter texts are
padded: always to one length, which is the word tokenizer's way, or only as far as
needed, which is that of the tokenizers of `subword_tokenizer`.

Example:

>>> from tfcompress.data.word_tokenizer import train_word_tokenizer
>>> tokenizer = train_word_tokenizer(["Good, good film!"], vocabulary_size=4, length=5)
>>> tokenize(tokenizer, ["A good film.<br />"], ["tokens"])["tokens"].tolist()
[[1, 2, 3, 0, 0]]
"""

import copy
from collections.abc import Mapping

import numpy as np

from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.foreign import foreign_errors

LENGTH_MULTIPLE = 8  # free lengths are rounded up to it: few shapes, aligned rows
# What an input of a model is called -> the attribute of an encoding that it takes.
_ATTRIBUTES = {
    "tokens": "ids",
    "token_ids": "ids",
    "padding_mask": "attention_mask",
    "segment_ids": "type_ids",
}
# Texts that are encoded at once: enough for all cores, few enough to stay small.
_CHUNK_SIZE = 1_000


def tokenize(tokenizer, texts, names, *, length=None):
    """Turns texts into ids, special tokens included where the tokenizer adds them.

    Args:
        tokenizer: `tokenizers.Tokenizer` that truncates and pads at the end.
        texts: sequence of `str`; any text is taken, lone surrogates become "?".
        names: inputs of the model, or a mapping of them to the dtypes that the model
            asks for; int32 where no dtype is given. "tokens" and "token_ids" are the
            ids, "padding_mask" is 1 for an id of the text and 0 for padding,
            "segment_ids" are the type ids (0 for one text and for padding).
        length: ids of each text: shorter texts are padded to it, longer ones are cut
            and keep their special tokens. None takes the one length to which the
            tokenizer pads; if it has none, that of the longest of these texts, rounded
            up to a multiple of 8, but no more than the truncation allows.
    Returns:
        Dict of name -> array, int32 if not asked otherwise, shape
        `(len(texts), length)`.
    Raises:
        ModelFileError: if the tokenizer cannot turn a text into ids: it is damaged.
        InvalidValueError: if `texts` is one `str`, holds something else than `str`, a
            name is unknown, the tokenizer does not truncate and pad, or `length` is
            beyond its truncation.
    """
    _check_names(names)
    if isinstance(texts, str | bytes):
        raise InvalidValueError(
            f"tokenize takes a list of texts, got one {type(texts).__name__}. "
            "Write [text]."
        )
    tokenizer, length = _with_length(tokenizer, length)
    attributes = {_ATTRIBUTES[name] for name in names}
    chunks = {attribute: [] for attribute in attributes}
    for start in range(0, len(texts), _CHUNK_SIZE):
        chunk = [encodable(text) for text in texts[start : start + _CHUNK_SIZE]]
        with foreign_errors(_unusable):
            encodings = tokenizer.encode_batch_fast(chunk)
            for attribute in attributes:
                rows = [getattr(encoding, attribute) for encoding in encodings]
                chunks[attribute].append(np.array(rows, dtype=np.int32))
    if length is None:
        length = _shared_length(tokenizer, chunks)
    padding = tokenizer.padding
    fill = {"ids": padding["pad_id"], "type_ids": padding["pad_type_id"]}
    dtypes = names if isinstance(names, Mapping) else {}
    return {
        name: _stack(
            chunks[attribute],
            length,
            fill.get(attribute, 0),
            dtypes.get(name, "int32"),
        )
        for name, attribute in _ATTRIBUTES.items()
        if name in names
    }


def encodable(text):
    """Returns `text` without what UTF-8, and so the tokenizer, cannot hold.

    Raises:
        InvalidValueError: if it is no `str`.

    >>> encodable("caf\\u00e9 \\ud800")
    'café ?'
    """
    if not isinstance(text, str):
        raise InvalidValueError(f"A text must be a str, got {type(text).__name__}.")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _unusable(reason):
    return ModelFileError(
        f"The tokenizer cannot turn these texts into ids: {reason}. Its file is "
        "damaged, or of another vocabulary; copy or make it again."
    )


def _check_names(names):
    for name in names:
        if name not in _ATTRIBUTES:
            raise InvalidValueError(
                f"There is no way to make the input {name!r} of a text; the inputs of "
                f"a text model are called {', '.join(map(repr, _ATTRIBUTES))}."
            )


def _with_length(tokenizer, length):
    """Returns a tokenizer that pads and truncates as asked, and the length or None."""
    padding, truncation = tokenizer.padding, tokenizer.truncation
    if not padding or not truncation or padding["direction"] != "right":
        raise InvalidValueError(
            "The tokenizer does not truncate and pad at the end. Call its "
            "enable_padding() and enable_truncation(max_length) first."
        )
    longest = truncation["max_length"]
    if length is None:
        return tokenizer, padding["length"]
    if not 1 <= length <= longest:
        raise InvalidValueError(
            f"length must be in 1..{longest}, which is where the tokenizer cuts a "
            f"text, got {length!r}."
        )
    if padding["length"] != length and (padding["length"] or length < longest):
        # the caller's object, which another thread may be using, stays as it is
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(**{**padding, "length": None})
    return tokenizer, length


def _shared_length(tokenizer, chunks):
    """Returns the length of the longest chunk, rounded up within the truncation."""
    arrays = next(iter(chunks.values()), [])
    longest = max((array.shape[1] for array in arrays), default=1)
    rounded = -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    return min(rounded, tokenizer.truncation["max_length"])


def _stack(arrays, length, fill, dtype):
    stacked = np.full((sum(map(len, arrays)), length), fill, dtype=dtype)
    start = 0
    for array in arrays:
        stacked[start : start + len(array), : array.shape[1]] = array
        start += len(array)
    return stacked
