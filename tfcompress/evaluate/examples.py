"""Examples in a file, for a process that is given no more than paths."""

import json
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from tfcompress.atomic import atomic_file
from tfcompress.errors import DataError


def write_examples(path, inputs):
    """Writes examples for a worker to read.

    Args:
        path: ends in .npz for named arrays, in .jsonl for texts.
        inputs: dict of name -> array, or a sequence of texts.
    Raises:
        DataError: if the suffix is not that of the inputs.
        OSError: if the file cannot be written; nothing is left behind.
    """
    path = pathlib.Path(path)
    suffix = ".npz" if isinstance(inputs, Mapping) else ".jsonl"
    if path.suffix != suffix:
        raise DataError(f"Such examples go to a {suffix} file, got {path.name!r}.")
    with atomic_file(path) as new:
        if suffix == ".npz":
            np.savez(new, **inputs)
        else:
            lines = (json.dumps({"text": text}) + "\n" for text in inputs)
            new.write_text("".join(lines), encoding="utf-8")


def read_examples(path):
    """Reads what `write_examples` wrote.

    Args:
        path: a .npz file of named arrays, or a .jsonl file of `{"text": ...}` lines.
    Returns:
        Dict of name -> array, or a list of texts.
    Raises:
        DataError: if the file is of another kind or cannot be read as its own.
        OSError: if there is no such file.
    """
    path = pathlib.Path(path)
    if path.suffix not in (".npz", ".jsonl"):
        raise DataError(f"Examples are a .npz or a .jsonl file, got {str(path)!r}.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line)["text"] for line in lines]
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{str(path)!r} holds no examples: {error}") from error
