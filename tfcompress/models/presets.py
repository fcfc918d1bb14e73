"""Presets: where the tokenizer and the network of a text classifier come from.

preset = load_preset("random:tiny", texts=train_texts)  # or a folder, or a handle
tokenizer = preset.tokenizer(max_length=128)
model = preset.build_classifier(num_classes=3, max_length=128, seed=0)
"""

import pathlib

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
from tfcompress.errors import InvalidValueError, require
from tfcompress.models.backbones import (
    RANDOM_POSITIONS,
    RANDOM_SHAPES,
    add_head,
    check_num_classes,
    random_backbone,
)

_RANDOM = "random:"


def load_preset(preset, *, vocabulary=None, texts=None):
    if preset.startswith(_RANDOM):
        return _RandomPreset(preset, vocabulary, texts)
    return _FolderPreset(preset)


class _RandomPreset:
    def __init__(self, preset, vocabulary, texts):
        self.name = preset
        self._shape = preset.removeprefix(_RANDOM)
        if self._shape not in RANDOM_SHAPES:
            raise InvalidValueError(
                f"Preset {preset!r} has an unknown size; choose one of "
                f"{', '.join(_RANDOM + size for size in RANDOM_SHAPES)}."
            )
        if vocabulary is None:
            vocabulary = train_vocabulary(texts)
        elif isinstance(vocabulary, str | pathlib.Path):
            vocabulary = read_vocabulary(vocabulary)
        check_vocabulary(vocabulary, where="given")
        self.vocabulary = list(vocabulary)
        self.positions = RANDOM_POSITIONS

    def tokenizer(self, max_length=128):
        check_max_length(max_length, self.positions)
        tokenizer = wordpiece_tokenizer(
            self.vocabulary, lowercase=not is_cased(self.vocabulary)
        )
        set_max_length(tokenizer, max_length, padding_token=PADDING)
        return tokenizer

    def build_classifier(self, num_classes, max_length=128, *, dropout=0.1, seed=0):
        check_num_classes(num_classes)
        check_max_length(max_length, self.positions)
        backbone = random_backbone(
            self._shape, len(self.vocabulary), dropout=dropout, seed=seed
        )
        return add_head(backbone, num_classes, dropout=dropout, seed=seed)


class _FolderPreset:
    def __init__(self, folder):
        self.name = folder

    def tokenizer(self, max_length=128):
        tokenizer, padding = read_tokenizer(self.name)
        set_max_length(tokenizer, max_length, padding_token=padding)
        return tokenizer

    def build_classifier(self, num_classes, max_length=128, *, dropout=0.1, seed=0):
        check_num_classes(num_classes)
        keras_nlp = require("keras_nlp", extra="nlp")
        backbone = keras_nlp.models.Backbone.from_preset(
            self.name, dtype="float32", name="backbone"
        )
        return add_head(backbone, num_classes, dropout=dropout, seed=seed)
