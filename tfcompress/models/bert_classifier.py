"""Text classifier on a BERT-like encoder of keras-nlp, and its tokenizer.

    tokenizer = preset_tokenizer("minilm-l6-h384-uncased", max_length=128)
    model = bert_classifier("minilm-l6-h384-uncased", num_classes=3, max_length=128)
    names = [tensor.name for tensor in model.inputs]
    logits = model.predict(tokenize(tokenizer, ["A lovely film."], names))

keras-nlp computes BERT's and Albert's GELU by its tanh approximation, as Google's BERT
did; Hugging Face's `hidden_act: "gelu"` is the exact one. We keep keras-nlp's, for the
model has to load wherever keras-nlp does: sequence outputs of the same weights differ
by some 4e-3 from PyTorch's, which fine-tuning makes up for.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfcompress.models.presets import load_preset

if TYPE_CHECKING:
    import keras


def bert_classifier(
    preset: str,
    num_classes: int,
    max_length: int = 128,
    *,
    vocabulary: str | os.PathLike | Iterable[str] | None = None,
    dropout: float = 0.1,
    seed: int = 0,
) -> "keras.Model":
    """Builds a classifier: encoder, pooled output or first token, dropout, Dense.

    Args:
        preset: as `load_preset` takes it.
        num_classes: number of classes, at least 2.
        max_length: most ids of a text. The model itself takes any length up to its
            position table; this is checked against it.
        vocabulary: of a random network: path of a `vocab.txt`, or its entries.
        dropout: share dropped in training, in [0, 1): before the logits, and within a
            random network. A checkpoint's encoder keeps its own, 0.1.
        seed: of the dropout and of all weights that are not the checkpoint's: a random
            network's, and the logits' (truncated normal, standard deviation 0.02).
    Returns:
        Functional Keras 3 model "bert_classifier" in float32. Inputs, int32, shape
        `(None, None)`: "token_ids", "padding_mask" (1 for an id of the text) and, in
        the families that have them, "segment_ids". Output: "logits", float32, shape
        `(None, 1)` for two classes and else `(None, num_classes)`. Train it with a loss
        `from_logits`. The encoder is its layer "backbone".
    Raises:
        InvalidValueError: if a number is out of its range, or as `load_preset`.
        ModelFileError, UnsupportedModelError: as `load_preset`.
        MissingDependencyError: if keras-nlp is not installed.
    """
    return load_preset(preset, vocabulary=vocabulary).build_classifier(
        num_classes, max_length, dropout=dropout, seed=seed
    )


def preset_tokenizer(preset, max_length=128, *, vocabulary=None):
    """Returns the tokenizer that belongs to `bert_classifier` of the same preset.

    Args:
        preset: as `load_preset` takes it.
        max_length: most ids of a text, special tokens included; at least 3.
        vocabulary: of a random network: path of a `vocab.txt`, or its entries.
    Returns:
        `tokenizers.Tokenizer` for `tokenize`; its ids are those of Hugging Face.
    Raises:
        InvalidValueError, ModelFileError, UnsupportedModelError: as `load_preset`.
    """
    return load_preset(preset, vocabulary=vocabulary).tokenizer(max_length)
