"""A benchmark of files alone: made of one model, compared and timed, without data."""

import dataclasses
import functools
import pathlib

import numpy as np

from tfcompress.evaluate import write_examples
from tfcompress.processes import kept_children
from tfcompress.record import new_record, read_records, write_record
from tfcompress.report import print_table
from tfcompress.runner.artifacts import ArtifactMaker
from tfcompress.runner.console import Progress, own_terminal
from tfcompress.runner.environment import code_fingerprint, describe_environment
from tfcompress.runner.experiment import command, records_in_order, tell_failures
from tfcompress.runner.failures import describe_failure
from tfcompress.runner.rows import check_rows, devices_without_keras, widen_rows
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.scoring import ask_worker, operators_elsewhere
from tfcompress.runner.sizing import compression_ratio, layer_weights, size_section
from tfcompress.runner.summary import (
    against_tensorflow,
    noise_lines,
    untimed_lines,
    write_summary,
)
from tfcompress.runner.timing import time_rows
from tfcompress.tasks import ValueHead, output_error

_EXAMPLES = "timing.npz"
_MODEL_WEIGHT, _TARGET_WEIGHT, _RUN_WEIGHT = 40, 10, 2


def run_file_benchmark(name, rows, make_result, make_inputs, settings):
    """Exports and codes a model, compares the outputs, and times the files in turn.

    Args:
        name: of the benchmark.
        rows: tuple of `Row`; all have the same model.
        make_result: function without arguments that returns a `CompressionResult`,
            whose model puts out logits.
        make_inputs: function of that model that returns a dict of input name -> array,
            the examples leading.
        settings: `TimingSettings`; without a `run_dir` it is runs/<name>/latest.
    Returns:
        Exit status: 1 if a file failed, whose record says why, else 0.
    """
    rows = widen_rows(rows, settings.runtimes, settings.devices)
    check_rows(rows)
    count = sum(len(row.targets) for row in rows)
    timing_weight = (count + 1) * settings.rounds * _RUN_WEIGHT
    total = _MODEL_WEIGHT + count * _TARGET_WEIGHT + timing_weight
    with RunFolder(settings.run_dir or f"runs/{name}/latest") as folder:
        # Nothing is trained: it is cheaper to begin anew than to go on.
        folder.begin({}, code_fingerprint(), resume=False, fresh=True)
        with own_terminal(folder.log) as console:
            with Progress(console, total) as progress:
                with progress.step("model", _MODEL_WEIGHT):
                    result = make_result()
                inputs = make_inputs(result.model)
                examples = pathlib.Path(folder.data, _EXAMPLES).resolve()
                write_examples(examples, inputs)
                with kept_children():
                    notes = _build(name, rows, result, inputs, folder, progress)
                if settings.rounds:
                    with progress.step("timing in turn", timing_weight) as on_progress:
                        time_rows(rows, settings, folder, examples, on_progress)
            records = records_in_order(folder, rows)
            for row in rows:
                notes += against_tensorflow(row, read_records(folder.records))
            notes += devices_without_keras(rows, settings.devices)
            notes += untimed_lines(records) + noise_lines(folder)
            write_summary(name, folder, command(name, settings), records, notes)
            print_table(records, console)
            for line in notes:
                console.print(line, soft_wrap=True)
            console.print(f"Table, records and artifacts: {folder.path}")
            return tell_failures(records, console)


def _build(name, rows, result, inputs, folder, progress):
    """Makes all files and their records; returns lines about how outputs differ."""
    model = result.model
    environment = describe_environment()
    maker = ArtifactMaker(
        folder.artifacts,
        versions=environment["versions"],
        heads=lambda _: (ValueHead(),),
    )
    dataset = {
        "name": "random inputs",
        "source": "generated",
        "num_examples": len(next(iter(inputs.values()))),
        "is_synthetic": True,
    }
    layers = result.report.to_json()
    weights = functools.cache(lambda: layer_weights(model, layers))
    notes, baselines = [], {}

    def measure(row, target):
        """Makes a file and returns its `size` and `layers`."""
        artifact = maker.make(row, target, lambda: model, lambda: result.structures)
        dense = maker.dense_of(row, target)
        plain = maker.plain_of(row, target)
        size, found = size_section(artifact, dense, plain, layers, weights)
        if target.coding == "coded" and target == target.file:
            notes.append(_compare(row, artifact, dense, inputs))
        if target != target.file:
            notes.append(_compare_places(row, artifact, target, folder))
        elsewhere = operators_elsewhere(artifact, target, folder)
        return {"size": size, "layers": found, "operators_elsewhere": elsewhere}

    for row, target in [(each, file) for each in rows for file in each.targets]:
        with progress.step(
            f"{row.name}: {target.format} {target.coding} {target.place}".rstrip(),
            _TARGET_WEIGHT,
        ):
            try:
                measured = {"status": "ok", **measure(row, target)}
            except Exception as error:  # noqa: BLE001 - of any package
                measured = {"status": "failed", "error": describe_failure(error)}
        # The first of a format is the baseline, and where it failed there is none.
        baseline = baselines.setdefault(target.format, measured.get("size"))
        if size := measured.get("size"):
            size["compression_ratio"] = compression_ratio(size, baseline)
        record = new_record(
            experiment=name,
            environment=environment,
            dataset=dataset,
            model={"name": model.name, "num_weights": model.count_params()},
            row=row.name,
            recipe=row.recipe,
            **dataclasses.asdict(target),
            **measured,
        )
        write_record(folder.records / f"{target.key(row.name)}.json", record)
    return notes


def _compare_places(row, artifact, target, folder):
    """Returns a line that says how far another runtime's outputs are from the own's.

    Raises:
        ArtifactError: if one of them cannot run the file.
    """
    outputs = []
    for each in (target, target.file):
        path = folder.predictions / f"{each.key(row.name)}.npz"
        ask_worker(
            artifact,
            each,
            folder,
            task="quality",
            examples=(folder.data / _EXAMPLES).resolve(),
            predictions=path.resolve(),
        )
        with np.load(path, allow_pickle=False) as arrays:
            outputs.append(arrays["output_0"])
    difference = output_error(*outputs)
    return (
        f"{row.name}, {target.format} {target.coding} {target.place}: the outputs "
        f"differ from those on {target.file.runtime} by {difference:.1e} of the "
        "largest."
    )


def _compare(row, artifact, dense, inputs):
    """Returns a line that says how far a coded file's outputs are from the dense's."""
    (found,), (expected,) = (
        each.predict_outputs(inputs).values() for each in (artifact, dense)
    )
    artifact.close()
    dense.close()
    what = f"{row.name}, {artifact.manifest.format}"
    if np.array_equal(found, expected):
        return f"{what}: the coded file's outputs are the dense file's to the bit."
    difference = output_error(found, expected)
    return (
        f"{what}: the coded file's outputs differ from the dense file's by "
        f"{difference:.1e} of the largest."
    )
