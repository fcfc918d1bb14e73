"""Quality of one variant, as a section of its record."""

import dataclasses

import numpy as np

from tfcompress.errors import ArtifactError
from tfcompress.evaluate import (
    WorkerRequest,
    agreement,
    count_flips,
    measure_quality,
    output_error,
    run_worker,
)

# Of the largest output. The tensors are the same to the bit; a runtime that decodes
# them when it runs may add their products up in another order.
_CODED_BOUND = 1e-4


class Scorer:
    """Scores artifacts on the test split, in a process for each runtime.

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
            if np.array_equal(found, expected) and self._is_close(key, dense_key):
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
        section["output_error"] = self._output_error(key, references["keras_agreement"])
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
        return self._arrays(key)["indices"]

    def _arrays(self, key):
        path = self._folder.predictions / f"{key}.npz"
        if not path.exists():
            raise ArtifactError(f"It cannot be compared with {key!r}, which failed.")
        with np.load(path) as arrays:
            return dict(arrays)

    def _output_error(self, key, reference):
        """Returns `output_error`; None if older code kept the labels of one alone."""
        outputs, expected = (
            self._arrays(name).get("outputs") for name in (key, reference)
        )
        if outputs is None or expected is None:
            return None
        return output_error(outputs, expected[: len(outputs)])

    def _is_close(self, key, dense_key):
        """Whether a coded file puts out what its dense file does, but for rounding."""
        error = self._output_error(key, dense_key)
        return error is not None and error <= _CODED_BOUND

    def _predict(self, artifact, key, examples):
        path = self._folder.predictions / f"{key}.npz"
        request = WorkerRequest(
            task="quality",
            artifact=artifact.folder.resolve(),
            examples=(self._folder.data / f"{examples}{self._suffix}").resolve(),
            predictions=path.resolve(),
            num_threads=self._options.num_threads,
        )
        format = artifact.manifest.format
        result = run_worker(request, log_path=self._folder.log, keep_as=format)
        if result.error is not None:
            raise ArtifactError(result.error)
        return self.predictions(key)


def _keras_key(name, row):
    """The Keras model's key: the first variant of every row."""
    return row.variants[0].key(name)
