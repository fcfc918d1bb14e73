"""Puts the parts of an experiment's first phase together, and its examples on disk."""

from tfcompress.evaluate import write_examples
from tfcompress.formats import FORMATS
from tfcompress.runner.artifacts import ArtifactMaker, is_quantized
from tfcompress.runner.building import Builder
from tfcompress.runner.row_models import RowModels
from tfcompress.runner.scoring import Scorer, examples_path
from tfcompress.runner.search import SearchTrial

# Real examples for the timing, and for a coded file that takes over a quality.
NUM_TIMING_EXAMPLES, NUM_CHECK_EXAMPLES = 32, 500


def make_builder(experiment, options, flags, dataset, store, environment):
    """Returns the `Builder` of an experiment.

    Args:
        experiment: `Experiment`.
        options: `RunSettings`.
        flags: dict of the flags that go into the records.
        dataset: `Dataset` of texts or of arrays.
        store: `RunStore`; the examples that workers read go into its folder.
        environment: `environment` section of the records.
    """
    rows, folder = experiment.rows, store.folder
    data = experiment.make_task(dataset)
    maker = ArtifactMaker(
        store,
        versions=environment["versions"],
        heads=data.task.heads,
        calibration=lambda names: experiment.calibration.data(data.dataset, names),
        tokenizer=data.tokenizer,
        verify=options.verify,
    )
    _write_examples(dataset.test, examples_files(dataset.test.num_examples), folder)
    trial = None
    if experiment.search is not None:
        count = dataset.validation.num_examples
        _write_examples(dataset.validation, {"validation": count}, folder)
        trial = SearchTrial(
            experiment.search,
            data.task,
            Scorer(dataset.validation, data.task, folder, options),
            lambda: _of_baseline(rows[0], maker),
        )

    def sections(target):
        return {
            "experiment": experiment.name,
            "format": target.format,
            "precision": target.precision,
            "coding": target.coding,
            "runtime": target.runtime,
            "tool": _tool(target),
            "device": target.device,
            "seed": options.seed,
            "dataset": {
                "name": dataset.name,
                "source": dataset.source,
                "split": "test",
                "num_examples": dataset.test.num_examples,
                "fingerprint": dataset.fingerprint,
                "is_synthetic": dataset.is_synthetic,
            },
            "model": {"name": data.model_name, "preset": data.preset},
            "environment": environment,
            "flags": flags,
        }

    return Builder(
        rows,
        store=store,
        models=RowModels(rows, data, folder.models),
        maker=maker,
        scorer=Scorer(dataset.test, data.task, folder, options),
        task=data.task,
        sections=sections,
        trial=trial,
    )


def _of_baseline(row, maker):
    """Returns the key and the artifact of the baseline's Keras model."""
    target = row.targets[0]
    return target.key(row.name), maker.dense_of(row, target)


def _tool(target):
    """Returns what writes the file, for the record."""
    format = FORMATS[target.format]
    tools = [format.exporter.tool]
    if is_quantized(target):
        tools.append(format.quantizer.tool)
    if target.coding == "coded":
        tools.append("tfcompress.coding")
    return " + ".join(tools)


def _write_examples(split, counts, folder):
    """Writes the files of examples that workers read.

    Args:
        split: `Split`.
        counts: file name without suffix -> number of the examples, the first.
        folder: open `RunFolder`.
    """
    texts = split.inputs.get("text")
    for name, count in counts.items():
        inputs = {key: array[:count] for key, array in split.inputs.items()}
        if texts is not None:
            inputs = inputs["text"].tolist()
        write_examples(examples_path(folder, split, name), inputs)


def examples_files(num_examples):
    """Returns file name without suffix -> number of test examples in it."""
    return {
        "test": num_examples,
        "check": min(num_examples, NUM_CHECK_EXAMPLES),
        "timing": min(num_examples, NUM_TIMING_EXAMPLES),
    }
