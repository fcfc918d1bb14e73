"""Several runs of one experiment on different data, judged together.

A difference of half a point is within the noise of one test split; the paired scores of
several splits, put together, show it.
"""

import dataclasses

import numpy as np

from tfcompress.errors import InvalidValueError
from tfcompress.formats.target import runs_on
from tfcompress.record import artifact_key, read_records
from tfcompress.report.scores import read_scores
from tfcompress.tasks import format_difference, metric_named


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredRun:
    """A run whose files are scored.

    Attributes:
        name: of its dataset.
        records: key -> record of what was scored.
        primary: name of the metric that is compared.
        scores: key -> float64 array, shape `(num_examples, k)`, by that metric.
    """

    name: str
    records: dict
    primary: str
    scores: dict


def read_run(folder):
    """Reads the scores of a run.

    Args:
        folder: `pathlib.Path` of a run's folder.
    Returns:
        `ScoredRun`.
    Raises:
        InvalidValueError: if it holds no scored run, or keeps no scores of its files.
    """
    records = {
        key: record
        for key, record in read_records(folder / "records").items()
        if record["status"] == "ok"
    }
    if not records:
        raise InvalidValueError(
            f"{str(folder)!r} holds no run that is scored. Name a folder such as "
            "runs/tweet_sentiment/latest."
        )
    first = next(iter(records.values()))
    primary = first["quality"]["primary"]
    scores = {
        key: read_scores(folder, key, record)[primary]
        for key, record in records.items()
    }
    return ScoredRun(first["dataset"]["name"], records, primary, scores)


def pooled_table(runs):
    """Writes a Markdown table: every file against its control, and the baseline.

    Args:
        runs: list of `ScoredRun`.
    Returns:
        Text that ends with a line break. Lines are of what all runs have; those of
        coded files stand for their dense ones, whose labels they give.
    Raises:
        InvalidValueError: if the runs have no file in common, or other metrics.
    """
    primaries = {run.primary for run in runs}
    if len(primaries) > 1:
        raise InvalidValueError(
            f"The runs are judged by {' and '.join(sorted(primaries))}: name runs of "
            "one metric."
        )
    common = [k for k in runs[0].records if all(k in run.records for run in runs[1:])]
    keras = {runs[0].records[k]["row"]: k for k in common if _is_keras(k, runs[0])}
    if not keras:
        raise InvalidValueError(
            "The runs have no row in common: they must be of one experiment."
        )
    names = [run.name for run in runs]
    header = ["file", "against", *names, "together", "95% interval"]
    lines = [header, ["---", "---", *["---:"] * (len(runs) + 2)]]
    baseline = next(k for r, k in keras.items() if runs[0].records[k]["parent"] is None)
    for key in common:
        record = runs[0].records[key]
        references = [baseline, keras.get(record["control"])]
        for reference in dict.fromkeys(references):
            if reference is not None and reference != key:
                lines.append(_line(key, reference, runs))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _is_keras(key, run):
    """Whether it is the Keras model on its own runtime, as others are compared with."""
    record = run.records[key]
    return record["format"] == "keras" and artifact_key(record) == key


def _line(key, reference, runs):
    metric = metric_named(runs[0].primary)
    pairs = [(run.scores[key], run.scores[reference]) for run in runs]
    each = [metric.paired(*pair) for pair in pairs]
    together = metric.paired(*map(np.concatenate, zip(*pairs, strict=True)))

    def written(value):
        return format_difference(value, metric.unit)

    record = runs[0].records[key]
    words = [record[f] for f in ("row", "format", "precision", "coding")]
    place = runs_on(record["format"], record["runtime"], record["device"])
    return [
        " ".join(filter(None, (*words, place))),
        runs[0].records[reference]["row"],
        *(written(found.value) for found in (*each, together)),
        f"{written(together.low)} to {written(together.high)}",
    ]
