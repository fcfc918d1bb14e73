"""The second phase: latency in turn, and memory, of the rows marked for it."""

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
    # The Keras models compute alike, whatever their weights: one of them is enough.
    targets = {
        v.key(row.name): (row, v)
        for row in rows
        for v in row.targets
        if v.format != "keras" or row is rows[0]
    }
    records = read_records(folder.records)
    artifacts = {
        key: (folder.artifacts / key).resolve()
        for key in targets
        if records[key]["status"] == "ok"
    }
    if not artifacts:
        return
    environment = describe_environment()
    # The first file of each format is measured twice: that ratio is the noise. Not the
    # Keras model, whose processes take longest.
    first = {targets[key][1].format: key for key in reversed(artifacts)}
    first.pop("keras", None)
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
                record, artifacts[key], examples, options, folder, idle
            )
        record |= {
            "latency": latency,
            "memory": memory,
            "timing_error": error,
            "timing_environment": environment,
        }
        write_record(folder.records / f"{key}.json", record)


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
    plain = type(target)(format=target.format)
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


def _memory_section(record, artifact, examples, options, folder, idle):
    """Measures peak memory less that of the same runtime with no model.

    Args:
        idle: runtime -> `(peak with no model, error)`, filled in here: it is measured
            once.
    Returns:
        `(section, error)`; the error is None where both were measured.
    """

    def measure(task, name):
        request = WorkerRequest(
            task=task,
            artifact=artifact,
            examples=examples,
            num_threads=options.num_threads,
        )
        result = run_worker(request, log_path=folder.log)
        return (result.values or {}).get(name), result.error

    runtime = record["runtime"]
    if runtime not in idle:
        idle[runtime] = measure("runtime_memory", "runtime_rss_bytes")
    of_runtime, idle_error = idle[runtime]
    peak, error = measure("memory", "peak_rss_bytes")
    above = None if None in (peak, of_runtime) else peak - of_runtime
    section = {
        "peak_rss_bytes": above,
        "runtime_rss_bytes": of_runtime,
        "gpu_bytes": None,
    }
    return section, error or idle_error
