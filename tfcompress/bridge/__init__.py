"""Keras 3 to a flat tf_keras graph, which TFMOT accepts, and the weights back."""

from tfcompress.bridge.clone import clone_in_float32, clone_model_with_weights
from tfcompress.bridge.crossing import to_keras3, to_tf_keras
from tfcompress.bridge.fold import (
    BatchNormFold,
    batch_norm_folds,
    fold_batch_norm,
)
from tfcompress.bridge.rules import Leaves, Masked, Weight

__all__ = [
    "BatchNormFold",
    "Leaves",
    "Masked",
    "Weight",
    "batch_norm_folds",
    "clone_in_float32",
    "clone_model_with_weights",
    "fold_batch_norm",
    "to_keras3",
    "to_tf_keras",
]
