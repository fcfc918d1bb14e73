"""Keras 3 models to dense files that stock runtimes open."""

from tfcompress.export.export import FORMATS, ExportedModel, export_model

__all__ = ["FORMATS", "ExportedModel", "export_model"]
