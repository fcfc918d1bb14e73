"""The smallest file that keeps the quality: candidates tried on the validation split.

Candidates are rows, the smallest expected file first; each is built and compared with
the baseline on the validation split until one holds the bound. The test split has no
say in the choice.
"""

import dataclasses

from tfcompress.record import record_key
from tfcompress.tasks import difference_unit, format_difference


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
        self._max_drop = search.max_drop
        self._name = task.primary
        self._metric = task.metrics[task.primary]
        self._scorer = scorer
        self._baseline = baseline

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


def _difference(record):
    search, quality = record["search"], record["quality"]
    unit = quality["metrics"][quality["primary"]]["unit"]
    difference, low, high = (
        format_difference(search[name], unit) for name in ("difference", "low", "high")
    )
    return f"{difference}{difference_unit(unit)}, 95% interval {low} to {high} (paired)"


def describe_search(records, max_drop):
    """Returns a line of text for each candidate that was tried, and what was found.

    Args:
        records: list of records, in the order of the rows.
        max_drop: of the search.
    """
    tried = [r for r in records if r["search"]["holds"] is not None]
    lines = [
        f"Validation: {r['row']}, {r['format']} {r['precision']} {r['coding']}, "
        f"{r['size']['file_bytes'] / 1e3:,.1f} kB: "
        f"{_difference(r)}{'.' if r['search']['holds'] else ': too much.'}"
        for r in tried
    ]
    chosen = [r for r in tried if r["search"]["holds"]]
    if not chosen:
        return [*lines, f"No candidate is within {max_drop:g} of the baseline."]
    best = min(chosen, key=lambda record: record["size"]["file_bytes"])
    recipe = best["recipe"] or "no recipe"
    return [
        *lines,
        f"Smallest tried within {max_drop:g} of the baseline: {best['row']} "
        f"({recipe}), in artifacts/{record_key(best)}.",
    ]
