"""The sentences below a table, made of a `RunResult`."""

from tfcompress.formats.target import runs_on
from tfcompress.record import record_key
from tfcompress.report.table import file_name
from tfcompress.tasks import (
    difference_unit,
    format_difference,
    head_from_json,
    metric_title,
)


def result_notes(result):
    """Returns lines of text about what a table's cells cannot say.

    Args:
        result: `RunResult`.
    """
    return [
        *_search_lines(result),
        *_head_lines(result.heads),
        *_warnings(result, "constant_prediction"),
        *(line for row in result.rows for line in _folding_lines(result, row)),
        *_control_lines(result),
        *_latency_lines(result),
        *_warnings(result, "output_error"),
        *(
            f"Not timed: {_name(result.record(each['key']))}: {each['error']}"
            for each in result.failures
            if each["step"] == "timing"
        ),
        *(
            f"Noise: {key} timed twice: {ratios['batch_1']:.2f} times itself at batch "
            f"1, {ratios['batch_32']:.2f} at batch 32."
            for key, ratios in result.noise.items()
            if None not in ratios.values()
        ),
    ]


def failure_lines(result):
    """Returns a line on each file that could not be made."""
    lines = []
    for each in result.failures:
        if each["step"] == "making":
            record = result.record(each["key"])
            lines.append(f"{_in_full(record)}: {each['error']}")
    return lines


def chosen_line(result, folder):
    """Returns the line that names the file to take; None where none is chosen.

    Args:
        result: `RunResult`.
        folder: path of the run's folder.
    """
    if result.chosen is None:
        return None
    record = result.record(result.chosen)
    path = folder / "artifacts" / result.chosen
    return f"Take {path} ({_name(record)}, {_kilobytes(record)})."


def _name(record):
    return f"{record['row']}, {file_name(record)}"


def _in_full(record):
    names = (record["format"], record["precision"], record["coding"], _place(record))
    return f"{record['row']}, {' '.join(filter(None, names))}"


def _place(record):
    return runs_on(record["format"], record["runtime"], record["device"])


def _kilobytes(record):
    return f"{record['size']['file_bytes'] / 1e3:,.1f} kB"


def _search_lines(result):
    """Returns a line for each candidate that was tried, and what was found."""
    search = result.search
    if search is None:
        return []
    lines = []
    for record in map(result.record, search["tried"]):
        of_record, quality = record["search"], record["quality"]
        unit = quality["metrics"][quality["primary"]]["unit"]
        end = "." if of_record["holds"] else ": too much."
        lines.append(
            f"Validation: {_in_full(record)}, {_kilobytes(record)}: "
            f"{', '.join(_difference(of_record, unit))}{end}"
        )
    bound = f"within {search['max_drop']:g} of the baseline"
    if search["found"] is None:
        return [*lines, f"No candidate is {bound}."]
    best = result.record(search["found"])
    return [
        *lines,
        f"Smallest tried {bound}: {best['row']} ({best['recipe'] or 'no recipe'}), in "
        f"artifacts/{record_key(best)}.",
    ]


def _difference(found, unit):
    """Returns a difference in words, and its interval."""
    difference, low, high = (
        format_difference(found[name], unit) for name in ("difference", "low", "high")
    )
    return (
        f"{difference}{difference_unit(unit)}",
        f"95% interval {low} to {high} (paired)",
    )


def _head_lines(heads):
    """Returns a line on each thing that the files put out."""
    heads = [head_from_json(head) for head in heads]
    if len(heads) == 1:
        return [heads[0].describe()]
    return [f"Output {head.name}: {head.describe()}" for head in heads]


def _warnings(result, kind):
    return [
        f"WARNING: {_warning(result, each)}"
        for each in result.warnings
        if each["kind"] == kind
    ]


def _warning(result, warning):
    if warning["kind"] == "constant_prediction":
        return (
            f"{warning['row']} predicts the same for every test example: it has "
            "learned nothing, and the other rows say nothing either. It needs more "
            "examples."
        )
    return (
        f"{_name(result.record(warning['key']))}: an output differs from Keras's with "
        f"the same weights by {warning['value']:.1e} of the largest output."
    )


def _folding_lines(result, row):
    """Returns what became of a row's BatchNormalization layers, where it has such."""
    lines = [
        f"WARNING: {row['name']}: {each['message']}"
        for each in result.warnings
        if (each["kind"], each["row"]) == ("compression", row["name"])
    ]
    if row["num_folded"]:
        lines.append(
            f"{row['name']}: {row['num_folded']} BatchNormalization layers were folded "
            "into other layers first, as exporting would do afterwards."
        )
    return lines


def _control_lines(result):
    """Returns how each row's Keras model differs from its control's."""
    lines = []
    for row in result.rows:
        for each in result.comparisons:
            if each["row"] == row["name"]:
                difference, interval = _difference(each, each["unit"])
                lines.append(
                    f"{each['row']} against {each['against_row']}: {difference} of "
                    f"{metric_title(each['metric'])}, {interval}."
                )
        for each in result.training_times:
            if each["row"] == row["name"]:
                lines.append(
                    f"{each['row']} trains an epoch in {each['seconds_per_epoch']:.2f} "
                    f"s, {each['ratio']:.2f} times {each['against_row']}'s "
                    f"{each['against_seconds_per_epoch']:.2f} s."
                )
    return lines


def _latency_lines(result):
    """Returns a line on the latency of each row's dense files beside TensorFlow's."""
    lines = []
    for row in result.rows:
        found = [each for each in result.latency_ratios if each["row"] == row["name"]]
        if not found:
            continue
        latency = result.record(found[0]["against"])["latency"]
        length = latency["sequence_length"]
        where = f"length {length}, " if length else ""
        ratios = []
        for each in found:
            record = result.record(each["key"])
            names = (record["format"], record["precision"], _place(record))
            name = " ".join(filter(None, names))
            ratios.append(f"{name} {each['ratio']:.2f}")
        lines.append(
            f"{row['name']}, latency beside TensorFlow's at batch 1, {where}"
            f"{latency['num_threads']} threads: {', '.join(ratios)}."
        )
    return lines
