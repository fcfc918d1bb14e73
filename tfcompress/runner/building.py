"""The first phase: every row is built, and every target of it sized and scored."""

from tfcompress.evaluate import write_examples
from tfcompress.formats import FORMATS
from tfcompress.formats.target import Target
from tfcompress.quantizers import quantized_operators
from tfcompress.record import new_record, read_records, write_record
from tfcompress.runner.artifacts import (
    ArtifactMaker,
    is_quantized,
    main_file,
)
from tfcompress.runner.comparing import Comparer
from tfcompress.runner.failures import describe_failure
from tfcompress.runner.row_models import RowModels
from tfcompress.runner.scoring import Scorer, operators_elsewhere
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
        folder: open `RunFolder`.
        environment: `environment` section of the records.

    Attributes:
        timing_examples: name of the file of examples for the timing.
    """

    def __init__(self, experiment, options, flags, dataset, folder, environment):
        self._experiment = experiment
        self._options = options
        self._flags = flags
        self._folder = folder
        self._environment = environment
        self._task = experiment.make_task(dataset)
        self._models = RowModels(experiment.rows, self._task, folder.models)
        self._maker = ArtifactMaker(
            folder.artifacts,
            versions=environment["versions"],
            heads=self._task.task.heads,
            calibration=lambda names: experiment.calibration.data(
                self._task.dataset, names
            ),
            tokenizer=self._task.tokenizer,
            verify=options.verify,
        )
        self._records = {
            key: record
            for key, record in read_records(folder.records).items()
            if record["status"] == "ok"  # what failed is tried again
        }
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
        return sum(1 + len(row.targets) for row in self._experiment.rows)

    @property
    def verification_seconds(self):
        """What the checks of the files made so far have taken."""
        return self._maker.verification_seconds

    def weights(self):
        """Returns row name or key -> weight of what is still to be done."""
        weights = {}
        for row in self._experiment.rows:
            if not self._models.is_made(row.name):
                weights[row.name] = self._task.seconds(row)
            for target in row.targets:
                key = target.key(row.name)
                if key not in self._records:
                    weights[key] = self._task.target_seconds
        return weights

    def timing_weight(self, rows, rounds):
        """Returns the rough seconds that timing the files of `rows` takes."""
        return (
            sum(len(row.targets) for row in rows) * rounds * self._task.timing_seconds
        )

    def build_row(self, row, progress, weights):
        """Makes the model of a row and the record of each of its targets.

        Args:
            row: `Row`; its parent is built.
            progress: `Progress`.
            weights: as `weights` returned them.
        Raises:
            TrainingError: if the row cannot be trained. A target that fails leaves a
                record that says why, and the others go on.
        """
        if row.name in weights:
            verb = "training" if row.trains else "compressing"
            with progress.step(f"{row.name}: {verb}", weights[row.name]) as on_progress:
                self._models.make(row.name, on_progress)
        for target in row.targets:
            key = target.key(row.name)
            if key not in weights:
                self._compare_size(row, target)
                continue
            what = f"{target.format} {target.precision} {target.coding} {target.place}"
            with progress.step(f"{row.name}: {what.rstrip()}", weights[key]):
                record = self._record(row, target)
            self._keep(key, record)

    def compare(self):
        """Completes the records by their `comparisons`, once all rows are built."""
        rows = self._experiment.rows
        metrics = self._task.task.metrics
        comparer = Comparer(rows, metrics, self._folder, self._records)
        for row in rows:
            for target in row.targets:
                key = target.key(row.name)
                record = self._records.get(key)
                if record is None or record["status"] != "ok":
                    continue
                found = comparer.comparisons(row, key)
                if found != record["comparisons"]:
                    self._keep(key, record | {"comparisons": found})

    def holds(self, row):
        """Whether a candidate of a search, which is built, keeps the quality."""
        key = row.files[-1].key(row.name)
        return bool(self._records[key]["search"]["holds"])

    def _baseline(self):
        """Returns the key and the artifact of the baseline's Keras model."""
        first = self._experiment.rows[0]
        return first.targets[0].key(first.name), self._maker.dense_of(
            first, first.targets[0]
        )

    def _record(self, row, target):
        notes = self._models.notes(row.name)
        sections = self._common_sections(row, target, notes)
        try:
            measured = self._measure(row, target, notes["layers"])
        except Exception as error:  # noqa: BLE001 - many packages have had a hand in it
            error = describe_failure(error)
            return new_record(**sections, status="failed", error=error)
        num_weights = measured["size"]["num_weights"]
        sections["model"] = sections["model"] | {"num_weights": num_weights}
        return new_record(**sections, status="ok", **measured)

    def _measure(self, row, target, layers):
        """Makes the artifact of one target; returns the sections measured on it."""
        artifact = self._maker.make(
            row,
            target,
            lambda: self._models.get(row.name),
            lambda: self._models.structures(row.name),
        )
        size, layers = size_section(
            artifact,
            self._maker.dense_of(row, target),
            self._maker.plain_of(row, target),
            layers,
            lambda: self._models.weights(row.name),
        )
        quality = self._scorer.quality_section(
            row, target, artifact, self._records, self._experiment.rows[0]
        )
        operators, search = {}, {}
        if not target.precision.is_float:
            operators = quantized_operators(main_file(artifact)).to_json()
        if self._is_candidate(row, target):
            search = self._trial.section(target.key(row.name), artifact)
        elsewhere = operators_elsewhere(artifact, target, self._folder)
        return {
            "verification": artifact.manifest.verification,
            "size": size | self._beside_baseline(row, target, size),
            "quality": quality,
            "operators": operators,
            "operators_elsewhere": elsewhere,
            "search": search,
            "layers": layers,
        }

    def _beside_baseline(self, row, target, size):
        """Returns the fields of a size section that compare it with the baseline's."""
        baseline = self._baseline_record(target.format, "float32")
        baseline = baseline and baseline["size"]
        if row is self._experiment.rows[0] and target == Target(format=target.format):
            baseline = size
        quantizer = FORMATS[target.format].quantizer
        int8 = quantizer and self._baseline_record(target.format, quantizer.int8)
        return {
            "compression_ratio": compression_ratio(size, baseline),
            "baseline_int8_gzip_bytes": int8 and int8["size"]["gzip_bytes"],
        }

    def _compare_size(self, row, target):
        """Compares a kept record with a baseline that had failed when it was made."""
        key = target.key(row.name)
        record = self._records[key]
        if record["size"]["compression_ratio"] is None:
            found = self._beside_baseline(row, target, record["size"])
            if found["compression_ratio"] is not None:
                self._keep(key, record | {"size": record["size"] | found})

    def _keep(self, key, record):
        write_record(self._folder.records / f"{key}.json", record)
        self._records[key] = record

    def _training_section(self, notes):
        """Returns the notes of a training, if there was one, with its objective."""
        return notes and notes | {"objective": self._task.task.objective.to_json()}

    def _is_candidate(self, row, target):
        """Whether this is the file by which a search judges a row."""
        search = self._experiment.search
        return (
            search is not None
            and row.name in search.candidates
            and target == row.files[-1]
        )

    def _baseline_record(self, format, precision):
        plain = Target(format=format, precision=precision)
        return self._records.get(plain.key(self._experiment.rows[0].name))

    def _common_sections(self, row, target, notes):
        data = self._task.texts
        return {
            "experiment": self._experiment.name,
            "row": row.name,
            "parent": row.parent,
            "control": row.control,
            "recipe": row.recipe,
            "format": target.format,
            "precision": target.precision,
            "coding": target.coding,
            "runtime": target.runtime,
            "tool": _tool(target),
            "device": target.device,
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
