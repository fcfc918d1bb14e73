"""Presets: where the tokenizer and the network of a text classifier come from.

Both come from one place, so that they fit each other:

    preset = load_preset("random:tiny", texts=train_texts)  # or a folder, or a handle
    tokenizer = preset.tokenizer(max_length=128)
    model = preset.build_classifier(num_classes=3, max_length=128, seed=0)
"""

import difflib
import os
import pathlib
from collections.abc import Iterable

from tfcompress.data.folder_tokenizer import read_tokenizer
from tfcompress.data.subword_tokenizer import (
    PADDING,
    check_max_length,
    check_vocabulary,
    is_cased,
    read_vocabulary,
    set_max_length,
    train_vocabulary,
    wordpiece_tokenizer,
)
from tfcompress.errors import InvalidValueError, ModelFileError, require
from tfcompress.models.backbones import (
    RANDOM_POSITIONS,
    RANDOM_SHAPES,
    add_head,
    check_num_classes,
    random_backbone,
)
from tfcompress.models.preset_download import HUGGING_FACE, KAGGLE, fetch
from tfcompress.models.preset_folder import FAMILIES, read_checkpoint

RANDOM = "random:"
# How keras-nlp's names for the families begin.
_NAME_PREFIXES = ("bert_", "distil_bert_", "roberta_", "xlm_", "albert_", "electra_")


def load_preset(
    preset: str,
    *,
    vocabulary: str | os.PathLike | Iterable[str] | None = None,
    texts: Iterable[str] | None = None,
) -> "Preset":
    """Finds and checks a preset; its weights are loaded when a classifier is built.

    Args:
        preset: `str`, one of
            - "random:tiny", "random:mini", "random:small", "random:medium" or
              "random:base": a BERT of that size with random weights,
            - path of a folder in Hugging Face or Keras format, encoders of the
              families Bert, DistilBert, Roberta, XLMRoberta, Albert, Electra,
            - "hf://user/model" or "kaggle://user/model/keras/variation",
            - a name that keras-nlp knows, such as "bert_tiny_en_uncased".
            Only the last two may download, into the cache of their hub.
        vocabulary: of a random network, which has none of its own: path of a
            `vocab.txt` or a list of its entries. One with capital letters is cased,
            any other has texts in lower case without accents, as BERT.
        texts: iterable of `str`, the training split: a random network without a
            `vocabulary` learns one of them, see `train_vocabulary`. Others ignore it.
    Returns:
        A preset with `tokenizer(max_length)` and `build_classifier(...)`.
    Raises:
        InvalidValueError: if the preset is unknown or cannot be downloaded, or the
            vocabulary is missing, no vocabulary, or given where there is one.
        ModelFileError: if a file is missing or damaged, or the vocabulary does not
            fit the token table.
        UnsupportedModelError: if the checkpoint is of another architecture.
    """
    if preset.startswith(RANDOM):
        return RandomPreset(preset, _random_vocabulary(preset, vocabulary, texts))
    if vocabulary is not None:
        raise InvalidValueError(
            f"Preset {preset!r} has a vocabulary of its own; vocabulary is for the "
            f"random networks, such as {RANDOM}tiny."
        )
    return FolderPreset(preset, _find_folder(preset))


class Preset:
    """A tokenizer and a network that belong together. Made by `load_preset`.

    Attributes:
        name: what `load_preset` was given.
        vocabulary_size: rows of the token table.
        positions: rows of the position table, the limit of `max_length`.
    """

    def __init__(self, name, vocabulary_size, positions):
        self.name = name
        self.vocabulary_size = vocabulary_size
        self.positions = positions

    def tokenizer(self, max_length=128):
        """Returns the tokenizer for `tokenize` and for an artifact.

        Args:
            max_length: most ids of a text, special tokens included.
        Returns:
            A new `tokenizers.Tokenizer` that cuts there and pads as far as needed.
        Raises:
            InvalidValueError: if `max_length` is below 3 or beyond the positions.
        """
        check_max_length(max_length, self.positions)
        tokenizer, padding_token = self._read_tokenizer()
        set_max_length(tokenizer, max_length, padding_token=padding_token)
        return tokenizer

    def build_classifier(self, num_classes, max_length=128, *, dropout=0.1, seed=0):
        """Builds a classifier, see `bert_classifier` for arguments and result."""
        check_num_classes(num_classes)
        check_max_length(max_length, self.positions)
        if not 0.0 <= dropout < 1.0:
            raise InvalidValueError(
                f"dropout must be a fraction in [0, 1), got {dropout!r}."
            )
        backbone = self._build_backbone(dropout, seed)
        return add_head(backbone, num_classes, dropout=dropout, seed=seed)


class RandomPreset(Preset):
    """A BERT miniature with random weights, and its vocabulary."""

    def __init__(self, name, vocabulary):
        super().__init__(name, len(vocabulary), RANDOM_POSITIONS)
        self.vocabulary = vocabulary

    def _read_tokenizer(self):
        lowercase = not is_cased(self.vocabulary)
        return wordpiece_tokenizer(self.vocabulary, lowercase=lowercase), PADDING

    def _build_backbone(self, dropout, seed):
        return random_backbone(
            self.name.removeprefix(RANDOM),
            self.vocabulary_size,
            dropout=dropout,
            seed=seed,
        )


class FolderPreset(Preset):
    """A checkpoint in a folder."""

    def __init__(self, name, folder):
        self.checkpoint = read_checkpoint(folder)
        rows, positions = self.checkpoint.vocabulary_size, self.checkpoint.positions
        super().__init__(name, rows, positions)
        tokenizer, _ = self._read_tokenizer()
        largest = max(tokenizer.get_vocab().values())
        if largest >= rows:
            raise ModelFileError(
                f"The vocabulary in {str(folder)!r} does not fit the model: its "
                f"largest id is {largest} and the token table has {rows} rows. Take "
                "the tokenizer that belongs to the checkpoint."
            )

    def _read_tokenizer(self):
        return read_tokenizer(self.checkpoint.folder)

    def _build_backbone(self, dropout, seed):
        del dropout, seed  # the checkpoint's own
        return self.checkpoint.load_backbone()


def _random_vocabulary(preset, vocabulary, texts):
    if preset.removeprefix(RANDOM) not in RANDOM_SHAPES:
        raise InvalidValueError(
            f"Preset {preset!r} is of an unknown size; choose one of "
            f"{', '.join(RANDOM + size for size in RANDOM_SHAPES)}."
        )
    if isinstance(vocabulary, str | pathlib.Path):
        return read_vocabulary(vocabulary)
    if vocabulary is not None:
        vocabulary = list(vocabulary)
        check_vocabulary(vocabulary, where="given as a list")
        return vocabulary
    if texts is None:
        raise InvalidValueError(
            f"Preset {preset!r} has no vocabulary of its own: give vocabulary, a "
            "vocab.txt or the list that train_vocabulary(texts) returns, or texts."
        )
    return train_vocabulary(texts)


def _find_folder(preset):
    """Returns the path of a preset's folder, downloaded if it is a handle."""
    if preset.startswith((HUGGING_FACE, KAGGLE)):
        return fetch(preset)
    if preset and pathlib.Path(preset).is_dir():
        return preset
    # to know the names, keras-nlp has to be imported: seconds
    is_name = preset.startswith(_NAME_PREFIXES) and not set(preset) & set("/\\.:")
    known = _known_presets() if is_name else {}
    if preset in known:
        return fetch(known[preset]["kaggle_handle"])
    close = difflib.get_close_matches(preset, sorted(known))
    hint = f"The closest names of keras-nlp are {', '.join(close)}; g" if close else "G"
    raise InvalidValueError(
        f"There is no preset {preset!r}: it is no folder, and no name of an encoder. "
        f"{hint}ive a folder, {RANDOM}tiny, {HUGGING_FACE}user/model, "
        f"{KAGGLE}user/model/keras/variation, or a name such as bert_tiny_en_uncased."
    )


def _known_presets():
    """Returns keras-nlp's own presets of the families, by name."""
    models = require("keras_nlp", extra="nlp").models
    known = {}
    for family in FAMILIES:
        known.update(getattr(models, family).presets)
    return known
