"""What a .keras file holds, told from its directory and its configuration alone."""

import contextlib
import io
import math
import pathlib
import re
import threading
import zipfile

from tfcompress.errors import ModelFileError, require
from tfcompress.foreign import foreign_errors
from tfcompress.limits import MAX_UNPACKED_BYTES, check_zip, parse_json, shown

CONFIG_NAME = "config.json"
_METADATA, _WEIGHTS = "metadata.json", "model.weights.h5"
_HDF5 = b"\x89HDF\r\n\x1a\n"
# The configuration of a transformer of 400 layers has 1 MB.
_MAX_CONFIG_BYTES = 32 * 2**20
# Weights that the configuration declares and the file may lack: a state that is not
# saved, and what is stored in half precision and held in float32.
_SPARE_BYTES = 64 * 2**20
_MAX_DECLARED_RATIO = 4
# An optimizer keeps up to three arrays of a weight beside it, and float64 doubles all.
_MAX_HELD_RATIO = 8

_SAVE_ANEW = "Save the model with model.save('NAME.keras') of Keras 3."
_FLOAT_BYTES = 4
_FROM_KERAS_2 = (
    "To convert it with both packages, call: "
    "tf_keras.models.load_model(PATH, compile=False)"
    ".save('NAME.h5'), then keras.models.load_model('NAME.h5', compile=False)"
    ".save('NAME.keras')."
)


def read_keras_config(path):
    """Reads the configuration of a .keras file, if it is one; unpacks nothing else.

    Args:
        path: path of the file.
    Returns:
        Its `dict`.
    Raises:
        ModelFileError: if it is missing, damaged, of Keras 2 or of another kind, or its
            configuration is too large or nested too deep.
    """
    path = pathlib.Path(path)
    _check_kind(path)
    try:
        entries = check_zip(path)
        for name in (CONFIG_NAME, _METADATA):
            if name in entries and entries[name].file_size > _MAX_CONFIG_BYTES:
                raise ValueError(
                    f"its {name} has {entries[name].file_size:,} bytes, and at most "
                    f"{_MAX_CONFIG_BYTES:,} are read"
                )
        if CONFIG_NAME not in entries:
            raise ValueError(f"it has no {CONFIG_NAME}")
        with foreign_errors(ValueError), zipfile.ZipFile(path) as archive:
            config = parse_json(archive.read(CONFIG_NAME))
            metadata = {}
            if _METADATA in entries:
                metadata = parse_json(archive.read(_METADATA))
        if not isinstance(config, dict) or not isinstance(metadata, dict):
            raise ValueError("its configuration is no JSON object")
    except ValueError as error:
        raise ModelFileError(
            f"{str(path)!r} is no .keras file, or a damaged one: {error}. {_SAVE_ANEW}"
        ) from error
    if re.fullmatch(r"2\.[0-9.]+", str(metadata.get("keras_version"))):
        raise ModelFileError(
            f"{str(path)!r} was saved by Keras {shown(metadata['keras_version'])}. "
            f"{_FROM_KERAS_2}"
        )
    return config


def weights_bytes(path):
    """Returns the bytes of the weights in a .keras file, as its directory tells."""
    entries = check_zip(path)
    return entries[_WEIGHTS].file_size if _WEIGHTS in entries else 0


@contextlib.contextmanager
def bounded_weights(path, held):
    """Stops a block that loads a model at a weight that its file cannot hold.

    The layers' weights are counted as they are made, before each gets its memory: a
    number in the configuration may ask for any amount.

    Args:
        path: path of the file or folder, for the message.
        held: bytes of weights that it holds, as `weights_bytes` finds them.
    Yields:
        List of the bytes of each weight so far.
    Raises:
        ModelFileError: if the layers declare far more weights than the file holds.
    """
    layer_class = require("keras", extra="compress").layers.Layer
    original, thread = layer_class.add_weight, threading.get_ident()
    declared = []

    def too_many():
        return ModelFileError(
            f"{str(path)!r} declares weights of {sum(declared):,} bytes or more and "
            f"holds {held:,}: it is damaged. Save, copy or export the model again."
        )

    def add_weight(layer, shape=None, *args, **kwargs):
        if threading.get_ident() == thread:
            declared.append(_FLOAT_BYTES * math.prod(shape or ()))
            if sum(declared) > _SPARE_BYTES + _MAX_DECLARED_RATIO * held:
                raise too_many()
        return original(layer, shape, *args, **kwargs)

    layer_class.add_weight = add_weight
    try:
        yield declared
    except Exception as error:
        if sum(declared) > _SPARE_BYTES + _MAX_DECLARED_RATIO * held:
            raise too_many() from error  # Keras puts words of its own around errors
        raise
    finally:
        layer_class.add_weight = original


def load_keras_archive(path, config):
    """Loads the model of a .keras file, within what the file holds.

    Args:
        path: path of the file.
        config: what `read_keras_config` returned.
    Returns:
        Keras 3 model, not compiled.
    Raises:
        ModelFileError: if its layers declare far more weights than the file holds, or
            far fewer than a large file holds.
        Exception: what Keras raises on a damaged file.
    """
    keras = require("keras", extra="compress")
    held = weights_bytes(path)
    with bounded_weights(path, held) as declared:
        if held > MAX_UNPACKED_BYTES:  # Keras would read it all
            plain = {**config, "compile_config": None}
            keras.saving.deserialize_keras_object(plain, safe_mode=True)
            if held > _SPARE_BYTES + _MAX_HELD_RATIO * sum(declared):
                raise ModelFileError(
                    f"{str(path)!r} holds weights of {held:,} bytes and declares "
                    f"{sum(declared):,}: it is damaged. {_SAVE_ANEW}"
                )
            declared.clear()
        _check_arrays(path, held)
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def _check_arrays(path, held):
    """Refuses weights that are larger as arrays than in the file, or in other files."""
    h5py = require("h5py", extra="compress")
    if not held:
        return
    total = 0

    def count(name, item):
        nonlocal total
        if isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise ValueError(f"its weight {shown(name)} lies in another file")
            total += item.size * item.dtype.itemsize
            if total > _SPARE_BYTES + _MAX_DECLARED_RATIO * held:
                raise ValueError(
                    f"its weights of {held:,} bytes unpack to {total:,} or more"
                )

    try:
        with (
            foreign_errors(ValueError),
            zipfile.ZipFile(path) as archive,
            archive.open(_WEIGHTS) as stored,
        ):
            is_packed = archive.getinfo(_WEIGHTS).compress_type != zipfile.ZIP_STORED
            # To seek in what is packed takes a new beginning each time.
            with h5py.File(io.BytesIO(stored.read()) if is_packed else stored) as file:
                file.visititems(count)
    except ValueError as error:
        raise ModelFileError(
            f"{str(path)!r} is damaged: {error}. {_SAVE_ANEW}"
        ) from error


def _check_kind(path):
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            raise ModelFileError(
                f"{str(path)!r} is a SavedModel folder, which Keras 3 does not load as "
                f"a model. {_FROM_KERAS_2}"
            )
        raise ModelFileError(f"{str(path)!r} is a folder. Name a .keras file.")
    if not path.is_file():
        raise ModelFileError(f"There is no file {str(path)!r}.")
    with path.open("rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            raise ModelFileError(
                f"{str(path)!r} is an HDF5 file, as Keras 2 saved models. Load it with "
                "keras.models.load_model(PATH, compile=False) and save it with "
                "model.save('NAME.keras')."
            )
