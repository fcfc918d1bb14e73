"""Figures that others published, beside those of a run, in columns of their own.

They come from other machines, checkpoints and splits: a reader compares the directions,
not the digits. What each really is stands in the last column.
"""

import csv
import dataclasses

from tfcompress.tasks import format_value, metric_title


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """A published row and the file of a run that did the same.

    Attributes:
        table, method: of the published row.
        row, format, precision, coding: of the run's record.
    """

    table: str
    method: str
    row: str
    format: str
    precision: str = "float32"
    coding: str = "dense"


def read_published(path):
    """Reads published figures.

    Args:
        path: path of a CSV file with the columns `source`, `table`, `model`, `method`,
            `size_mb`, `quality_metric`, `quality` and `what_it_really_is`.
    Returns:
        List of dicts of text, one for each row.
    """
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def beside(published, matches):
    """Returns what was published beside the files of a run, as a result holds it.

    Args:
        published: list of `read_published`.
        matches: sequence of `Match`, in the order of the lines.
    Returns:
        List of dicts of text: the fields of a match and of its published row.
    """
    rows = {(row["table"], row["method"]): row for row in published}
    return [
        rows[match.table, match.method] | dataclasses.asdict(match) for match in matches
    ]


def published_table(records, published):
    """Writes a Markdown table: ours to the left, what was published to the right.

    Args:
        records: sequence of records.
        published: list of `beside`; a line whose record was not measured has dashes on
            the left.
    Returns:
        Text that ends with a line break.
    """
    qualities = [r["quality"]["metrics"] for r in records if r["quality"]["metrics"]]
    names = list(qualities[0]) if qualities else []
    header = (
        "row",
        "file",
        *map(metric_title, names),
        "MB",
        "published as",
        "quality",
        "MB",
        "what that is",
    )
    lines = [
        header,
        ("---", "---", *["---:"] * (len(names) + 1), "---", "---:", "---:", "---"),
    ]
    for row in published:
        record = next((r for r in records if _is_of(r, row)), None)
        lines.append((*_ours(row, record, names), *_theirs(row)))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    sources = dict.fromkeys(row["source"] for row in published)
    return f"{table}\n\nPublished by: {'; '.join(sources)}.\n"


def _is_of(record, row):
    fields = ("row", "format", "precision", "coding")
    return all(record[field] == row[field] for field in fields)


def _ours(row, record, names):
    file = f"{row['format']} {row['precision']} {row['coding']}"
    figures = record and record["quality"]["metrics"]
    if not figures:
        return row["row"], file, *["-"] * (len(names) + 1)
    return (
        row["row"],
        file,
        *(format_value(figures[n]["value"], figures[n]["unit"]) for n in names),
        f"{record['size']['file_bytes'] / 1e6:.2f}",
    )


def _theirs(row):
    return (
        f"{row['model']}, {row['method']}",
        f"{row['quality']} ({row['quality_metric'].replace('_', ' ')})",
        row["size_mb"],
        row["what_it_really_is"],
    )
