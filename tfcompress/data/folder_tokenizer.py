"""The tokenizer of a checkpoint's folder, as the checkpoint was trained with it."""

import json
import pathlib

from tfcompress.data.subword_tokenizer import (
    read_vocabulary,
    wordpiece_tokenizer,
)


def read_tokenizer(folder):
    """Reads the tokenizer of a folder in Hugging Face format.

    Args:
        folder: path of the folder: `tokenizer.json`, or `vocab.txt` with the settings
            of `tokenizer_config.json`.
    Returns:
        `(tokenizer, padding token)`: a `tokenizers.Tokenizer` and a `str`.
    Raises:
        ModelFileError: if there is none, or a file is damaged.
    """
    import tokenizers

    folder = pathlib.Path(folder)
    path = folder / "tokenizer.json"
    if path.is_file():
        tokenizer = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        return tokenizer, "[PAD]"
    vocabulary = read_vocabulary(folder / "vocab.txt")
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    tokenizer = wordpiece_tokenizer(
        vocabulary,
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        split_on_cjk=settings.get("tokenize_chinese_chars", True),
    )
    return tokenizer, "[PAD]"
