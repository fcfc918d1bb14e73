"""Keeps a row's structures between its model's making and its files' coding."""

import json

import numpy as np

from tfcompress.atomic import atomic_file

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
    """Reads what `write_structures` wrote; whole numbers come back as such."""
    with np.load(path) as arrays:
        keys = [tuple(key) for key in json.loads(str(arrays[_KEYS]))]
        structures = {key: {} for key in keys}
        for name in arrays.files:
            if name != _KEYS:
                number, field = name.split("/")
                value = arrays[name]
                structure = structures[keys[int(number)]]
                structure[field] = value if value.ndim else value.item()
    return structures
