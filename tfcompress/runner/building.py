"""The first phase: every row is built, and every variant of it sized and scored."""

from tfcompress.evaluate import write_examples
from tfcompress.formats import FORMATS
from tfcompress.quantizers import quantized_operators
from tfcompress.record import new_record
from tfcompress.runner.artifacts import (
    ArtifactMaker,
    is_quantized,
    main_file,
)
from tfcompress.runner.comparing import Comparer
from tfcompress.runner.failures import describe_failure
from tfcompress.runner.row_models import RowModels
from tfcompress.runner.rows import Variant
from tfcompress.runner.scoring import Scorer
from tfcompress.runner.search import SearchTrial
from tfcompress.runner.sizing import compression_ratio, size_section

# Real examples for the timing, and for a coded file that takes over a quality.
NUM_TIMING_EXAMPLES, NUM_CHECK_EXAMPLES = 32, 500


class Builder:
    """Builds the rows of one experiment into a run folder.

    Args:
        experiment: `Experiment`.
        options: `Options`.
        flags: dict of the flags that go into the records.
        dataset: `Dataset` of texts or of arrays.
        store: `RunStore`.
        environment: `environment` section of the records.

    Attributes:
        timing_examples: name of the file of examples for the timing.
    """

    def __init__(self, experiment, options, flags, dataset, store, environment):
        self._experiment = experiment
        self._options = options
        self._flags = flags
        folder = store.folder
        self._store = store
        self._environment = environment
        self._task = experiment.make_task(dataset)
        self._models = RowModels(experiment.rows, self._task, folder.models)
        self._maker = ArtifactMaker(
            store,
            versions=environment["versions"],
            heads=self._task.task.heads,
            calibration=lambda names: experiment.calibration.data(
                self._task.dataset, names
            ),
            tokenizer=self._task.tokenizer,
            verify=options.verify,
        )
        counts = examples_files(dataset.test.num_examples)
        suffix = _write_examples(dataset.test, counts, folder.data)
        self.timing_examples = f"timing{suffix}"
        self._scorer = Scorer(dataset.test, self._task.task, folder, options, suffix)
        self._trial = None
        if experiment.search is not None:
            counts = {"validation": dataset.validation.num_examples}
            _write_examples(dataset.validation, counts, folder.data)
            self._trial = SearchTrial(
                experiment.search,
                self._task.task,
                Scorer(dataset.validation, self._task.task, folder, options, suffix),
                self._baseline,
            )

    @property
    def num_steps(self):
        """Models and files of all rows."""
        return sum(1 + len(row.variants) for row in self._experiment.rows)

    @property
    def verification_seconds(self):
        """What the checks of the files made so far have taken."""
        return self._maker.verification_seconds

    def todo(self):
        """Returns the row names and keys of what is still to be done, a set."""
        todo = {
            r.name for r in self._experiment.rows if not self._models.is_made(r.name)
        }
        for row in self._experiment.rows:
            keys = [variant.key(row.name) for variant in row.variants]
            todo.update(key for key in keys if not self._is_done(key))
        return todo

    def build_row(self, row, progress, todo):
        """Makes the model of a row and the record of each of its variants.

        Args:
            row: `Row`; its parent is built.
            progress: `Progress`.
            todo: as `todo` returned it.
        Raises:
            TrainingError: if the row cannot be trained. A variant that fails leaves a
                record that says why, and the others go on.
        """
        if row.name in todo:
            verb = "training" if row.trains else "compressing"
            with progress.step(f"{row.name}: {verb}") as on_progress:
                self._models.make(row.name, on_progress)
        for variant in row.variants:
            key = variant.key(row.name)
            if key not in todo:
                self._compare_size(row, variant)
                continue
            what = f"{variant.format} {variant.precision} {variant.coding}"
            with progress.step(f"{row.name}: {what}"):
                record = self._record(row, variant)
            self._store.keep(key, record)

    def compare(self):
        """Completes the records by their `comparisons`, once all rows are built."""
        rows = self._experiment.rows
        metrics = self._task.task.metrics
        records = self._store.records
        comparer = Comparer(rows, metrics, self._store.folder, records)
        for row in rows:
            for variant in row.variants:
                key = variant.key(row.name)
                if not self._is_done(key):
                    continue
                found = comparer.comparisons(row, key)
                if found != records[key]["comparisons"]:
                    self._store.keep(key, records[key] | {"comparisons": found})

    def holds(self, row):
        """Whether a candidate of a search, which is built, keeps the quality."""
        key = row.variants[-1].key(row.name)
        return bool(self._store.records[key]["search"]["holds"])

    def _baseline(self):
        """Returns the key and the artifact of the baseline's Keras model."""
        first = self._experiment.rows[0]
        return first.variants[0].key(first.name), self._maker.dense_of(
            first, first.variants[0]
        )

    def _record(self, row, variant):
        notes = self._models.notes(row.name)
        sections = self._common_sections(row, variant, notes)
        try:
            measured = self._measure(row, variant, notes["layers"])
        except Exception as error:  # noqa: BLE001 - many packages have had a hand in it
            error = describe_failure(error)
            return new_record(**sections, status="failed", error=error)
        num_weights = measured["size"]["num_weights"]
        sections["model"] = sections["model"] | {"num_weights": num_weights}
        return new_record(**sections, status="ok", **measured)

    def _measure(self, row, variant, layers):
        """Makes the artifact of one variant; returns the sections measured on it."""
        artifact = self._maker.make(
            row,
            variant,
            lambda: self._models.get(row.name),
            lambda: self._models.structures(row.name),
        )
        size, layers = size_section(
            artifact,
            self._maker.dense_of(row, variant),
            self._maker.plain_of(row, variant),
            layers,
            lambda: self._models.weights(row.name),
        )
        quality = self._scorer.quality_section(
            row, variant, artifact, self._store.records, self._experiment.rows[0]
        )
        operators, search = {}, {}
        if not variant.precision.is_float:
            operators = quantized_operators(main_file(artifact)).to_json()
        if self._is_candidate(row, variant):
            search = self._trial.section(variant.key(row.name), artifact)
        return {
            "verification": artifact.manifest.verification,
            "size": size | self._beside_baseline(row, variant, size),
            "quality": quality,
            "operators": operators,
            "search": search,
            "layers": layers,
        }

    def _beside_baseline(self, row, variant, size):
        """Returns the fields of a size section that compare it with the baseline's."""
        baseline = self._baseline_record(variant.format, "float32")
        baseline = baseline and baseline["size"]
        if row is self._experiment.rows[0] and variant == Variant(
            format=variant.format
        ):
            baseline = size
        quantizer = FORMATS[variant.format].quantizer
        int8 = quantizer and self._baseline_record(variant.format, quantizer.int8)
        return {
            "compression_ratio": compression_ratio(size, baseline),
            "baseline_int8_gzip_bytes": int8 and int8["size"]["gzip_bytes"],
        }

    def _compare_size(self, row, variant):
        """Compares a kept record with a baseline that had failed when it was made."""
        key = variant.key(row.name)
        record = self._store.records[key]
        if record["size"]["compression_ratio"] is None:
            found = self._beside_baseline(row, variant, record["size"])
            if found["compression_ratio"] is not None:
                self._store.keep(key, record | {"size": record["size"] | found})

    def _is_done(self, key):
        """Whether there is a record; what failed is tried again."""
        record = self._store.records.get(key)
        return record is not None and record["status"] == "ok"

    def _training_section(self, notes):
        """Returns the notes of a training, if there was one, with its objective."""
        return notes and notes | {"objective": self._task.task.objective.to_json()}

    def _is_candidate(self, row, variant):
        """Whether this is the file by which a search judges a row."""
        search = self._experiment.search
        return (
            search is not None
            and row.name in search.candidates
            and variant == row.variants[-1]
        )

    def _baseline_record(self, format, precision):
        plain = Variant(format=format, precision=precision)
        key = plain.key(self._experiment.rows[0].name)
        return self._store.records[key] if self._is_done(key) else None

    def _common_sections(self, row, variant, notes):
        data = self._task.texts
        return {
            "experiment": self._experiment.name,
            "row": row.name,
            "parent": row.parent,
            "control": row.control,
            "recipe": row.recipe,
            "format": variant.format,
            "precision": variant.precision,
            "coding": variant.coding,
            "runtime": variant.runtime,
            "tool": _tool(variant),
            "device": variant.device,
            "seed": self._options.seed,
            "dataset": {
                "name": data.name,
                "source": data.source,
                "split": "test",
                "num_examples": data.test.num_examples,
                "fingerprint": data.fingerprint,
                "is_synthetic": data.is_synthetic,
            },
            "training": self._training_section(notes["training"]),
            "model": {"name": self._task.model_name, "preset": self._task.preset},
            "environment": self._environment,
            "flags": self._flags,
        }


def _tool(variant):
    """Returns what writes the file, for the record."""
    format = FORMATS[variant.format]
    tools = [format.exporter.tool]
    if is_quantized(variant):
        tools.append(format.quantizer.tool)
    if variant.coding == "coded":
        tools.append("tfcompress.coding")
    return " + ".join(tools)


def _write_examples(split, counts, folder):
    """Writes the files of examples that workers read; returns their suffix.

    Args:
        split: `Split`.
        counts: file name without suffix -> number of the examples, the first.
        folder: where the files go.
    """
    texts = split.inputs.get("text")
    suffix = ".npz" if texts is None else ".jsonl"
    for name, count in counts.items():
        inputs = {key: array[:count] for key, array in split.inputs.items()}
        if texts is not None:
            inputs = inputs["text"].tolist()
        write_examples(folder / f"{name}{suffix}", inputs)
    return suffix


def examples_files(num_examples):
    """Returns file name without suffix -> number of test examples in it."""
    return {
        "test": num_examples,
        "check": min(num_examples, NUM_CHECK_EXAMPLES),
        "timing": min(num_examples, NUM_TIMING_EXAMPLES),
    }
