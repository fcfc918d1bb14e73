"""Functions that build Keras 3 models, and the presets that they start from."""

from tfcompress.models.bert_classifier import bert_classifier, preset_tokenizer
from tfcompress.models.embedding_classifier import embedding_classifier
from tfcompress.models.presets import load_preset

__all__ = ["bert_classifier", "embedding_classifier", "load_preset", "preset_tokenizer"]
