"""Text classification datasets of TensorFlow Datasets (TFDS).

A prepared copy is looked for in every place before anything is downloaded. Reading
imports TensorFlow, as TFDS does.
"""

import difflib
import os
import pathlib

from tfcompress.data.dataset import Split, make_dataset, text_array
from tfcompress.data.reachability import why_unreachable
from tfcompress.data.synthetic import NAME as SYNTHETIC_NAME
from tfcompress.errors import DataError, require

# Text features that make up the text together; other datasets have one only.
TEXT_FEATURES = {"ag_news_subset": ("title", "description")}
# How to get datasets that TFDS's catalog lacks.
RECIPES = {
    "tweet_sentiment_extraction": (
        "download train.csv and test.csv of Kaggle's competition "
        "tweet-sentiment-extraction, and name them with dataset='train.csv,test.csv', "
        "text_column='text' and label_column='sentiment'"
    ),
}
_BATCH_SIZE = 1_024


def load_from_catalog(name, options, *, data_dir=None, columns=(None, None)):
    """Reads a dataset of TFDS; downloads and prepares it if it is not prepared.

    Args:
        name: name in the catalog, such as `"imdb_reviews"` or `"glue/cola"`, or of any
            dataset that was prepared for TFDS.
        options: `SplitOptions`. The test split is the dataset's own.
        data_dir: folder that is looked into first and downloaded to; then come the
            environment variable `TFDS_DATA_DIR` and `~/tensorflow_datasets`.
        columns: names of the text feature and of the label, where there are several.
    Returns:
        `Dataset` of source `"tfds"`.
    Raises:
        DataError: if the name is unknown, the dataset cannot be had (in under 20 s
            where there is no network), or it is no text classification.
        MissingDependencyError: if `tensorflow-datasets` is not installed.
    """
    tfds = require("tensorflow_datasets", extra="data")
    tfds.disable_progress_bar()
    places = _places(data_dir)
    builder = _find_prepared(tfds, name, places) or _find_in_catalog(tfds, name, places)
    features = _choose_features(tfds, name, builder.info.features, columns)
    if not builder.is_prepared():
        _download(tfds, builder, name, places)
    missing = {"train", "test"} - set(builder.info.splits)
    if missing:
        raise DataError(
            f"Dataset {name!r} has no {min(missing)} split; its splits are "
            f"{', '.join(builder.info.splits)}. Choose another dataset."
        )
    train, test = (
        _read(tfds, builder, split, *features) for split in ("train", "test")
    )
    class_names = builder.info.features[features[1]].names
    return make_dataset(name, "tfds", train, test, class_names, options)


def _places(data_dir):
    """Returns the folders to look into, each once, by the name of their origin."""
    origins = {
        "data_dir": data_dir,
        "TFDS_DATA_DIR": os.environ.get("TFDS_DATA_DIR"),
        "TFDS's default folder": "~/tensorflow_datasets",
    }
    places = {}
    for origin, folder in origins.items():
        path = pathlib.Path(folder).expanduser() if folder else None
        if path and path not in places.values():
            places[origin] = path
    return places


def _describe(places):
    return ", ".join(f"{folder} ({origin})" for origin, folder in places.items())


def _find_prepared(tfds, name, places):
    """Returns a builder on the first prepared copy, or `None`."""
    for folder in places.values():
        if not (folder / name.partition("/")[0]).is_dir():
            continue
        try:
            builder = tfds.builder(name, data_dir=folder)
        except ValueError:  # TFDS's error for a name that it does not find is one
            continue
        if builder.is_prepared():
            return builder
    return None


def _find_in_catalog(tfds, name, places):
    """Returns a builder that is not prepared, for the first of the places."""
    try:
        return tfds.builder(name, data_dir=next(iter(places.values())))
    except ValueError as error:
        raise _unknown(tfds, name, places) from error


def _download(tfds, builder, name, places):
    """Downloads and prepares a dataset."""
    reason = _why_unreachable(builder)
    if reason is None:
        # TFDS's own mirror is left out: without a network its client tries for minutes.
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        try:
            builder.download_and_prepare(download_config=config)
        except _download_errors(tfds) as error:
            reason = _first_line(error)
        else:
            return
    raise DataError(
        f"Dataset {name!r} cannot be had: there is no prepared copy in "
        f"{_describe(places)}, and the download failed: {reason}. Prepare it where "
        f"there is a network (tfds build {name}) and name its folder as data_dir, or "
        "name a file of your own."
    )


def _first_line(error):
    return str(error).strip().partition("\n")[0].rstrip(".")


def _unknown(tfds, name, places):
    """Makes the error for a name that TFDS does not know."""
    if name in RECIPES:
        return DataError(
            f"Dataset {name!r} is not in TFDS's catalog, and there is no prepared copy "
            f"in {_describe(places)}. To get it, {RECIPES[name]}."
        )
    known = tfds.list_builders(with_community_datasets=False)
    base = name.partition("/")[0]
    if base != name and base in known:
        known = [f"{base}/{key}" for key in tfds.builder_cls(base).builder_configs]
    # Sorted and each once, so that equally close names come in a fixed order.
    names = sorted({*known, *RECIPES, SYNTHETIC_NAME})
    close = difflib.get_close_matches(name, names)
    hint = f"The closest names are {', '.join(close)}" if close else "No name is close"
    return DataError(
        f"Unknown dataset {name!r}. {hint}; a file ends in .csv, .tsv, .jsonl or "
        f".parquet. Looked for a prepared copy in {_describe(places)}."
    )


def _download_errors(tfds):
    from tensorflow_datasets.core.download.download_manager import (
        NonMatchingChecksumError,
    )
    from tensorflow_datasets.core.download.extractor import ExtractError

    # An AssertionError says that files have to be downloaded by hand.
    return (
        OSError,
        AssertionError,
        tfds.download.DownloadError,
        NonMatchingChecksumError,
        ExtractError,
    )


def _why_unreachable(builder):
    """Asks the server of the first file that a dataset is downloaded from."""
    urls = [url for url in builder.url_infos or () if url.startswith("http")]
    return why_unreachable(urls[0], is_file=True) if urls else None


def _choose_features(tfds, name, features, columns):
    """Returns the names of the text features, a tuple, and that of the label."""
    names = dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    texts, labels = (
        [key for key in names if isinstance(names[key], kind)]
        for kind in (tfds.features.Text, tfds.features.ClassLabel)
    )
    if not texts or not labels:
        raise DataError(
            f"Dataset {name!r} is no text classification: it needs a text and a class "
            f"label, and its features are {', '.join(sorted(names)) or 'one array'}. "
            "Choose another dataset."
        )
    label = _choose(name, "label_column", labels, columns[1])
    if columns[0] is None and name in TEXT_FEATURES:
        return TEXT_FEATURES[name], label
    return (_choose(name, "text_column", texts, columns[0]),), label


def _choose(name, argument, keys, column):
    """Returns the feature that was asked for, or that the argument is named after."""
    usual = argument.removesuffix("_column")
    if column is None and len(keys) == 1:
        return keys[0]
    chosen = usual if column is None else column
    if chosen not in keys:
        raise DataError(
            f"Dataset {name!r} has no feature {chosen!r} for its {usual}. Choose "
            f"{argument} among {', '.join(sorted(keys))}."
        )
    return chosen


def _read(tfds, builder, split, texts, label):
    """Reads a split in the order in which it is stored."""
    import tensorflow as tf

    config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
    columns, labels = [[] for _ in texts], []
    try:
        batches = builder.as_dataset(
            split=split, batch_size=_BATCH_SIZE, read_config=config
        )
        for batch in tfds.as_numpy(batches):
            labels.extend(batch[label].tolist())
            for column, key in zip(columns, texts, strict=True):
                column.extend(batch[key].tolist())
    except tf.errors.OpError as error:
        raise _damaged(builder, _first_line(error.message)) from error
    expected = builder.info.splits[split].num_examples
    if len(labels) != expected:
        raise _damaged(builder, f"{len(labels)} of {expected} {split} examples")
    if min(labels, default=0) < 0:
        raise DataError(
            f"Dataset {builder.name!r} has examples without a label in its {split} "
            "split. Choose another dataset."
        )
    rows = zip(*columns, strict=True)
    decoded = [b" ".join(row).decode("utf-8", "replace") for row in rows]
    return Split({"text": text_array(decoded)}, labels)


def _damaged(builder, reason):
    return DataError(
        f"The prepared copy of dataset {builder.name!r} in {builder.data_dir} is "
        f"damaged: {reason}. Delete that folder and prepare the dataset again."
    )
