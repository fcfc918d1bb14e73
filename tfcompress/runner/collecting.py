"""Collects the `RunResult` of a run: facts alone, of its records and its folder."""

import json
import statistics

from tfcompress.compression_report import FOLDED
from tfcompress.errors import ArtifactError
from tfcompress.formats.target import Target
from tfcompress.record import record_key
from tfcompress.report.command import command_of
from tfcompress.report.run_result import RunResult
from tfcompress.runner.timing import read_noise

_FLOAT32_BOUND = 1e-3  # of the largest output: rounding is a hundredth of it


def collect_result(experiment, settings, dataset, store):
    """Makes the result of a run.

    Args:
        experiment: `Experiment`.
        settings: its settings.
        dataset: `Dataset`.
        store: `RunStore`, whose records are complete.
    Returns:
        `RunResult`.
    """
    rows, folder = experiment.rows, store.folder
    records = store.in_order(rows)
    by_key = {record_key(record): record for record in records}
    notes = {row.name: _notes(row, folder) for row in rows}
    chosen = experiment.choose(records)
    return RunResult(
        experiment=experiment.name,
        command=command_of(experiment.name, settings),
        dataset=records[0]["dataset"] | {"warning": dataset.warning},
        heads=[head.to_json() for head in _heads(rows[0], store)],
        rows=[_row(row, notes[row.name], by_key) for row in rows],
        records=records,
        comparisons=_comparisons(rows, by_key),
        training_times=_training_times(rows, by_key),
        latency_ratios=_latencies(rows, by_key),
        noise=read_noise(folder),
        warnings=_warnings(rows[0], notes, by_key),
        failures=[*_failures(by_key)],
        search=_search(experiment.search, by_key),
        chosen=chosen and record_key(chosen),
        published=experiment.published(dataset.name),
    )


def _heads(row, store):
    """Returns the heads of a row's files, as their manifests have them."""
    for target in row.files:
        try:
            return store.artifact(target.key(row.name)).manifest.heads
        except ArtifactError:  # that one failed
            continue
    return ()


def _notes(row, folder):
    """Returns what was noted when a row's model was made; of older code nothing."""
    path = folder.models / f"{row.name}.json"
    if not path.exists():
        return {"warnings": [], "layers": []}
    return {"warnings": []} | json.loads(path.read_text(encoding="utf-8"))


def _row(row, notes, by_key):
    keys = [target.key(row.name) for target in row.targets]
    return {
        "name": row.name,
        "parent": row.parent,
        "control": row.control,
        "recipe": row.recipe,
        "is_timed": row.is_timed,
        "num_folded": sum(layer["status"] == FOLDED for layer in notes["layers"]),
        "keys": [key for key in keys if key in by_key],
    }


def _warnings(baseline, notes, by_key):
    empty = dict.fromkeys(("row", "key", "value", "message"))
    found = []
    first = by_key.get(baseline.targets[0].key(baseline.name))
    if first is not None and first["quality"]["is_constant"]:
        found.append({"kind": "constant_prediction", "row": baseline.name})
    found += [
        {"kind": "compression", "row": name, "message": message}
        for name, each in notes.items()
        for message in each["warnings"]
    ]
    for key, record in by_key.items():
        error = record["quality"]["output_error"]
        if record["precision"] == "float32" and (error or 0) > _FLOAT32_BOUND:
            row = record["row"]
            found.append(
                {"kind": "output_error", "row": row, "key": key, "value": error}
            )
    return [empty | each for each in found]


def _failures(by_key):
    for key, record in by_key.items():
        if record["status"] == "failed":
            yield {"key": key, "step": "making", "error": record["error"]}
        if record["timing_error"] is not None:
            yield {"key": key, "step": "timing", "error": record["timing_error"]}


def _search(search, by_key):
    if search is None:
        return None
    tried = {k: r for k, r in by_key.items() if r["search"]["holds"] is not None}
    held = [key for key, record in tried.items() if record["search"]["holds"]]
    return {
        "max_drop": search.max_drop,
        "tried": list(tried),
        "found": min(held, key=lambda k: by_key[k]["size"]["file_bytes"], default=None),
    }


def _pairs(rows, by_key):
    """Yields the pairs of Keras models, of a row and of its control, that are made."""
    for row in rows:
        for target in row.targets if row.control is not None else ():
            keys = target.key(row.name), target.key(row.control)
            found = [by_key.get(key) for key in keys]
            if target == Target(format="keras") and all(
                record is not None and record["status"] == "ok" for record in found
            ):
                names = (row.name, keys[0], row.control, keys[1])
                fields = ("row", "key", "against_row", "against")
                yield dict(zip(fields, names, strict=True)), *found


def _comparisons(rows, by_key):
    """Returns the paired differences by the primary metric, from the records."""
    found = []
    for pair, record, _ in _pairs(rows, by_key):
        primary = record["quality"]["primary"]
        found += [
            pair | {"unit": record["quality"]["metrics"][primary]["unit"]} | each
            for each in record["comparisons"] or ()
            if (each["against"], each["metric"]) == (pair["against"], primary)
        ]
    return found


def _training_times(rows, by_key):
    found = []
    for pair, *records in _pairs(rows, by_key):
        own, other = (record["training"]["seconds_per_epoch"] for record in records)
        if None not in (own, other):
            times = {"seconds_per_epoch": own, "against_seconds_per_epoch": other}
            found.append(pair | times | {"ratio": own / other})
    return found


def _latencies(rows, by_key):
    """Returns the latency of dense files beside that of the baseline's Keras model.

    Of rows whose layers are the baseline's: those that nothing was done to.
    """
    first = rows[0].targets[0] if rows[0].targets else None
    p50s = _p50s(first and by_key.get(first.key(rows[0].name)))
    if not p50s or first.format != "keras":
        return []
    reference = {"against_row": rows[0].name, "against": first.key(rows[0].name)}
    found = []
    for row in rows:
        is_same = row.parent is None or not row.recipe
        for target in row.targets[1:] if is_same else ():
            key = target.key(row.name)
            rounds = _p50s(by_key.get(key))
            if target.coding == "dense" and len(rounds) == len(p50s):
                ratios = [one / other for one, other in zip(rounds, p50s, strict=True)]
                ratio = {"batch": "batch_1", "ratio": statistics.median(ratios)}
                found.append({"row": row.name, "key": key} | reference | ratio)
    return found


def _p50s(record):
    """Returns the p50 of each round at batch 1; of no round where it was not timed."""
    rounds = record and record["latency"]["batch_1"]["rounds"]
    return [one["p50_ms"] for one in rounds or ()]
