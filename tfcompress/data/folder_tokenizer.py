"""The tokenizer of a checkpoint's folder: that with which the checkpoint was trained.

Hugging Face format: `tokenizer.json` as it is; without it `vocab.txt` (WordPiece) or
`vocab.json` and `merges.txt` (byte-level BPE), with `tokenizer_config.json`'s settings.
Keras format: `assets/tokenizer/` with the settings in Keras's own `tokenizer.json`.
SentencePiece models are read through Hugging Face's `tokenizer.json` alone.
"""

import pathlib

from tfcompress import limits
from tfcompress.data.subword_tokenizer import (
    byte_level_tokenizer,
    is_cased,
    read_vocabulary,
    wordpiece_tokenizer,
)
from tfcompress.errors import ModelFileError, UnsupportedModelError
from tfcompress.foreign import foreign_errors, reason_of

_PADDING_TOKENS = ("[PAD]", "<pad>")
_ASSETS = pathlib.PurePath("assets", "tokenizer")


def read_tokenizer(folder):
    """Reads the tokenizer of a checkpoint's folder.

    Args:
        folder: path of a folder in Hugging Face or Keras format.
    Returns:
        `(tokenizer, padding token)`: a `tokenizers.Tokenizer` and a `str`.
    Raises:
        ModelFileError: if there is none, a file is damaged, or `tokenizer.json` and
            `vocab.txt` have different vocabularies.
        UnsupportedModelError: if it is a SentencePiece model without the
            `tokenizer.json` of Hugging Face, or of a kind that is not known.
    """
    folder = pathlib.Path(folder)
    with foreign_errors(lambda reason: _damaged(folder, reason)):
        return _read_tokenizer(folder)


def _read_tokenizer(folder):
    path = folder / "tokenizer.json"
    settings = read_json(path) if path.is_file() else {}
    if "class_name" in settings:
        tokenizer = _from_keras(folder, settings)
    elif path.is_file():
        tokenizer = parse_tokenizer(path)
        _check_same_vocabulary(folder, tokenizer, settings)
    else:
        tokenizer = _from_vocabulary(folder)
    if not tokenizer.num_special_tokens_to_add(False):
        raise ModelFileError(
            f"The tokenizer in {str(folder)!r} adds no special token such as [CLS] to "
            "a text, and a classifier reads its result there. Take the tokenizer.json "
            "that belongs to the encoder."
        )
    return tokenizer, find_padding_token(folder, tokenizer)


def read_json(path):
    """Reads a JSON object.

    Args:
        path: `pathlib.Path` of the file.
    Returns:
        Its `dict`.
    Raises:
        ModelFileError: if it cannot be read or is no JSON object.
    """
    try:
        value = limits.read_json(path)
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"{str(path)!r} cannot be read as JSON: {error}. Copy it again."
        ) from error
    if not isinstance(value, dict):
        raise ModelFileError(
            f"{str(path)!r} must hold a JSON object, it holds a "
            f"{type(value).__name__}. Copy it again."
        )
    return value


def parse_tokenizer(path):
    """Reads a `tokenizer.json` of Hugging Face.

    Args:
        path: `pathlib.Path` of the file.
    Returns:
        `tokenizers.Tokenizer`.
    Raises:
        ModelFileError: if it is damaged.
    """
    import tokenizers

    read_json(path)  # of bounded size and depth, no key twice
    with foreign_errors(lambda reason: _damaged(path, reason)):
        return tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))


def _damaged(path, reason):
    return ModelFileError(
        f"{str(path)!r} cannot be used as a tokenizer: {reason}. Copy it again."
    )


def _check_same_vocabulary(folder, tokenizer, settings):
    """Raises where two files differ that should say the same: one is a stranger."""
    path = folder / "vocab.txt"
    is_wordpiece = settings.get("model", {}).get("type") == "WordPiece"
    if not path.is_file() or not is_wordpiece:
        return
    listed = {entry: number for number, entry in enumerate(read_vocabulary(path))}
    own = tokenizer.get_vocab(with_added_tokens=False)
    if listed == own:
        return
    entry = min(entry for entry, _ in listed.items() ^ own.items())
    raise ModelFileError(
        f"'tokenizer.json' and 'vocab.txt' in {str(folder)!r} have different "
        f"vocabularies: {entry!r} has the id {own.get(entry)} in the first and "
        f"{listed.get(entry)} in the second. Remove the one that is not the model's."
    )


def _from_vocabulary(folder):
    """Builds the tokenizer of a Hugging Face folder without `tokenizer.json`."""
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    if (folder / "vocab.txt").is_file():
        vocabulary = read_vocabulary(folder / "vocab.txt")
        return wordpiece_tokenizer(
            vocabulary,
            lowercase=settings.get("do_lower_case", not is_cased(vocabulary)),
            strip_accents=settings.get("strip_accents"),
            split_on_cjk=settings.get("tokenize_chinese_chars", True),
        )
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        has_prefix = settings.get("add_prefix_space", False)
        return _read_byte_level(folder, "vocab.json", has_prefix)
    sentencepiece = sorted(folder.glob("*.model"))
    if sentencepiece:
        raise _needs_tokenizer_json(sentencepiece[0])
    raise ModelFileError(
        f"{str(folder)!r} has no tokenizer: it needs 'tokenizer.json', 'vocab.txt', or "
        "'vocab.json' and 'merges.txt'."
    )


def _from_keras(folder, settings):
    """Builds the tokenizer of a folder in Keras format."""
    assets = folder / _ASSETS
    config = settings.get("config", {})
    if (assets / "vocabulary.txt").is_file():
        changed = [
            key
            for key, usual in (("split", True), ("suffix_indicator", "##"))
            if config.get(key, usual) != usual
        ]
        if changed:
            raise UnsupportedModelError(
                f"The tokenizer in {str(folder)!r} has an unusual {changed[0]!r}, "
                f"{config[changed[0]]!r}; only BERT's own WordPiece is supported."
            )
        return wordpiece_tokenizer(
            read_vocabulary(assets / "vocabulary.txt"),
            lowercase=config.get("lowercase", False),
            strip_accents=config.get("strip_accents", False),
            split_on_cjk=config.get("split_on_cjk", True),
            find_special_tokens=config.get("special_tokens_in_strings", False),
        )
    if (assets / "vocabulary.json").is_file() and (assets / "merges.txt").is_file():
        has_prefix = config.get("add_prefix_space", False)
        return _read_byte_level(assets, "vocabulary.json", has_prefix)
    if (assets / "vocabulary.spm").is_file():
        raise _needs_tokenizer_json(assets / "vocabulary.spm")
    raise ModelFileError(
        f"{str(folder)!r} has no vocabulary: it needs 'vocabulary.txt', or "
        f"'vocabulary.json' and 'merges.txt', in {str(_ASSETS)!r}."
    )


def _needs_tokenizer_json(path):
    return UnsupportedModelError(
        f"{str(path)!r} is a SentencePiece model, which is not read. Take the "
        "checkpoint's folder in Hugging Face format with its 'tokenizer.json'."
    )


def _read_byte_level(folder, vocabulary_name, add_prefix_space):
    vocabulary = read_json(folder / vocabulary_name)
    path = folder / "merges.txt"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, reason_of(error)) from error
    merges = [
        tuple(line.split(" "))
        for line in lines
        if line and not line.startswith("#version")
    ]
    with foreign_errors(lambda reason: _damaged(path, reason)):
        return byte_level_tokenizer(
            vocabulary, merges, add_prefix_space=add_prefix_space
        )


def find_padding_token(folder, tokenizer):
    """Finds the token that pads: as the settings say, else the usual one.

    Args:
        folder: `pathlib.Path` of the folder with the settings.
        tokenizer: `tokenizers.Tokenizer`.
    Raises:
        ModelFileError: if there is none.
    """
    candidates = []
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        token = read_json(path).get("pad_token") if path.is_file() else None
        candidates.append(token.get("content") if isinstance(token, dict) else token)
    for token in (*candidates, *_PADDING_TOKENS):
        if token is not None and tokenizer.token_to_id(token) is not None:
            return token
    raise ModelFileError(
        f"The tokenizer in {str(folder)!r} has no padding token; it should be "
        f"{' or '.join(_PADDING_TOKENS)}, or be named in 'tokenizer_config.json'."
    )
