"""The second phase: latency in turn, and memory, of the rows marked for it."""

import dataclasses
import itertools
import json

from tfcompress.atomic import write_json
from tfcompress.evaluate import (
    WorkerRequest,
    measure_in_turn,
    ratio,
    run_worker,
    summarize_rounds,
)
from tfcompress.evaluate.turns import BATCHES
from tfcompress.record import new_record, read_records, write_record
from tfcompress.runner.environment import describe_environment

_TWIN = "twin of "


def time_rows(rows, options, folder, examples, on_progress):
    """Times all targets of `rows` in turn and completes their records.

    A target that cannot be timed keeps its score: the record has no latency and says
    why in `timing_error`.

    Args:
        rows: the timed rows, the baseline first.
        options: `Options`.
        folder: open `RunFolder` whose records are complete but for this phase.
        examples: path of a file of `write_examples`: real inputs.
        on_progress: called with the fraction done and a line of text.
    """
    targets = _timed_targets(rows)
    records = read_records(folder.records)
    artifacts = {
        key: _measured(folder, row, target)
        for key, (row, target) in targets.items()
        if records[key]["status"] == "ok"
    }
    if not artifacts:
        return
    environment = describe_environment()
    # The first file of each format, runtime and device is measured twice: that ratio is
    # the noise. Not the Keras model, whose processes take longest.
    first = {
        (target.format, target.runtime, target.device): key
        for key in reversed(artifacts)
        for _, target in [targets[key]]
        if target.format != "keras"
    }
    artifacts |= {_TWIN + key: artifacts[key] for key in first.values()}
    total = len(artifacts) * options.rounds
    done = itertools.count(1)

    def on_round(number, key, result):
        on_progress(next(done) / total, f"round {number + 1} of {options.rounds}")

    timed = measure_in_turn(
        artifacts,
        examples=examples,
        num_threads=options.num_threads,
        rounds=options.rounds,
        on_round=on_round,
        log_path=folder.log,
    )
    write_json(folder.noise, {key: _noise(timed, key) for key in first.values()})
    idle = {}
    for key in targets:
        if key not in artifacts:
            continue
        record, error = records[key], timed[key].error
        latency, memory = _no_sections()
        if error is None:
            latency = _latency_section(key, targets, rows[0], timed)
            memory, error = _memory_section(
                artifacts[key], examples, options, folder, idle
            )
        record |= {
            "latency": latency,
            "memory": memory,
            "timing_error": error,
            "timing_environment": environment,
        }
        write_record(folder.records / f"{key}.json", record)


def _timed_targets(rows):
    """Returns key -> `(row, target)` of what is timed, in the order of the turn.

    The Keras models compute alike, whatever their weights: those of one row are enough.
    """
    with_keras = [row for row in rows if any(t.format == "keras" for t in row.targets)]
    return {
        target.key(row.name): (row, target)
        for row in rows
        for target in row.targets
        if target.format != "keras" or row is with_keras[0]
    }


def _measured(folder, row, target):
    """Returns what a `WorkerRequest` takes to measure a target."""
    return {
        "artifact": (folder.artifacts / target.file.key(row.name)).resolve(),
        "runtime": target.runtime,
        "device": target.device,
    }


def _no_sections():
    """Returns the latency and memory of what was not measured."""
    empty = new_record()
    return empty["latency"], empty["memory"]


def read_noise(folder):
    """Returns key -> `{"batch_1": ratio, "batch_32": ratio}` of what is timed twice."""
    if not folder.noise.exists():
        return {}
    return json.loads(folder.noise.read_text(encoding="utf-8"))


def _noise(timed, key):
    """Returns the ratios of one target to itself, measured under two names."""
    rounds, twin = timed[key].rounds, timed[_TWIN + key].rounds
    if not rounds or len(rounds) != len(twin):
        return dict.fromkeys(BATCHES)
    return {batch: ratio(twin, rounds, batch) for batch in BATCHES}


def _latency_section(key, targets, baseline, timed):
    row, target = targets[key]
    section = summarize_rounds(timed[key].rounds)
    plain = dataclasses.replace(target, precision="float32", coding="dense")
    references = {
        "ratio_to_baseline": plain.key(baseline.name),
        "ratio_to_dense": target.dense.key(row.name),
    }
    for batch in BATCHES:
        for name, reference in references.items():
            rounds = timed[reference].rounds if reference in timed else ()
            if rounds and not timed[reference].error:
                section[batch][name] = ratio(timed[key].rounds, rounds, batch)
            else:
                section[batch][name] = None
    return section


def _memory_section(measured, examples, options, folder, idle):
    """Measures peak memory less that of the same runtime with no model.

    Args:
        measured: as of `_measured`.
        idle: (runtime, device) -> `(peak with no model, error)`, filled in here: it is
            measured once.
    Returns:
        `(section, error)`; the error is None where both were measured.
    """

    def measure(task):
        request = WorkerRequest(
            task=task, examples=examples, num_threads=options.num_threads, **measured
        )
        result = run_worker(request, log_path=folder.log)
        return result.values or {}, result.error

    place = measured["runtime"], measured["device"]
    if place not in idle:
        idle[place] = measure("runtime_memory")
    (of_runtime, idle_error), (of_model, error) = idle[place], measure("memory")
    peak, without = of_model.get("peak_rss_bytes"), of_runtime.get("runtime_rss_bytes")
    section = {
        "peak_rss_bytes": None if None in (peak, without) else peak - without,
        "runtime_rss_bytes": without,
        "gpu_bytes": of_model.get("gpu_bytes"),
    }
    return section, error or idle_error
