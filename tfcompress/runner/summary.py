"""What stands below and around the table: differences, training times, noise."""

import json
import statistics

from tfcompress.artifact import Artifact
from tfcompress.atomic import atomic_file
from tfcompress.compression_report import FOLDED
from tfcompress.errors import ArtifactError
from tfcompress.formats.target import Target, runs_on
from tfcompress.record import record_key
from tfcompress.report import markdown_table, operators_table
from tfcompress.report.table import file_name
from tfcompress.runner.timing import read_noise
from tfcompress.tasks import difference_unit, format_difference, metric_title

_FLOAT32_BOUND = 1e-3  # of the largest output: rounding is a hundredth of it


def summarize(rows, records, folder):
    """Returns lines of text about what a table's cells cannot say.

    Args:
        rows: the experiment's rows.
        records: list of records.
        folder: open `RunFolder`.
    """
    by_key = {record_key(record): record for record in records}
    lines = _warn_of_one_prediction(rows[0], by_key)
    for row in rows:
        lines += _batch_norm_lines(row, folder)
    for row in rows:
        if row.control is None:
            continue
        control = next(other for other in rows if other.name == row.control)
        lines += _compare(row, control, by_key)
    for row in rows:
        lines += against_tensorflow(row, by_key)
    lines += _far_lines(records)
    return lines + untimed_lines(records) + noise_lines(folder)


def outputs_lines(row, folder):
    """Returns a line on each thing that the files put out; none where there is none.

    Args:
        row: `Row`, the baseline.
        folder: open `RunFolder`.
    """
    for target in row.files:
        try:
            artifact = Artifact.load(folder.artifacts / target.key(row.name))
        except ArtifactError:  # that one failed
            continue
        heads = artifact.manifest.heads
        if len(heads) == 1:
            return [heads[0].describe()]
        return [f"Output {head.name}: {head.describe()}" for head in heads]
    return []


def untimed_lines(records):
    """Returns a line for each file whose timing failed."""
    return [
        f"Not timed: {record['row']}, {file_name(record)}: {record['timing_error']}"
        for record in records
        if record["timing_error"] is not None
    ]


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
    data = records[0]["dataset"]
    environments = [record["environment"] for record in records]
    of_timing = _elsewhere(records)
    fingerprint = data["fingerprint"] and f", fingerprint {data['fingerprint']}"
    heading = [
        f"# {title}",
        f"    {command}",
        f"Dataset {data['name']} ({data['source']}), {data['num_examples']:,} test "
        f"examples{fingerprint or ''}. {_machines(environments)}.",
    ]
    if of_timing:
        heading.append(f"Latency and memory: {_machines(of_timing)}.")
    if warning:
        heading.append(f"**WARNING: {warning}**")
    versions = [f"Versions: {_versions(environments[0])}."]
    if of_timing and _versions(of_timing[0]) != _versions(environments[0]):
        versions.append(f"Versions of the timing: {_versions(of_timing[0])}.")
    below = "\n".join(f"- {line}" for line in notes)
    table = markdown_table(records).rstrip()
    appendices = [operators_table(records).rstrip(), appendix.rstrip()]
    parts = [*heading, table, below, *appendices, *versions]
    with atomic_file(folder.table) as path:
        path.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")


def _far_lines(records):
    """Returns a warning for each float32 file that does not compute what Keras does."""
    return [
        f"WARNING: {record['row']}, {file_name(record)}: an output differs from "
        f"Keras's with the same weights by {error:.1e} of the largest output."
        for record in records
        for error in [record["quality"]["output_error"]]
        if record["precision"] == "float32" and (error or 0) > _FLOAT32_BOUND
    ]


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


def _machines(environments):
    """Returns processors, commits and the time that each commit began at."""
    begun = {}
    for environment in environments:
        machine = f"{environment['cpu']}, {environment['num_cores']} cores"
        commits = begun.setdefault(machine, {})
        commits.setdefault(environment["commit"], environment["started_at"])
    return "; ".join(
        f"{machine}; {'; '.join(f'commit {c}; {time}' for c, time in commits.items())}"
        for machine, commits in begun.items()
    )


def _versions(environment):
    versions = environment["versions"] or {}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _elsewhere(records):
    """Returns the environments of the timings, if one is not that of its record."""
    timed = [r for r in records if r["timing_environment"]["started_at"] is not None]
    what = ("cpu", "num_cores", "commit", "versions")
    differs = any(
        record["timing_environment"][name] != record["environment"][name]
        for record in timed
        for name in what
    )
    return [record["timing_environment"] for record in timed] if differs else []


def _compare(row, control, by_key):
    """Compares a row's Keras model with its control's: quality, and training time."""
    lines = []
    for target in row.targets:
        key, other = target.key(row.name), target.key(control.name)
        records = [by_key.get(name) for name in (key, other)]
        if target != Target(format="keras") or any(
            record is None or record["status"] != "ok" for record in records
        ):
            continue
        lines += _difference_lines(row, control, records[0], other)
        seconds = [record["training"]["seconds_per_epoch"] for record in records]
        if None not in seconds:
            lines.append(
                f"{row.name} trains an epoch in {seconds[0]:.2f} s, "
                f"{seconds[0] / seconds[1]:.2f} times {control.name}'s "
                f"{seconds[1]:.2f} s."
            )
    return lines


def _difference_lines(row, control, record, other):
    """Returns the line on a record's primary metric beside that of another key."""
    primary = record["quality"]["primary"]
    found = [
        each
        for each in record["comparisons"] or ()
        if (each["against"], each["metric"]) == (other, primary)
    ]
    if not found:
        return []
    unit = record["quality"]["metrics"][primary]["unit"]
    difference, low, high = (
        format_difference(found[0][name], unit)
        for name in ("difference", "low", "high")
    )
    return [
        f"{row.name} against {control.name}: {difference}{difference_unit(unit)} of "
        f"{metric_title(primary)}, 95% interval {low} to {high} (paired)."
    ]


def against_tensorflow(row, by_key):
    """Returns a line on the latency of a row's dense files beside TensorFlow's.

    Args:
        row: `Row`; where its first target, the Keras model, or the others were not
            timed there is no line.
        by_key: key -> record.
    """
    if row.targets[0].format != "keras":
        return []
    keras = by_key.get(row.targets[0].key(row.name))
    p50s = _p50s(keras)
    ratios = [
        f"{_named(record)} {_ratio(record, p50s):.2f}"
        for target in row.targets[1:]
        if target.coding == "dense" and p50s
        for record in [by_key.get(target.key(row.name))]
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


def _named(record):
    place = runs_on(record["format"], record["runtime"], record["device"])
    return " ".join(filter(None, (record["format"], record["precision"], place)))


def _ratio(record, reference_p50s):
    """Returns the median of the rounds' ratios."""
    pairs = zip(_p50s(record), reference_p50s, strict=True)
    return statistics.median(one / other for one, other in pairs)


def _p50s(record):
    """Returns the p50 of each round at batch 1; of no round where it was not timed."""
    rounds = record and record["latency"]["batch_1"]["rounds"]
    return [one["p50_ms"] for one in rounds or ()]


def _warn_of_one_prediction(row, by_key):
    """Returns a warning if the baseline predicts the same for every example."""
    record = by_key.get(row.targets[0].key(row.name))
    if record is None or not record["quality"]["is_constant"]:
        return []
    return [
        f"WARNING: {row.name} predicts the same for every test example: it has learned "
        "nothing, and the other rows say nothing either. It needs more examples."
    ]
