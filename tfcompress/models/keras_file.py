"""Reads a .keras file of a user's: as data alone, nothing in it is executed.

Keras refuses a lambda by itself (its safe mode). Classes are looked up here before
Keras sees the file, so that what is not Keras's or KerasHub's own is named in one clear
line, and no module that a file names is imported.
"""

import pathlib

from tfcompress.errors import (
    ModelFileError,
    TfcompressError,
    UnsupportedModelError,
    require,
)
from tfcompress.foreign import foreign_errors, reason_of
from tfcompress.keras_archive import load_keras_archive, read_keras_config
from tfcompress.limits import check_path

# Packages whose classes a file may name; "builtins" is how Keras writes its functions.
_KERAS, _HUB, _BUILTINS = "keras", ("keras_hub", "keras_nlp"), "builtins"
# Plain values that Keras writes as objects.
_VALUES = ("__tuple__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__")
_LAMBDAS = ("Lambda", "__lambda__")


def load_keras_file(path):
    """Loads the model of a .keras file.

    Args:
        path: path of the file.
    Returns:
        Keras 3 model, not compiled.
    Raises:
        ModelFileError: if there is no such file, or it is damaged or of another kind.
        UnsupportedModelError: if it holds a lambda, or a class that is neither Keras's
            nor KerasHub's own.

    Example: `model = load_keras_file("my.keras")`
    """
    path = pathlib.Path(path)

    def refused(reason):
        return ModelFileError(
            f"Keras cannot load {str(path)!r}: {reason}. Save the model again with "
            "model.save('NAME.keras')."
        )

    try:
        check_path(path)
        config = read_keras_config(path)
        packages = {_check_object(path, found) for found in _objects(config)}
        if packages & set(_HUB):
            require("keras_hub", extra="nlp")  # makes its classes known to Keras
        with foreign_errors(refused):
            return load_keras_archive(path, config)
    except (OSError, ValueError) as error:
        if isinstance(error, TfcompressError):
            raise
        raise refused(reason_of(error)) from error


def _objects(config):
    """Yields every dict that names a class or a function, the outermost first."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value)


def _check_object(path, found):
    """Returns the package of an object, or says why it is refused."""
    kind, module = str(found["class_name"]), str(found.get("module") or _KERAS)
    package = module.partition(".")[0]
    config = found.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    where = f" (layer {name!r})" if name else ""
    if kind in _LAMBDAS:
        raise UnsupportedModelError(
            f"{str(path)!r} holds a lambda{where}: code, which is not run. Write it "
            "with Keras's own layers or operations (keras.layers, keras.ops)."
        )
    known = package in (_KERAS, *_HUB) or (package == _BUILTINS and kind == "function")
    own_name = str(found.get("registered_name") or "")
    is_own = ">" in own_name and own_name.partition(">")[0] not in _HUB
    if kind not in _VALUES and (is_own or not known):
        raise UnsupportedModelError(
            f"{str(path)!r} holds {own_name or f'{module}.{kind}'}{where}, which is "
            "neither Keras's nor KerasHub's: its code is not in the file. Call "
            "tfcompress.compress from Python, where the class is at hand."
        )
    return package
