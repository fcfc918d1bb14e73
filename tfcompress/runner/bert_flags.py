"""The flags of every experiment that fine-tunes a BERT classifier.

A module takes them over by `flags.adopt_module_key_flags(bert_flags)`.
"""

from absl import flags

from tfcompress.errors import InvalidValueError

flags.DEFINE_string(
    "preset",
    "random:tiny",
    "Encoder: a keras-nlp name, hf://USER/MODEL, kaggle://..., a folder in Hugging "
    "Face or Keras format, or random:tiny, mini, small, medium or base.",
)
flags.DEFINE_string(
    "vocabulary",
    None,
    "WordPiece vocabulary file of a random encoder. Default: built from the training "
    "texts.",
)
flags.DEFINE_integer("max_length", 128, "Most tokens of a text; longer ones are cut.")
flags.DEFINE_integer(
    "epochs",
    None,
    "Epochs of the baseline's training. Default: 1, and 3 for a random encoder.",
)
flags.DEFINE_float(
    "learning_rate",
    None,
    "Highest learning rate. Default: 5e-5, and 5e-4 for a random encoder.",
)
flags.DEFINE_integer("batch_size", 32, "Examples of an optimizer step.")
flags.DEFINE_enum(
    "training_precision",
    "float32",
    ("float32", "bfloat16"),
    "Arithmetic of training; the weights are float32 either way.",
)
flags.DEFINE_boolean(
    "bucket_by_length", True, "Put texts of like length into a batch, to pad less."
)

_NAMES = (
    "preset",
    "vocabulary",
    "max_length",
    "epochs",
    "learning_rate",
    "batch_size",
    "training_precision",
    "bucket_by_length",
)


def bert_settings():
    """Returns the settings of `BertTask` that the parsed flags give.

    Raises:
        InvalidValueError: if two flags exclude each other.
    """
    settings = {name: flags.FLAGS[name].value for name in _NAMES}
    is_random = settings["preset"].startswith("random:")
    if settings["vocabulary"] is not None and not is_random:
        raise InvalidValueError(
            f"--vocabulary is for a random encoder; {settings['preset']!r} has its "
            "own. Leave it out, or choose --preset=random:tiny."
        )
    if settings["epochs"] is None:
        settings["epochs"] = 3 if is_random else 1
    if settings["learning_rate"] is None:
        settings["learning_rate"] = 5e-4 if is_random else 5e-5
    return settings
