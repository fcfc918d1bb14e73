"""A benchmark of files alone: made of one model, compared and timed, without data."""

import dataclasses
import pathlib

import numpy as np

from tfcompress.evaluate import write_examples
from tfcompress.record import new_record, read_records, write_record
from tfcompress.report import print_table
from tfcompress.runner.artifacts import ArtifactMaker
from tfcompress.runner.console import Progress, own_terminal
from tfcompress.runner.environment import code_fingerprint, describe_environment
from tfcompress.runner.experiment import command, records_in_order
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.scoring import size_section
from tfcompress.runner.summary import against_tensorflow, noise_lines, write_summary
from tfcompress.runner.timing import time_rows

_MODEL_WEIGHT, _VARIANT_WEIGHT, _RUN_WEIGHT = 40, 10, 2


def run_file_benchmark(name, rows, make_result, make_inputs, options):
    """Exports and codes a model, compares the outputs, and times the files in turn.

    Args:
        name: of the benchmark.
        rows: tuple of `Row`; all have the same model.
        make_result: function without arguments that returns a `CompressionResult`,
            whose model puts out logits.
        make_inputs: function of that model that returns a dict of input name -> array,
            the examples leading.
        options: `Options` with a `run_dir`.
    """
    count = sum(len(row.variants) for row in rows)
    timing_weight = (count + 1) * options.rounds * _RUN_WEIGHT
    total = _MODEL_WEIGHT + count * _VARIANT_WEIGHT + timing_weight
    with RunFolder(options.run_dir) as folder:
        # Nothing is trained: it is cheaper to begin anew than to go on.
        folder.begin({}, code_fingerprint(), resume=False, fresh=True)
        with own_terminal(folder.log) as console:
            with Progress(console, total) as progress:
                with progress.step("model", _MODEL_WEIGHT):
                    result = make_result()
                inputs = make_inputs(result.model)
                examples = pathlib.Path(folder.data, "timing.npz").resolve()
                write_examples(examples, inputs)
                notes = _build(name, rows, result, inputs, folder, progress)
                if options.rounds:
                    with progress.step("timing in turn", timing_weight) as on_progress:
                        time_rows(rows, options, folder, examples, on_progress)
            records = records_in_order(folder, rows)
            for row in rows:
                notes += against_tensorflow(row, read_records(folder.records))
            notes += noise_lines(folder)
            write_summary(name, folder, command(), records, notes)
            print_table(records, console)
            for line in notes:
                console.print(line, soft_wrap=True)
            console.print(f"Table, records and artifacts: {folder.path}")


def _build(name, rows, result, inputs, folder, progress):
    """Makes all files and their records; returns lines about how outputs differ."""
    model = result.model
    environment = describe_environment()
    maker = ArtifactMaker(
        folder.artifacts,
        versions=environment["versions"],
        labels=[str(number) for number in range(model.output_shape[-1])],
    )
    dataset = {
        "name": "random inputs",
        "source": "generated",
        "num_examples": len(next(iter(inputs.values()))),
        "is_synthetic": True,
    }
    notes, baselines = [], {}
    for row in rows:
        for variant in row.variants:
            what = f"{row.name}: {variant.format} {variant.coding}"
            with progress.step(what, _VARIANT_WEIGHT):
                artifact = maker.make(
                    row, variant, lambda: model, lambda: result.structures
                )
                dense = maker.dense_of(row, variant)
                size, layers = size_section(
                    artifact,
                    dense,
                    result.report.to_json(),
                    baselines.get(variant.format),
                )
                record = new_record(
                    experiment=name,
                    environment=environment,
                    dataset=dataset,
                    model={"name": model.name, "num_weights": model.count_params()},
                    row=row.name,
                    recipe=row.recipe,
                    runtime=variant.runtime,
                    status="ok",
                    size=size,
                    layers=layers,
                    **dataclasses.asdict(variant),
                )
                baselines.setdefault(variant.format, record)
                if variant.coding == "coded":
                    notes.append(_compare(row, artifact, dense, inputs))
            key = variant.key(row.name)
            write_record(folder.records / f"{key}.json", record)
    return notes


def _compare(row, artifact, dense, inputs):
    """Returns a line that says how far a coded file's outputs are from the dense's."""
    found, expected = artifact.predict_logits(inputs), dense.predict_logits(inputs)
    artifact.close()
    dense.close()
    what = f"{row.name}, {artifact.manifest.format}"
    if np.array_equal(found, expected):
        return f"{what}: the coded file's outputs are the dense file's to the bit."
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    return (
        f"{what}: the coded file's outputs differ from the dense file's by "
        f"{difference:.1e} of the largest."
    )
