"""Arrays and labels from .npz files, for models that take no texts."""

import dataclasses
import math
import pathlib
import zipfile

import numpy as np

from tfcompress.data.dataset import Split, cut, make_dataset
from tfcompress.data.files import TEST_FRACTION
from tfcompress.data.labels import to_labels
from tfcompress.errors import DataError, InvalidValueError
from tfcompress.foreign import foreign_errors
from tfcompress.limits import check_zip, shown

LABELS = "labels"
# A class has a name, a unit of the model and a row of its tables, with or without
# examples; the largest sets of classes in the literature have 670,000.
MAX_CLASSES = 1_000_000

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def load_from_arrays(name, options):
    """Reads a dataset from .npz files.

    Args:
        name: path of a file, or of two with a comma between them, train and test. A
            file holds an array of examples for each input of the model, under that
            input's name, and whole numbers from 0 under `"labels"`. A single file
            gives a tenth of its rows to the test split.
        options: `SplitOptions`.
    Returns:
        `Dataset` of source `"file"`; its classes are called by their numbers.
    Raises:
        DataError: if a file is missing, no .npz file, or lacks labels or inputs.
    """
    paths = [pathlib.Path(part.strip()) for part in name.split(",")]
    if len(paths) > 2:
        raise DataError(
            f"{name!r} names {len(paths)} files. Name one, or train and test with a "
            "comma between them."
        )
    splits = [_read(path) for path in paths]
    num_classes = int(splits[0].labels.max(initial=0)) + 1
    for path, split in zip(paths, splits, strict=True):
        largest = int(split.labels.max(initial=0))
        if split.labels.min(initial=0) < 0:
            raise DataError(f"The labels of {str(path)!r} must be from 0 on.")
        if largest >= MAX_CLASSES:
            raise DataError(
                f"{str(path)!r} has the label {largest}, and labels go to "
                f"{MAX_CLASSES - 1} at most. Number the classes from 0, without gaps."
            )
        if largest >= num_classes:
            raise DataError(
                f"{str(path)!r} has the label {largest}, which the training file "
                f"lacks; its labels go to {num_classes - 1}."
            )
    if len(splits) == 1:
        splits = cut(splits[0], TEST_FRACTION, options.seed)
        share = options.validation_fraction / (1 - TEST_FRACTION)
        options = dataclasses.replace(options, validation_fraction=share)
    title = ",".join(path.name for path in paths)
    names = [str(number) for number in range(num_classes)]
    return make_dataset(title, "file", *splits, names, options)


def _read(path):
    arrays = _read_arrays(path)
    labels = arrays.pop(LABELS, None)
    if labels is None:
        raise DataError(
            f"{str(path)!r} needs whole numbers of shape (examples,) under the name "
            f"{LABELS!r}; it holds {', '.join(sorted(arrays)) or 'nothing else'}."
        )
    try:
        labels = to_labels(labels)
    except InvalidValueError as error:
        raise DataError(f"{str(path)!r}: {error}") from error
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != len(labels):
            raise DataError(
                f"Array {name!r} of {str(path)!r} has shape {array.shape}, and there "
                f"are {len(labels)} labels. Give one row for each label."
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"Array {name!r} of {str(path)!r} holds NaN or infinity.")
    if not arrays:
        raise DataError(f"{str(path)!r} holds labels alone, and no input of a model.")
    return Split(arrays, labels)


def _read_arrays(path):
    """Returns the arrays of a file by name, of a size that its directory told."""
    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}.")

    def damaged(reason):
        return DataError(
            f"{str(path)!r} is no .npz file of plain arrays, or a damaged one: "
            f"{reason}. Write it with numpy.savez(path, labels=labels, INPUT=array)."
        )

    try:
        entries = check_zip(path)
        with foreign_errors(damaged), zipfile.ZipFile(path) as archive:
            for entry in entries.values():
                _check_header(archive, entry)
        with foreign_errors(damaged), np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise damaged(error) from error


def _check_header(archive, entry):
    """Raises ValueError where an array is not of as many bytes as its header says."""
    if not entry.filename.endswith(".npy"):
        raise ValueError(f"its entry {shown(entry.filename)} is no array")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADER_READERS:
            raise ValueError(f"its arrays are of the unknown version {version}")
        shape, _, dtype = _HEADER_READERS[version](file)
        num_bytes = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or not dtype.itemsize:
            raise ValueError(
                f"its array {shown(entry.filename)} holds {dtype}, no plain numbers"
            )
        if num_bytes != entry.file_size - file.tell():
            raise ValueError(
                f"its array {shown(entry.filename)} of shape {shape} needs {num_bytes} "
                f"bytes and has {entry.file_size - file.tell()}"
            )
