"""What a method did to every layer: asked, done, measured after stripping.

A layer that was asked for and not treated has a row with the reason; nothing is
skipped in silence.
"""

import dataclasses
import textwrap
from collections.abc import Mapping

import numpy as np

COMPRESSED, SKIPPED, LEFT_ALONE = "compressed", "skipped", "left_alone"
FOLDED = "folded"

_COLUMNS, _NUM_TEXTS = 80, 3
_INDENTS = {"initial_indent": "  ", "subsequent_indent": "  "}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer's row.

    Args:
        name: layer name in the bridged model, such as `"encoder/dense"`.
        kind: layer type, such as `"Dense"`.
        status: `"compressed"`, `"skipped"` (asked for, not possible), `"left_alone"`
            (nothing to treat, or a rule says so) or `"folded"`: a BatchNormalization
            that became part of another layer's weights before the first step.
        reason: why it is not `"compressed"`, or what differs from what was asked.
        requested: the settings asked for.
        stripped: weight name -> `measure_weight` of the weight after stripping.
        exported: the same, measured in an exported file; filled in later.
    """

    name: str
    kind: str
    status: str
    reason: str | None = None
    requested: Mapping = dataclasses.field(default_factory=dict)
    stripped: Mapping = dataclasses.field(default_factory=dict)
    exported: Mapping = dataclasses.field(default_factory=dict)

    def to_json(self):
        """Returns the row as plain data."""
        return {
            field.name: dict(value) if isinstance(value, Mapping) else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionReport:
    """The rows of all layers, in model order.

    Args:
        rows: tuple of `LayerRow`.
        structures: `(layer name, weight name)` -> dict of plain arrays that describe
            the weight, such as `{"codebook": float32 (num_clusters,)}`. Export and
            coding may take them as hints.
        training_log: the `TrainingLog` that `training.fit` returned, else `None`.
        warnings: lines about what the exported files will not keep.
        kept_bytes: bytes of the weights of layers that crossed as they are, which no
            step can treat; their rows give the reasons.
        weight_bytes: bytes of all weights.
    """

    rows: tuple[LayerRow, ...]
    structures: Mapping = dataclasses.field(default_factory=dict)
    training_log: object = None
    warnings: tuple[str, ...] = ()
    kept_bytes: int = 0
    weight_bytes: int = 0

    def to_json(self):
        """Returns the rows as a list of plain dicts."""
        return [row.to_json() for row in self.rows]

    def __str__(self):
        """A line for each layer, its reason below it, and the warnings; 80 columns."""
        titles = ("layer", "kind", "status", "weights", "zeros", "values")
        cells = [titles, *map(_cells, self.rows)]
        rest = [max(map(len, column)) for column in list(zip(*cells, strict=True))[1:]]
        width = max(len(titles[0]), min(_longest(cells), _COLUMNS - sum(rest) - 10))
        lines = []
        for row, line in zip((None, *self.rows), cells, strict=True):
            lines.append(_aligned(line, (width, *rest)))
            if row is not None and row.reason is not None:
                lines += textwrap.wrap(row.reason, _COLUMNS, **_INDENTS)
        lines += [f"Warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def _cells(row):
    """Returns what stands in the columns of a layer."""
    found = row.stripped.values()
    if not found:
        return (row.name, row.kind, row.status, "-", "-", "-")
    total = sum(each["num_weights"] for each in found)
    zeros = 1 - sum(each["num_nonzero"] for each in found) / total
    values = max(each["distinct_values"] for each in found)
    return (row.name, row.kind, row.status, f"{total:,}", f"{zeros:.0%}", f"{values:,}")


def _longest(cells):
    return max(len(line[0]) for line in cells)


def _aligned(line, widths):
    """Joins cells to a line: texts to the left, numbers to the right."""
    name = line[0] if len(line[0]) <= widths[0] else "…" + line[0][1 - widths[0] :]
    texts = [name, *line[1:]]
    padded = [
        text.ljust(width) if index < _NUM_TEXTS else text.rjust(width)
        for index, (text, width) in enumerate(zip(texts, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def merge_reports(reports, measured):
    """Makes one report of those of a recipe's steps, with a row for each layer.

    Args:
        reports: method name -> `CompressionReport`, in the order of the steps.
        measured: `(layer name, weight name)` -> what was measured after the last step.
    Returns:
        `CompressionReport` without a training log. A layer's row has the settings of
        all steps; the structures of a later step replace those of an earlier one.
    """
    rows = []
    for of_layer in zip(*(report.rows for report in reports.values()), strict=True):
        steps = dict(zip(reports, of_layer, strict=True))
        stripped = {
            weight: found
            for (layer, weight), found in measured.items()
            if layer == of_layer[0].name
        }
        rows.append(_merge_rows(steps, stripped))
    structures = {}
    for report in reports.values():
        structures |= report.structures
    return CompressionReport(rows=tuple(rows), structures=structures)


def _merge_rows(steps, stripped):
    """Merges the rows of one layer, by method name."""
    statuses = {row.status for row in steps.values()}
    order = (COMPRESSED, SKIPPED, LEFT_ALONE)
    requested = {}
    for row in steps.values():
        requested |= row.requested
    reasons = {row.reason for row in steps.values()}
    reason = "; ".join(
        f"{method}: {row.reason}" for method, row in steps.items() if row.reason
    )
    return dataclasses.replace(
        next(iter(steps.values())),
        status=next(status for status in order if status in statuses),
        reason=reasons.pop() if len(reasons) == 1 else reason,
        requested=requested,
        stripped=stripped,
    )


def measure_weight(weight):
    """Measures what compression is about in one weight.

    Args:
        weight: float array of any shape.
    Returns:
        Dict of `num_weights`, `num_nonzero` and `distinct_values` (zero included;
        +0.0 and -0.0 are different values, as in a file).

    >>> measure_weight(np.float32([[0, 1], [1, 2]]))
    {'num_weights': 4, 'num_nonzero': 3, 'distinct_values': 3}
    """
    weight = np.ascontiguousarray(weight)
    return {
        "num_weights": int(weight.size),
        "num_nonzero": int(np.count_nonzero(weight)),
        "distinct_values": count_distinct(weight.view(f"u{weight.dtype.itemsize}")),
    }


def count_distinct(numbers):
    """Counts the distinct values of an integer array, which is not empty.

    >>> count_distinct(np.uint8([3, 1, 3]))
    2
    """
    ordered = np.sort(numbers, axis=None)  # a tenth of np.unique's time, which hashes
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + 1
