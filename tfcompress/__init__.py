"""Compression toolkit for Keras 3 and TensorFlow models.

`compress(model, recipe, training)` makes a smaller Keras 3 model, `export_model` writes
it as a TFLite, ONNX or OpenVINO file, and `code_file` packs the weights of any such
file. Importing this loads no framework and no runtime.
"""

from tfcompress import telemetry
from tfcompress.artifact import Artifact
from tfcompress.bridge import fold_batch_norm, to_keras3, to_tf_keras
from tfcompress.coding import code_file
from tfcompress.compress import check_recipe, compress
from tfcompress.compression_result import CompressionResult
from tfcompress.data import Dataset, Split, load_dataset
from tfcompress.errors import TfcompressError
from tfcompress.export import export_model
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import ClusterConfig, PruneConfig, QatConfig
from tfcompress.models import bert_classifier, load_preset
from tfcompress.recipe import parse_recipe, recipe_to_json, recipe_to_text
from tfcompress.training import ArrayTraining, Training, TrainingConfig

__all__ = [
    "ArrayTraining",
    "Artifact",
    "ClusterConfig",
    "CompressionResult",
    "Dataset",
    "LayerRules",
    "PruneConfig",
    "QatConfig",
    "Split",
    "TfcompressError",
    "Training",
    "TrainingConfig",
    "bert_classifier",
    "check_recipe",
    "code_file",
    "compress",
    "export_model",
    "fold_batch_norm",
    "load_dataset",
    "load_preset",
    "parse_recipe",
    "recipe_to_json",
    "recipe_to_text",
    "to_keras3",
    "to_tf_keras",
]

# Nothing above has imported any of the tools whose usage data this turns off.
telemetry.turn_off()
