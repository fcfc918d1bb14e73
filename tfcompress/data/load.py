"""The rule by which a dataset is chosen: as named, else the default, else synthetic."""

import dataclasses
import logging
import os

from tfcompress.data import synthetic
from tfcompress.data.catalog import load_from_catalog
from tfcompress.data.dataset import Dataset, SplitOptions
from tfcompress.data.files import is_file_name, load_from_files
from tfcompress.errors import DataError, MissingDependencyError

_LOGGER = logging.getLogger(__name__)


def load_dataset(
    name: str | os.PathLike | None = None,
    *,
    default: str | None,
    data_dir: str | os.PathLike | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    limit: int | None = None,
) -> Dataset:
    """Loads the dataset that is named, or the default one, or the embedded corpus.

    A dataset that is named is had or an error says what was tried. The default one may
    be replaced by the embedded corpus; then the dataset's `warning` says so and why,
    and the caller has to show it.

    Args:
        name: name in the TFDS catalog, `"synthetic_reviews"`, a file or files as
            `load_from_files` takes them, or `None`.
        default: name to take where `name` is `None`.
        data_dir: folder of prepared TFDS datasets, looked into before others.
        text_column: column or feature of the texts; `None` stands for `"text"`.
        label_column: column or feature of the labels; `None` stands for `"label"`.
        validation_fraction: share of the training examples that is cut off, in (0, 1).
        seed: seed of the cut.
        limit: most training and most test examples; `None` takes all.
    Returns:
        `Dataset` with texts under the name `"text"`.
    Raises:
        DataError: if the dataset that was named cannot be had.
        InvalidValueError: if a number is out of its range.
        MissingDependencyError: if a package is needed for what was named.
    """
    options = SplitOptions(
        validation_fraction=validation_fraction, seed=seed, limit=limit
    )
    columns = (text_column, label_column)
    if name is not None:
        return _load(name, options, data_dir, columns)
    try:
        return _load(default, options, data_dir, columns)
    except (DataError, MissingDependencyError) as error:
        warning = f"{synthetic.WARNING} It stands in for {default!r}: {error}"
    _LOGGER.warning("%s", warning)
    dataset = _load(synthetic.NAME, options, data_dir, columns)
    return dataclasses.replace(dataset, warning=warning)


def _load(name, options, data_dir, columns):
    if name == synthetic.NAME:
        return synthetic.synthetic_reviews(options)
    if is_file_name(name):
        return load_from_files(name, options, columns=columns)
    return load_from_catalog(name, options, data_dir=data_dir, columns=columns)
