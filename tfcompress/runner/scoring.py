"""Quality and size of one variant, as sections of its record."""

import dataclasses
import math

import numpy as np

from tfcompress.errors import ArtifactError
from tfcompress.evaluate import (
    WorkerRequest,
    agreement,
    count_flips,
    list_weights,
    measure_quality,
    measure_size,
    run_worker,
    summarize_weights,
)


class Scorer:
    """Scores artifacts on the test split, each in a fresh process.

    Args:
        split: `Split` with the labels of the examples.
        folder: open `RunFolder`, whose data the workers read.
        options: `Options`.
        suffix: of the files of examples.
    """

    def __init__(self, split, folder, options, suffix):
        self._labels = split.labels
        self._folder = folder
        self._options = options
        self._suffix = suffix

    def quality_section(self, row, variant, artifact, records, baseline):
        """Measures the quality of one variant through its artifact.

        Args:
            row, variant: what is measured.
            artifact: its `Artifact`.
            records: key -> record of what is measured already.
            baseline: the `Row` that flips are counted against.
        Returns:
            The record's `quality` section.
        Raises:
            ArtifactError: if the worker could not measure it.
        """
        key = variant.key(row.name)
        dense_key = variant.dense.key(row.name)
        if variant.coding == "coded" and not self._options.full_coded_quality:
            found = self._predict(artifact, key, "check")
            expected = self.predictions(dense_key)[: len(found)]
            if np.array_equal(found, expected):
                # To the bit the same tensors, verified when it was coded.
                measured = records[dense_key]["quality"]
                return measured | {"inherited_from": dense_key, "dense_agreement": 1.0}
        found = self._predict(artifact, key, "test")
        correct = found == self._labels
        references = {
            "keras_agreement": _keras_key(row.name, row),
            "baseline_agreement": _keras_key(baseline.name, baseline),
        }
        if variant.coding == "coded":
            references["dense_agreement"] = dense_key
        section = dataclasses.asdict(measure_quality(found, self._labels))
        for name, reference in references.items():
            section[name] = agreement(found, self.predictions(reference))
        reference = self.predictions(references["baseline_agreement"]) == self._labels
        to_wrong, to_right = count_flips(reference, correct)
        return section | {"flips_to_wrong": to_wrong, "flips_to_right": to_right}

    def correct(self, key, artifact):
        """Returns which validation examples a file labels right.

        Args:
            key: of the variant; what was predicted for it before is taken.
            artifact: its `Artifact`.
        Returns:
            bool `(num_examples,)`.
        Raises:
            ArtifactError: if the worker could not score it.
        """
        name = f"validation.{key}"
        path = self._folder.predictions / f"{name}.npz"
        if not path.exists():
            self._predict(artifact, name, "validation")
        return self.predictions(name) == self._labels

    def predictions(self, key):
        """Returns the predicted labels of a variant, int32 `(num_examples,)`.

        Raises:
            ArtifactError: if there are none, because that variant failed.
        """
        path = self._folder.predictions / f"{key}.npz"
        if not path.exists():
            raise ArtifactError(f"It cannot be compared with {key!r}, which failed.")
        with np.load(path) as arrays:
            return arrays["indices"]

    def _predict(self, artifact, key, examples):
        path = self._folder.predictions / f"{key}.npz"
        request = WorkerRequest(
            task="quality",
            artifact=artifact.folder.resolve(),
            examples=(self._folder.data / f"{examples}{self._suffix}").resolve(),
            predictions=path.resolve(),
            num_threads=self._options.num_threads,
        )
        result = run_worker(request, log_path=self._folder.log)
        if result.error is not None:
            raise ArtifactError(result.error)
        return self.predictions(key)


def _keras_key(name, row):
    """The Keras model's key: the first variant of every row."""
    return row.variants[0].key(name)


def size_section(artifact, dense, layers, baseline):
    """Measures the size of one artifact, and its weights as they lie in the file.

    Args:
        artifact: `Artifact`.
        dense: the `Artifact` of the dense file that it was coded from, or itself.
        layers: rows of the compression report, as JSON; empty for a plain model.
        baseline: record of the baseline's dense float32 file of this format, or `None`
            for that file itself.
    Returns:
        `(size, layers)`: the record's sections; in `layers`, `exported` is filled in.
    """
    manifest = dense.manifest
    weights = list_weights(manifest.format, dense.folder, manifest.model_files)
    table = artifact.manifest.coding_table
    found = [_of_coded(row) for row in table] if table else map(_of_dense, weights)
    found = list(found)
    layers = [row | {"exported": _exported(row["stripped"], found)} for row in layers]
    size = measure_size(artifact) | summarize_weights(weights, table)
    counts = [w["distinct_values"] for row in layers for w in row["exported"].values()]
    if counts:
        # Of a coded tensor that had too many to count, the number is not known.
        size["max_distinct_values"] = None if None in counts else max(counts)
    baseline_bytes = baseline["size"]["file_bytes"] if baseline else size["file_bytes"]
    size["compression_ratio"] = baseline_bytes / size["file_bytes"]
    return size, layers


def _of_dense(weight):
    return {
        "num_weights": weight.num_weights,
        "distinct_values": weight.num_distinct_values,
        "num_bytes": weight.size_bytes,
        "code": "dense",
    }


def _of_coded(row):
    return {
        "num_weights": math.prod(row["shape"]),
        "distinct_values": row["num_values"],
        "num_bytes": row["coded_bytes"],
        "code": row["code"],
    }


def _exported(stripped, found):
    """Finds a layer's weights in a file, where converters rename and transpose them.

    A weight is told by its number of elements, and by its number of distinct values
    where several have as many.
    """
    exported = {}
    for name, measured in stripped.items():
        alike = [w for w in found if w["num_weights"] == measured["num_weights"]]
        same = measured["distinct_values"]
        alike.sort(key=lambda weight: weight["distinct_values"] != same)
        if alike:
            exported[name] = alike[0]
    return exported
