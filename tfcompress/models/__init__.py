"""Functions that build Keras 3 models."""

from tfcompress.models.embedding_classifier import embedding_classifier

__all__ = ["embedding_classifier"]
