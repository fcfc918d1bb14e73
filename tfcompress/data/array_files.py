"""Arrays and labels from .npz files, for models that take no texts."""

import dataclasses
import pathlib
import zipfile

import numpy as np

from tfcompress.data.dataset import Split, cut, make_dataset
from tfcompress.data.files import TEST_FRACTION
from tfcompress.errors import DataError

LABELS = "labels"


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
        if split.labels.min(initial=0) < 0:
            raise DataError(f"The labels of {str(path)!r} must be from 0 on.")
        if split.labels.max(initial=0) >= num_classes:
            raise DataError(
                f"{str(path)!r} has the label {split.labels.max()}, which the training "
                f"file lacks; its labels go to {num_classes - 1}."
            )
    if len(splits) == 1:
        splits = cut(splits[0], TEST_FRACTION, options.seed)
        share = options.validation_fraction / (1 - TEST_FRACTION)
        options = dataclasses.replace(options, validation_fraction=share)
    title = ",".join(path.name for path in paths)
    names = [str(number) for number in range(num_classes)]
    return make_dataset(title, "file", *splits, names, options)


def _read(path):
    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (ValueError, OSError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{str(path)!r} is no .npz file of plain arrays. Write it with "
            "numpy.savez(path, labels=labels, INPUT=array)."
        ) from error
    labels = arrays.pop(LABELS, None)
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise DataError(
            f"{str(path)!r} needs whole numbers of shape (examples,) under the name "
            f"{LABELS!r}; it holds {', '.join(sorted(arrays)) or 'nothing else'}."
        )
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
