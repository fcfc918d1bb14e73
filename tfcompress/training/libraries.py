"""Which of the two Keras libraries a model is of."""

import sys

from tfcompress.errors import UnsupportedModelError


def library_of(model):
    """Returns the module `keras` or `tf_keras`; a model's library is loaded already.

    Args:
        model: Keras 3 or tf_keras model.
    Raises:
        UnsupportedModelError: if it is neither.
    """
    for name in ("keras", "tf_keras"):
        library = sys.modules.get(name)
        if library is not None and isinstance(model, library.Model):
            return library
    raise UnsupportedModelError(
        f"Training takes a Keras 3 or tf_keras model, got {type(model).__name__}."
    )


def is_keras3(model):
    """Whether `model` is of Keras 3."""
    return library_of(model).__name__ == "keras"
