"""What stands below and around the table: differences, training times, noise."""

import json
import statistics

import numpy as np

from tfcompress.atomic import atomic_file
from tfcompress.compression_report import FOLDED
from tfcompress.evaluate import paired_difference
from tfcompress.record import record_key
from tfcompress.report import markdown_table, operators_table
from tfcompress.runner.timing import read_noise


def summarize(rows, records, folder):
    """Returns lines of text about what a table's cells cannot say.

    Args:
        rows: the experiment's rows.
        records: list of records.
        folder: open `RunFolder`.
    """
    by_key = {record_key(record): record for record in records}
    lines = _warn_of_one_label(rows[0], by_key, folder)
    for row in rows:
        lines += _batch_norm_lines(row, folder)
    for row in rows:
        if row.control is None:
            continue
        control = next(other for other in rows if other.name == row.control)
        lines += _compare(row, control, by_key, folder)
    for row in rows:
        lines += against_tensorflow(row, by_key)
    return lines + noise_lines(folder)


def noise_lines(folder):
    """Returns a line for each file that was timed twice."""
    return [
        f"Noise: {key} timed twice: {ratios['batch_1']:.2f} times itself at batch 1, "
        f"{ratios['batch_32']:.2f} at batch 32."
        for key, ratios in read_noise(folder).items()
        if ratios["batch_1"] is not None
    ]


def write_summary(title, folder, command, records, notes, *, warning=None, appendix=""):
    """Writes `table.md`: the table, what it was made by, on and from.

    Args:
        title: heading.
        folder: open `RunFolder`.
        command: the command that makes it again.
        records: list of records, in the order of the lines.
        notes: lines of text that stand below the table.
        warning: what a reader must know of the data, or `None`.
        appendix: Markdown to stand below the lines of text.
    """
    data, environment = records[0]["dataset"], records[0]["environment"]
    fingerprint = data["fingerprint"] and f", fingerprint {data['fingerprint']}"
    heading = [
        f"# {title}",
        f"    {command}",
        f"Dataset {data['name']} ({data['source']}), {data['num_examples']:,} test "
        f"examples{fingerprint or ''}. {environment['cpu']}, "
        f"{environment['num_cores']} cores; {_commits(records)}.",
    ]
    if warning:
        heading.append(f"**WARNING: {warning}**")
    versions = environment["versions"]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    below = "\n".join(f"- {line}" for line in notes)
    table = markdown_table(records).rstrip()
    appendices = [operators_table(records).rstrip(), appendix.rstrip()]
    parts = [*heading, table, below, *appendices, f"Versions: {listed}."]
    with atomic_file(folder.table) as path:
        path.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")


def _batch_norm_lines(row, folder):
    """Returns what became of a row's BatchNormalization layers, where it has such."""
    path = folder.models / f"{row.name}.json"
    if not path.exists():
        return []
    notes = json.loads(path.read_text(encoding="utf-8"))
    lines = [f"WARNING: {row.name}: {line}" for line in notes.get("warnings", ())]
    count = sum(layer["status"] == FOLDED for layer in notes["layers"])
    if count:
        lines.append(
            f"{row.name}: {count} BatchNormalization layers were folded into other "
            "layers first, as exporting would do afterwards."
        )
    return lines


def _commits(records):
    """Returns the commits that made the records, with the time that each began at."""
    begun = {}
    for environment in (record["environment"] for record in records):
        begun.setdefault(environment["commit"], environment["started_at"])
    return "; ".join(f"commit {commit}; {time}" for commit, time in begun.items())


def _compare(row, control, by_key, folder):
    """Compares a row with its control: quality on each file, and training time."""
    lines = []
    labels = None
    for variant in row.variants:
        key, other = variant.key(row.name), variant.key(control.name)
        records = [by_key.get(name) for name in (key, other)]
        if variant.format != "keras" or any(
            record is None or record["status"] != "ok" for record in records
        ):
            continue
        labels = np.load(folder.data / "test_labels.npy") if labels is None else labels
        correct = [_predictions(folder, name) == labels for name in (key, other)]
        difference = paired_difference(*correct)
        lines.append(
            f"{row.name} against {control.name}: "
            f"{100 * difference.difference:+.2f} points of accuracy, 95% interval "
            f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f} (paired)."
        )
        seconds = [record["training"]["seconds_per_epoch"] for record in records]
        if None not in seconds:
            lines.append(
                f"{row.name} trains an epoch in {seconds[0]:.2f} s, "
                f"{seconds[0] / seconds[1]:.2f} times {control.name}'s "
                f"{seconds[1]:.2f} s."
            )
    return lines


def against_tensorflow(row, by_key):
    """Returns a line on the latency of a row's dense files beside TensorFlow's.

    Args:
        row: `Row`; where its first variant, the Keras model, or the others were not
            timed there is no line.
        by_key: key -> record.
    """
    if row.variants[0].format != "keras":
        return []
    keras = by_key.get(row.variants[0].key(row.name))
    p50s = _p50s(keras)
    ratios = [
        f"{record['format']} {record['precision']} {_ratio(record, p50s):.2f}"
        for variant in row.variants[1:]
        if variant.coding == "dense" and p50s
        for record in [by_key.get(variant.key(row.name))]
        if len(_p50s(record)) == len(p50s)
    ]
    if not ratios:
        return []
    latency = keras["latency"]
    length = latency["sequence_length"]
    return [
        f"{row.name}, latency beside TensorFlow's at batch 1, "
        f"{f'length {length}, ' if length else ''}{latency['num_threads']} threads: "
        f"{', '.join(ratios)}."
    ]


def _ratio(record, reference_p50s):
    """Returns the median of the rounds' ratios."""
    pairs = zip(_p50s(record), reference_p50s, strict=True)
    return statistics.median(one / other for one, other in pairs)


def _p50s(record):
    """Returns the p50 of each round at batch 1; of no round where it was not timed."""
    rounds = record and record["latency"]["batch_1"]["rounds"]
    return [one["p50_ms"] for one in rounds or ()]


def _warn_of_one_label(row, by_key, folder):
    """Returns a warning if the baseline gives every example the same label."""
    key = row.variants[0].key(row.name)
    if key not in by_key or by_key[key]["status"] != "ok":
        return []
    if np.unique(_predictions(folder, key)).size > 1:
        return []
    return [
        f"WARNING: {row.name} gives every test example one label: it has learned "
        "nothing, and the other rows say nothing either. It needs more examples."
    ]


def _predictions(folder, key):
    with np.load(folder.predictions / f"{key}.npz") as arrays:
        return arrays["indices"]
