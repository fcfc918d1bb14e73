"""Keeps what weights are made of, beside a model's file: hints for coding its files."""

import json
import pathlib

import numpy as np

from tfcompress.atomic import atomic_file
from tfcompress.errors import ModelFileError
from tfcompress.foreign import foreign_errors
from tfcompress.limits import check_zip

_KEYS = "keys"


def write_structures(path, structures):
    """Writes structures as an .npz file, whole or not at all.

    Args:
        path: path of the file.
        structures: `(layer name, weight name)` -> dict of arrays and whole numbers, as
            `CompressionReport.structures` holds them.
    """
    arrays = {
        f"{number}/{field}": value
        for number, structure in enumerate(structures.values())
        for field, value in structure.items()
    }
    arrays[_KEYS] = json.dumps([list(key) for key in structures])
    with atomic_file(path) as temporary:
        np.savez(temporary, **arrays)


def read_structures(path):
    """Reads what `write_structures` wrote; whole numbers come back as such.

    Args:
        path: path of the file.
    Returns:
        Dict, as `write_structures` takes it.
    Raises:
        ModelFileError: if there is no such file, or it holds something else.
    """
    path = pathlib.Path(path)

    def refused(reason):
        return ModelFileError(
            f"{str(path)!r} holds no structures of weights: {reason}. Give the "
            "structures.npz that CompressionResult.save wrote."
        )

    if not path.is_file():
        raise refused("there is no such file")
    with foreign_errors(refused):
        check_zip(path)
        with np.load(path, allow_pickle=False) as arrays:
            return _structures_of(arrays)


def _structures_of(arrays):
    keys = [tuple(key) for key in json.loads(str(arrays[_KEYS]))]
    structures = {key: {} for key in keys}
    for name in arrays.files:
        if name == _KEYS:
            continue
        number, field = name.split("/")
        value = arrays[name]
        structures[keys[int(number)]][field] = value if value.ndim else value.item()
    return structures
