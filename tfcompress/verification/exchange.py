"""What the caller and the process of a check hand each other, as files in a folder."""

import dataclasses
import json

import numpy as np

from tfcompress.atomic import write_json

SOURCE, TARGET = "source", "target"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The files of a model, as `load_session` takes them.

    Attributes:
        format: "tflite", "onnx" or "openvino".
        folder: path of their folder.
        files: their names, the main one first.
        precision: that they are computed in.
    """

    format: str
    folder: str
    files: tuple[str, ...]
    precision: str = "float32"


def write_request(folder, *, source, target):
    """Writes `request.json`.

    Args:
        folder: `pathlib.Path` of the folder.
        source: `ModelFiles`, or None.
        target: `ModelFiles`.
    """
    models = {SOURCE: source, TARGET: target}
    value = {
        role: files and dataclasses.asdict(files) for role, files in models.items()
    }
    write_json(folder / "request.json", value)


def read_request(folder):
    """Returns what `write_request` wrote, with `ModelFiles` as dicts."""
    return json.loads((folder / "request.json").read_text(encoding="utf-8"))


def write_arrays(path, arrays):
    """Writes a dict of name -> array; names may be any text, arrays hold texts too."""
    numbered = {
        f"array_{index}": array if array.dtype != object else _of_texts(array)
        for index, array in enumerate(arrays.values())
    }
    np.savez(path, names=np.array(list(arrays), dtype=np.str_), **numbered)


def _of_texts(array):
    """Returns an array of Python's texts or bytes as one of numpy's."""
    return np.array([str(item) for item in array.flat]).reshape(array.shape)


def read_arrays(path):
    """Returns what `write_arrays` wrote; None if there is no such file."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        names = [str(name) for name in file["names"]]
        return {name: file[f"array_{index}"] for index, name in enumerate(names)}
