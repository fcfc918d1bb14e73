"""Subword tokenizers of the BERT family, without TensorFlow.

A tokenizer is a `tokenizers.Tokenizer` with its normalizer, its special tokens and the
length at which it cuts, so that it serves training and, as `tokenizer.json`, artifacts.

    vocabulary = train_vocabulary(texts)  # or read_vocabulary("vocab.txt")
    tokenizer = wordpiece_tokenizer(vocabulary)
    set_max_length(tokenizer, 128, padding_token="[PAD]")
    tokenize(tokenizer, ["A lovely film."], ["token_ids", "padding_mask"])

Source: WordPiece as in BERT (arXiv:1810.04805) and its reference tokenizer.
"""

import pathlib

from tfcompress.data.tokenizing import encodable
from tfcompress.errors import InvalidValueError

PADDING, UNKNOWN, FIRST, LAST, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PADDING, UNKNOWN, FIRST, LAST, MASK)
_BYTE_LEVEL_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_NEEDED = (PADDING, UNKNOWN, FIRST, LAST)
MINIMUM_LENGTH = 3  # the two special tokens of a text and one of its own
# The vocabularies of 100 languages together have 2.5 MB.
MAX_VOCABULARY_BYTES = 64 * 2**20
VOCABULARY_SIZE = 8_000  # as many pieces as a small corpus tells apart


def train_vocabulary(texts, *, size=VOCABULARY_SIZE):
    """Learns a lower-case WordPiece vocabulary from texts.

    The same texts in any order give the same vocabulary.

    Args:
        texts: iterable of `str`: the training split and nothing else.
        size: most entries, the special tokens (`SPECIAL_TOKENS`, ids 0 to 4) included.
            A corpus with more different characters gets as many entries more.
    Returns:
        List of `str`, by id.
    Raises:
        InvalidValueError: if `size` leaves no room beside the special tokens, or there
            is no word in `texts`.
    """
    if size <= len(SPECIAL_TOKENS):
        raise InvalidValueError(
            f"The size of a vocabulary must be above {len(SPECIAL_TOKENS)}, the number "
            f"of special tokens, got {size!r}."
        )
    texts = [encodable(text) for text in texts]
    # The trainer numbers pieces within words in the order of a hash table, and breaks
    # ties by number. The first pass learns the characters alone; given in order, they
    # leave nothing to chance in the second.
    characters = _train(texts, size=1, first=SPECIAL_TOKENS)
    within_words = sorted(entry for entry in characters if entry.startswith("##"))
    ids = _train(texts, size=size, first=[*SPECIAL_TOKENS, *within_words])
    if len(ids) == len(SPECIAL_TOKENS):
        raise InvalidValueError("There is no word in the texts to build a vocabulary.")
    return sorted(ids, key=ids.get)


def _train(texts, *, size, first):
    """Returns entry -> id: the entries of `first`, the characters, then merges."""
    import tokenizers
    from tokenizers import models, trainers

    trained = tokenizers.Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    trained.normalizer, trained.pre_tokenizer = _normalizing(lowercase=True)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=list(first),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    return trained.get_vocab()


def read_vocabulary(path):
    """Reads a `vocab.txt`: UTF-8, an entry a line, whose number is the id.

    Args:
        path: path of the file.
    Returns:
        List of `str`, by id.
    Raises:
        InvalidValueError: if the file cannot be read as text or is no vocabulary.
    """
    vocabulary = read_entries(path)
    check_vocabulary(vocabulary, where=str(path))
    return vocabulary


def read_entries(path):
    """Reads a text file with an entry a line, whatever the entries are.

    Args:
        path: path of the file, UTF-8.
    Returns:
        List of `str`.
    Raises:
        InvalidValueError: if the file cannot be read as text.
    """
    path = pathlib.Path(path)
    try:
        if (size := path.stat().st_size) > MAX_VOCABULARY_BYTES:
            raise ValueError(
                f"it has {size:,} bytes, and at most {MAX_VOCABULARY_BYTES:,} are read"
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidValueError(
            f"The vocabulary {str(path)!r} cannot be read: {error}. Give a text file "
            "(UTF-8) with an entry a line."
        ) from error
    # only "\n" ends a line: other separators, such as U+2028, are entries themselves
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.removesuffix("\r") for line in lines]


def check_vocabulary(vocabulary, *, where):
    """Raises `InvalidValueError` unless `vocabulary` is one of BERT's kind.

    Args:
        vocabulary: list of `str`, by id.
        where: what to call it in the message.
    """
    ids = {}
    for number, entry in enumerate(vocabulary):
        if entry in ids:
            raise InvalidValueError(
                f"The vocabulary {where!r} has the entry {entry!r} twice, in lines "
                f"{ids[entry] + 1} and {number + 1}. Each entry is one id."
            )
        ids[entry] = number
    missing = [token for token in _NEEDED if token not in ids]
    if missing:
        raise InvalidValueError(
            f"The vocabulary {where!r} with {len(vocabulary)} entries lacks "
            f"{', '.join(missing)}. A WordPiece vocabulary has an entry a line and the "
            f"special tokens {', '.join(_NEEDED)} among them."
        )


def is_cased(vocabulary):
    """Whether a vocabulary has capital letters in entries that are not special.

    >>> is_cased(["[UNK]", "film", "##s"]), is_cased(["[UNK]", "Film"])
    (False, True)
    """
    return any(
        entry != entry.lower()
        for entry in vocabulary
        if not (entry.startswith("[") and entry.endswith("]"))
    )


def wordpiece_tokenizer(
    vocabulary,
    *,
    lowercase=True,
    strip_accents=None,
    split_on_cjk=True,
    find_special_tokens=True,
):
    """Builds BERT's tokenizer from its vocabulary.

    Args:
        vocabulary: list of `str`, by id, with `[PAD]`, `[UNK]`, `[CLS]` and `[SEP]`.
        lowercase: whether the text is turned to lower case.
        strip_accents: whether combining accents are dropped; None does as `lowercase`
            does, which is what BERT did.
        split_on_cjk: whether each CJK ideograph is a word of its own.
        find_special_tokens: whether a text that spells out "[SEP]" holds that token,
            as in the reference, or ordinary characters, as in keras-nlp.
    Returns:
        `tokenizers.Tokenizer` that gives `[CLS] text [SEP]`; `set_max_length` has to
        be called before `tokenize` takes it.
    """
    import tokenizers
    from tokenizers import decoders, models, processors

    ids = {entry: number for number, entry in enumerate(vocabulary)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _normalizing(
        lowercase=lowercase,
        strip_accents=strip_accents,
        handle_chinese_chars=split_on_cjk,
    )
    first, last = (FIRST, ids[FIRST]), (LAST, ids[LAST])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{FIRST}:0 $A:0 {LAST}:0",
        pair=f"{FIRST}:0 $A:0 {LAST}:0 $B:1 {LAST}:1",
        special_tokens=[first, last],
    )
    tokenizer.decoder = decoders.WordPiece()
    if find_special_tokens:
        tokenizer.add_special_tokens([key for key in SPECIAL_TOKENS if key in ids])
    return tokenizer


def byte_level_tokenizer(vocabulary, merges, *, add_prefix_space=False):
    """Builds RoBERTa's tokenizer, a byte-level BPE, from its vocabulary.

    Args:
        vocabulary: dict of entry -> id, with `<s>`, `</s>`, `<pad>` and `<unk>`.
        merges: list of pairs of `str`, the most frequent first.
        add_prefix_space: whether the first word is taken as one within a sentence.
    Returns:
        `tokenizers.Tokenizer` that gives `<s> text </s>`; `set_max_length` has to be
        called before `tokenize` takes it.
    Raises:
        Exception: if a merge or a special token is not in the vocabulary; `tokenizers`
            raises nothing more special.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors

    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=add_prefix_space
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s>:0 $A:0 </s>:0",
        pair="<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0",
        special_tokens=[(token, vocabulary.get(token)) for token in ("<s>", "</s>")],
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [key for key in _BYTE_LEVEL_SPECIAL if key in vocabulary]
    tokenizer.add_special_tokens(special)
    if "<mask>" in vocabulary:  # it takes the space before it
        mask = tokenizers.AddedToken("<mask>", lstrip=True, special=True)
        tokenizer.add_special_tokens([mask])
    return tokenizer


def set_max_length(tokenizer, max_length, *, padding_token):
    """Makes a tokenizer cut at `max_length` ids and pad as far as needed.

    Replaces what its file said about both.

    Args:
        tokenizer: `tokenizers.Tokenizer`, changed.
        max_length: most ids of a text, special tokens included; at least 3.
        padding_token: entry that pads, such as "[PAD]".
    Raises:
        InvalidValueError: if `max_length` is below 3.
    """
    check_max_length(max_length)
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(
        pad_id=tokenizer.token_to_id(padding_token), pad_token=padding_token
    )


def check_max_length(max_length, positions=None):
    """Raises `InvalidValueError` unless texts can have `max_length` ids.

    Args:
        max_length: most ids of a text.
        positions: rows of the model's position table; None for no limit.
    """
    limit = positions if positions is not None else max_length
    if not MINIMUM_LENGTH <= max_length <= limit:
        above = "" if positions is None else f" and at most {positions}, the positions"
        raise InvalidValueError(
            f"max_length must be at least {MINIMUM_LENGTH} ids, the two special tokens "
            f"included,{above} that the model knows, got {max_length!r}."
        )


def _normalizing(*, lowercase, strip_accents=None, handle_chinese_chars=True):
    from tokenizers import normalizers, pre_tokenizers

    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=handle_chinese_chars,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    return normalizer, pre_tokenizers.BertPreTokenizer()
