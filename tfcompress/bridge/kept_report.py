"""What the user is told of layers that crossed as they are, with all their weights."""

import dataclasses
import logging

from tfcompress.bridge.kept import count_bytes, kept_layers
from tfcompress.compression_report import LEFT_ALONE

_log = logging.getLogger(__name__)

_NUM_NAMES = 3


def warn_of_kept(model):
    """Logs one line if most of a model's weights crossed as they are.

    Args:
        model: flat tf_keras model, as `to_tf_keras` makes it.
    """
    rows = sorted(kept_layers(model), key=lambda row: -row.num_bytes)
    kept, total = sum(row.num_bytes for row in rows), count_bytes(model)
    if 2 * kept <= total:
        return
    rows = [row for row in rows if row.num_bytes]
    names = ", ".join(f"{row.name!r} ({row.kind})" for row in rows[:_NUM_NAMES])
    more = len(rows) - _NUM_NAMES
    _log.warning(
        "%.0f%% of the weights' bytes lie in layers that cross as they are, which no "
        "step compresses: %s; the report gives the reason of each.",
        100 * kept / total,
        f"{names} and {more} more" if more > 0 else names,
    )


def explain_kept(report, model):
    """Says in a report which layers crossed as they are, and why.

    Args:
        report: `CompressionReport` of the model.
        model: the flat tf_keras model, wrappers stripped.
    Returns:
        The report, with the class and the reason of each such layer in its row, and
        the bytes of their weights and of all.
    """
    kept = {row.name: row for row in kept_layers(model)}
    rows = tuple(
        dataclasses.replace(
            row,
            kind=kept[row.name].kind,
            status=LEFT_ALONE,
            reason=kept[row.name].reason,
        )
        if row.name in kept
        else row
        for row in report.rows
    )
    return dataclasses.replace(
        report,
        rows=rows,
        kept_bytes=sum(row.num_bytes for row in kept.values()),
        weight_bytes=count_bytes(model),
    )
