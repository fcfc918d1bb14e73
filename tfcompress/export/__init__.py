"""Keras 3 models to dense files that stock runtimes open."""

from tfcompress.export.export import ExportedModel, export_model

__all__ = ["ExportedModel", "export_model"]
