"""Quality of one target, as a section of its record."""

import dataclasses

import numpy as np

from tfcompress.atomic import atomic_file
from tfcompress.errors import ArtifactError
from tfcompress.evaluate import WorkerRequest, run_worker
from tfcompress.tasks import agreement, is_constant, output_error

# Of the largest output. The tensors are the same to the bit; a runtime that decodes
# them when it runs may add their products up in another order.
_CODED_BOUND = 1e-4


class Scorer:
    """Scores artifacts on one split, in a process for each runtime.

    Args:
        split: `Split` with the targets of the examples.
        task: `Task` of the outputs.
        folder: open `RunFolder`, whose data the workers read.
        options: `Options`.
        suffix: of the files of examples.
    """

    def __init__(self, split, task, folder, options, suffix):
        self._expected = task.targets(split)
        self._task = task
        self._folder = folder
        self._options = options
        self._suffix = suffix

    def quality_section(self, row, target, artifact, records, baseline):
        """Measures the quality of one target through its artifact; keeps its scores.

        Args:
            row, target: what is measured.
            artifact: its `Artifact`.
            records: key -> record of what is measured already.
            baseline: the `Row` that examples are counted against.
        Returns:
            The record's `quality` section.
        Raises:
            ArtifactError: if the worker could not measure it.
        """
        key = target.key(row.name)
        dense_key = target.dense.key(row.name)
        heads = artifact.manifest.heads
        if target.coding == "coded" and not self._options.full_coded_quality:
            found = self._predict(artifact, key, "check", target)
            same = self._agreement(heads, found, dense_key)
            if same in (None, 1.0) and self._error(found, dense_key) <= _CODED_BOUND:
                # To the bit the same tensors, verified when it was coded.
                measured = records[dense_key]["quality"]
                return measured | {"inherited_from": dense_key, "dense_agreement": same}
        found = self._predict(artifact, key, "test", target)
        references = {
            "keras_agreement": _keras_key(row.name, row),
            "baseline_agreement": _keras_key(baseline.name, baseline),
        }
        if target.coding == "coded":
            references["dense_agreement"] = dense_key
        section = {
            name: self._agreement(heads, found, reference)
            for name, reference in references.items()
        }
        scores = self._score(heads, found)
        self._keep(key, scores)
        metric = self._task.metrics[self._task.primary]
        reference = self._scores(references["baseline_agreement"])
        worse, better = metric.worse_and_better(
            reference[self._task.primary], scores[self._task.primary]
        )
        return section | {
            "primary": self._task.primary,
            "metrics": self._figures(scores),
            "output_error": self._error(found, references["keras_agreement"]),
            "num_worse": worse,
            "num_better": better,
            "is_constant": is_constant(heads, _decide(heads, found)),
        }

    def scores(self, key, artifact):
        """Returns the scores of a file by the primary metric, predicted or kept.

        Args:
            key: of the target; what was predicted for it before is taken.
            artifact: its `Artifact`.
        Returns:
            float64 `(num_examples, k)`.
        Raises:
            ArtifactError: if the worker could not score it.
        """
        name = f"validation.{key}"
        try:
            outputs = self._outputs(name)
        except ArtifactError:  # not there yet, or of older code
            outputs = self._predict(artifact, name, "validation")
        return self._score(artifact.manifest.heads, outputs)[self._task.primary]

    def _score(self, heads, outputs):
        return self._task.score(_decide(heads, outputs), self._expected)

    def _figures(self, scores):
        """Returns the `metrics` of a quality section."""
        figures = {}
        for name, metric in self._task.metrics.items():
            figures[name] = dataclasses.asdict(metric.estimate(scores[name])) | {
                "unit": metric.unit,
                "higher_is_better": metric.higher_is_better,
            }
        return figures

    def _keep(self, key, scores):
        with atomic_file(self._folder.scores / f"{key}.npz") as path:
            np.savez(path, **scores)

    def _scores(self, key):
        path = self._folder.scores / f"{key}.npz"
        if not path.exists():
            raise _no_reference(key)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    def _outputs(self, key):
        """Returns what a file put out, a list of arrays in the order of its heads.

        Raises:
            ArtifactError: if there is nothing, because that target failed.
        """
        path = self._folder.predictions / f"{key}.npz"
        names = [f"output_{index}" for index in range(len(self._task.outputs))]
        if not path.exists():
            raise _no_reference(key)
        with np.load(path, allow_pickle=False) as arrays:
            if not set(names) <= set(arrays.files):
                raise _no_reference(key)
            return [arrays[name] for name in names]

    def _agreement(self, heads, outputs, reference):
        """Returns `agreement` with another file, on the examples that both ran."""
        count = len(outputs[0])
        expected = [array[:count] for array in self._outputs(reference)]
        return agreement(heads, _decide(heads, outputs), _decide(heads, expected))

    def _error(self, outputs, reference):
        """Returns the largest `output_error` of the outputs."""
        pairs = zip(outputs, self._outputs(reference), strict=True)
        return max(output_error(found, other[: len(found)]) for found, other in pairs)

    def _predict(self, artifact, key, examples, target=None):
        path = self._folder.predictions / f"{key}.npz"
        ask_worker(
            artifact,
            target,
            self._folder,
            task="quality",
            examples=(self._folder.data / f"{examples}{self._suffix}").resolve(),
            predictions=path.resolve(),
            num_threads=self._options.num_threads,
        )
        return self._outputs(key)


def operators_elsewhere(artifact, target, folder):
    """Returns the field of a record; arguments and error are those of `ask_worker`."""
    if target.device == "cpu":  # there is no other, as `tfcompress.runtime` says
        return []
    values = ask_worker(artifact, target, folder, task="placement")
    return values["operators_elsewhere"]


def ask_worker(artifact, target, folder, **fields):
    """Asks a worker, one for each runtime and device.

    Args:
        artifact: `Artifact`.
        target: `Target`; None for the artifact's own runtime, on the CPU.
        folder: open `RunFolder`.
        **fields: of `WorkerRequest`.
    Returns:
        Its values.
    Raises:
        ArtifactError: if it failed.
    """
    runtime = artifact.manifest.runtime if target is None else target.runtime
    device = "cpu" if target is None else target.device
    request = WorkerRequest(
        artifact=artifact.folder.resolve(), runtime=runtime, device=device, **fields
    )
    result = run_worker(request, log_path=folder.log, keep_as=f"{runtime} {device}")
    if result.error is not None:
        raise ArtifactError(result.error)
    return result.values


def _decide(heads, outputs):
    """Returns name of an output -> what its head decides."""
    return {
        head.name: head.decide(array)
        for head, array in zip(heads, outputs, strict=True)
    }


def _no_reference(key):
    return ArtifactError(f"It cannot be compared with {key!r}, which failed.")


def _keras_key(name, row):
    """The Keras model's key: the first target of every row."""
    return row.targets[0].key(name)
