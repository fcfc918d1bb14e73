"""A checkpoint's folder: what it holds, checked before anything heavy is imported.

Hugging Face format is `config.json` and `model.safetensors`, or several safetensors
files with an index. Keras format is what keras-nlp's `save_to_preset` writes:
`config.json` and `model.weights.h5`. Nothing is read by pickle.
"""

import dataclasses
import pathlib

from tfcompress.data.folder_tokenizer import read_json
from tfcompress.errors import ModelFileError, UnsupportedModelError, require
from tfcompress.foreign import foreign_errors, reason_of
from tfcompress.keras_archive import bounded_weights

_WEIGHTS = (".safetensors", ".h5")
_INDEX = "model.safetensors.index.json"
# Hugging Face's model_type -> keras-nlp's class, and rows of the position table that
# stand for no position. keras-nlp has no converter for Electra.
_HUGGING_FACE = {
    "bert": ("BertBackbone", 0),
    "distilbert": ("DistilBertBackbone", 0),
    "roberta": ("RobertaBackbone", 2),
    "xlm-roberta": ("XLMRobertaBackbone", 2),
    "albert": ("AlbertBackbone", 0),
}
FAMILIES = (*(name for name, _ in _HUGGING_FACE.values()), "ElectraBackbone")
_KERAS = {
    f"keras_{package}>{name}": name for package in ("hub", "nlp") for name in FAMILIES
}
# GELU, exact or by tanh: keras-nlp has one of the two for each family.
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh")
_PICKLES = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.pt",
    "model.pth",
)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A folder that was checked.

    Attributes:
        folder: `pathlib.Path`, absolute.
        family: name of the class in `keras_nlp.models`.
        vocabulary_size: rows of the token table.
        positions: most ids of a text.
    """

    folder: pathlib.Path
    family: str
    vocabulary_size: int
    positions: int

    def load_backbone(self):
        """Loads the encoder with keras-nlp's own converters.

        Returns:
            Encoder of keras-nlp, float32, named "backbone".
        Raises:
            ModelFileError: if a weight is missing, damaged or of another shape.
            MissingDependencyError: if keras-nlp is not installed.
        """
        keras_nlp = require("keras_nlp", extra="nlp")
        family = getattr(keras_nlp.models, self.family)
        try:
            with (
                bounded_weights(self.folder, self._weights_bytes()),
                foreign_errors(self._damaged),
            ):
                return family.from_preset(
                    str(self.folder), dtype="float32", name="backbone"
                )
        except OSError as error:
            raise self._damaged(reason_of(error)) from error

    def _weights_bytes(self):
        files = [path for path in self.folder.iterdir() if path.suffix in _WEIGHTS]
        return sum(path.stat().st_size for path in files)

    def _damaged(self, reason):
        return ModelFileError(
            f"The weights in {str(self.folder)!r} do not load into a {self.family}: "
            f"{reason}. Copy the checkpoint again; its weights and 'config.json' must "
            "belong together."
        )


def read_checkpoint(folder):
    """Checks a checkpoint's folder, all but the weights' values.

    Args:
        folder: path of a folder in Hugging Face or Keras format.
    Returns:
        `Checkpoint`.
    Raises:
        ModelFileError: if there is no configuration or no weights, or a file is
            damaged.
        UnsupportedModelError: if it is of another architecture, or its weights are
            stored as a pickle.
    """
    folder = pathlib.Path(folder).resolve()
    path = folder / "config.json"

    def damaged(reason):
        return ModelFileError(
            f"The checkpoint in {str(folder)!r} is damaged: {reason}. Copy it again."
        )

    with foreign_errors(damaged):
        config = read_json(path)
        if "registered_name" in config:
            return _read_keras(folder, path, config)
        return _read_hugging_face(folder, path, config)


def _read_hugging_face(folder, path, config):
    model_type = config.get("model_type")
    if model_type not in _HUGGING_FACE:
        raise UnsupportedModelError(
            f"{str(path)!r} is of the architecture {model_type!r}. Supported are the "
            f"encoders {', '.join(_HUGGING_FACE)}, and Electra in Keras format."
        )
    family, offset = _HUGGING_FACE[model_type]
    _check_choice(path, config, ("hidden_act", "activation"), _ACTIVATIONS)
    _check_choice(path, config, ("position_embedding_type",), ("absolute",))
    _check_choice(path, config, ("is_decoder",), (False,))
    _check_safetensors(folder)
    positions = _positive(path, config, "max_position_embeddings") - offset
    rows = _positive(path, config, "vocab_size")
    return Checkpoint(folder, family, rows, positions)


def _read_keras(folder, path, config):
    name = config["registered_name"]
    settings = config.get("config")
    if name not in _KERAS or not isinstance(settings, dict):
        raise UnsupportedModelError(
            f"{str(path)!r} is of the class {name!r}. Supported are the encoders "
            f"{', '.join(FAMILIES)}."
        )
    # Keras would make an object of a nested configuration; an encoder has none.
    for key, value in settings.items():
        if isinstance(value, dict | list) and key != "dtype":
            raise UnsupportedModelError(
                f"{str(path)!r} has {key!r} that is no number or text: it is no plain "
                "encoder of keras-nlp."
            )
    if not any(
        (folder / name).is_file() for name in ("model.weights.h5", "model.weights.json")
    ):
        raise ModelFileError(
            f"{str(folder)!r} has no weights: 'model.weights.h5' is missing."
        )
    size_key = "vocabulary_size" if "vocabulary_size" in settings else "vocab_size"
    rows = _positive(path, settings, size_key)
    positions = _positive(path, settings, "max_sequence_length")
    return Checkpoint(folder, _KERAS[name], rows, positions)


def _check_choice(path, config, keys, choices):
    for key in keys:
        if key in config and config[key] not in choices:
            raise UnsupportedModelError(
                f"{str(path)!r} has {key!r} {config[key]!r}; keras-nlp builds only "
                f"{', '.join(map(repr, choices))}."
            )


def _positive(path, config, key):
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelFileError(
            f"{str(path)!r} must say {key!r}, a positive integer, got {value!r}."
        )
    return value


def _check_safetensors(folder):
    """Opens every safetensors file: its header must fit the file's length."""
    safetensors = require("safetensors", extra="nlp")
    if (folder / _INDEX).is_file():
        weight_map = read_json(folder / _INDEX).get("weight_map", {})
        names = sorted(set(map(str, weight_map.values())))
    else:
        names = ["model.safetensors"]
    for name in names:
        path = folder / name
        if pathlib.PurePath(name).name != name:
            raise ModelFileError(
                f"{str(folder / _INDEX)!r} names {name!r}, which is not in its folder."
            )
        if not path.is_file():
            raise _no_weights(folder, name)
        try:
            with safetensors.safe_open(path, framework="np"):
                pass
        except (safetensors.SafetensorError, OSError) as error:
            raise ModelFileError(
                f"{str(path)!r} is damaged: {_first_line(error)}. Copy it again."
            ) from error


def _no_weights(folder, name):
    pickles = [pickle for pickle in _PICKLES if (folder / pickle).is_file()]
    if not pickles:
        return ModelFileError(f"{str(folder)!r} has no weights: {name!r} is missing.")
    return UnsupportedModelError(
        f"{str(folder / pickles[0])!r} is a pickle, which can run code and is not "
        "read. Convert it where you trust it: load it with transformers and call "
        "save_pretrained(folder, safe_serialization=True)."
    )


def _first_line(error):
    """Returns the first line of an error's message, without its full stop."""
    lines = str(error).strip().split("\n")
    return (lines[0] or type(error).__name__).rstrip(".")
