"""Keras 3 to a flat tf_keras graph, which TFMOT accepts, and the weights back."""

from tfcompress.bridge.clone import clone_in_float32, clone_model_with_weights
from tfcompress.bridge.crossing import to_keras3, to_tf_keras
from tfcompress.bridge.fold import batch_norm_folds, fold_batch_norm
from tfcompress.bridge.fold_plan import BatchNormFold
from tfcompress.bridge.kept import KeptRow, kept_layers
from tfcompress.bridge.kept_report import explain_kept, warn_of_kept
from tfcompress.bridge.obstacles import check_crossing
from tfcompress.bridge.rules import Leaves, Masked, Weight, scope_name

__all__ = [
    "BatchNormFold",
    "KeptRow",
    "Leaves",
    "Masked",
    "Weight",
    "batch_norm_folds",
    "check_crossing",
    "clone_in_float32",
    "clone_model_with_weights",
    "explain_kept",
    "fold_batch_norm",
    "kept_layers",
    "scope_name",
    "to_keras3",
    "to_tf_keras",
    "warn_of_kept",
]
