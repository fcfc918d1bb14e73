"""Several runs of one experiment on different data, judged together.

A difference of half a point is within the noise of one test split; the paired flips of
several splits, put together, show it.
"""

import dataclasses

import numpy as np

from tfcompress.errors import InvalidValueError
from tfcompress.evaluate import paired_difference
from tfcompress.record import read_records


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredRun:
    """A run whose files are scored.

    Attributes:
        name: of its dataset.
        records: key -> record of what was scored.
        correct: key -> bool array, shape `(num_examples,)`: labelled right.
    """

    name: str
    records: dict
    correct: dict


def read_run(folder):
    """Reads the scores of a run.

    Args:
        folder: `pathlib.Path` of a run's folder.
    Returns:
        `ScoredRun`.
    Raises:
        InvalidValueError: if it holds no scored run.
    """
    labels_path = folder / "data" / "test_labels.npy"
    records = {
        key: record
        for key, record in read_records(folder / "records").items()
        if record["status"] == "ok"
    }
    if not records or not labels_path.exists():
        raise InvalidValueError(
            f"{str(folder)!r} holds no run that is scored. Name a folder such as "
            "runs/tweet_sentiment/latest."
        )
    labels = np.load(labels_path)
    correct = {}
    for key, record in records.items():
        source = record["quality"]["inherited_from"] or key
        with np.load(folder / "predictions" / f"{source}.npz") as arrays:
            correct[key] = arrays["indices"] == labels
    name = next(iter(records.values()))["dataset"]["name"]
    return ScoredRun(name, records, correct)


def pooled_table(runs):
    """Writes a Markdown table: every file against its control, and the baseline.

    Args:
        runs: list of `ScoredRun`.
    Returns:
        Text that ends with a line break. Lines are of what all runs have; those of
        coded files stand for their dense ones, whose labels they give.
    Raises:
        InvalidValueError: if the runs have no file in common.
    """
    common = [k for k in runs[0].records if all(k in run.records for run in runs[1:])]
    keras = {runs[0].records[k]["row"]: k for k in common if ".keras." in k}
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


def _line(key, reference, runs):
    pairs = [(run.correct[key], run.correct[reference]) for run in runs]
    each = [paired_difference(*pair) for pair in pairs]
    together = paired_difference(*map(np.concatenate, zip(*pairs, strict=True)))
    record = runs[0].records[key]
    file = " ".join(record[f] for f in ("row", "format", "precision", "coding"))
    return [
        file,
        runs[0].records[reference]["row"],
        *(_points(found.difference) for found in (*each, together)),
        f"{_points(together.low)} to {_points(together.high)}",
    ]


def _points(share):
    return f"{100 * share:+.2f}"
