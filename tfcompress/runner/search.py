"""The smallest file that keeps the quality: candidates tried on the validation split.

Candidates are rows, the smallest expected file first; each is built and compared with
the baseline on the validation split until one holds the bound. The test split has no
say in the choice.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched for.

    Args:
        candidates: names of the rows to try, from the smallest file to the safest; the
            last file of a row is its own.
        max_drop: by how much the primary metric may be worse than the baseline's on
            the validation split, in the metric's unit; at least 0. A hundredth is a
            point of what is a share.
    """

    candidates: tuple[str, ...]
    max_drop: float


class SearchTrial:
    """Compares the files of candidates with the baseline on the validation split.

    Args:
        search: `Search`.
        task: `Task`.
        scorer: `Scorer` of the validation split.
        baseline: function without arguments that returns the key and the `Artifact` of
            the baseline's Keras model, which is made by then.
    """

    def __init__(self, search, task, scorer, baseline):
        self._candidates = search.candidates
        self._max_drop = search.max_drop
        self._name = task.primary
        self._metric = task.metrics[task.primary]
        self._scorer = scorer
        self._baseline = baseline

    def is_of(self, row, target):
        """Whether this is the file by which the search judges a row."""
        return row.name in self._candidates and target == row.files[-1]

    def section(self, key, artifact):
        """Measures one candidate.

        Args:
            key: of the candidate's target.
            artifact: its `Artifact`.
        Returns:
            The record's `search` section. `holds` is whether the measured difference
            is within the bound; `low` and `high` are its paired 95% interval, which
            says how sure that is.
        Raises:
            ArtifactError: if a worker could not score a file.
        """
        reference, scores = (
            self._scorer.scores(*of) for of in (self._baseline(), (key, artifact))
        )
        found = self._metric.paired(scores, reference)
        gain = found.value if self._metric.higher_is_better else -found.value
        return {
            "max_drop": self._max_drop,
            "num_examples": len(scores),
            "metric": self._name,
            "validation_score": self._metric.estimate(scores).value,
            "difference": found.value,
            "low": found.low,
            "high": found.high,
            "holds": gain >= -self._max_drop,
        }
