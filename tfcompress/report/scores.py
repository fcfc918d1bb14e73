"""The scores of each example that a run keeps of its files."""

import numpy as np

from tfcompress.errors import InvalidValueError
from tfcompress.tasks.older_records import scores_of_labels


def read_scores(folder, key, record):
    """Reads the scores of a file.

    Args:
        folder: `pathlib.Path` of a run's folder.
        key: of the file's record.
        record: the record, whose quality may be another file's.
    Returns:
        Dict of a metric's name to its scores, float64 `(examples, k)`.
    Raises:
        InvalidValueError: if the run keeps none of this file.
    """
    source = record["quality"]["inherited_from"] or key
    path = folder / "scores" / f"{source}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    labels = folder / "data" / "test_labels.npy"  # of older runs, all of classifiers
    path = folder / "predictions" / f"{source}.npz"
    if not labels.exists() or not path.exists():
        raise InvalidValueError(
            f"The run {str(folder)!r} keeps no scores of {source!r}: it is not scored."
        )
    with np.load(path, allow_pickle=False) as arrays:
        return scores_of_labels(arrays["indices"], np.load(labels, allow_pickle=False))
