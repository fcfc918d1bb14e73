"""The first phase: every row is built, and every target of it sized and scored."""

from tfcompress.formats import FORMATS
from tfcompress.formats.target import Target
from tfcompress.quantizers import quantized_operators
from tfcompress.record import new_record
from tfcompress.runner.artifacts import main_file
from tfcompress.runner.comparing import Comparer
from tfcompress.runner.failures import describe_failure
from tfcompress.runner.scoring import operators_elsewhere
from tfcompress.runner.sizing import compression_ratio, size_section


class Builder:
    """Builds the rows of an experiment: their models, and a record of each file.

    Args:
        rows: tuple of `Row`, the baseline first.
        store: `RunStore` that the records go into.
        models: `RowModels`.
        maker: `ArtifactMaker`.
        scorer: `Scorer` of the test split.
        task: `Task`.
        sections: function of a target that returns the sections of its record that
            say what was asked for, but for those of its row.
        trial: `SearchTrial`, where there is a search.
    """

    def __init__(
        self, rows, *, store, models, maker, scorer, task, sections, trial=None
    ):
        self._rows = rows
        self._store = store
        self._models = models
        self._maker = maker
        self._scorer = scorer
        self._task = task
        self._sections = sections
        self._trial = trial

    @property
    def num_steps(self):
        """Models and files of all rows."""
        return sum(1 + len(row.targets) for row in self._rows)

    @property
    def verification_seconds(self):
        """What the checks of the files made so far have taken."""
        return self._maker.verification_seconds

    def todo(self):
        """Returns the row names and keys of what is still to be done, a set."""
        todo = {row.name for row in self._rows if not self._models.is_made(row.name)}
        for row in self._rows:
            keys = [target.key(row.name) for target in row.targets]
            todo.update(key for key in keys if not self._is_done(key))
        return todo

    def build_row(self, row, progress, todo):
        """Makes the model of a row and the record of each of its targets.

        Args:
            row: `Row`; its parent is built.
            progress: `Progress`.
            todo: as `todo` returned it.
        Raises:
            TrainingError: if the row cannot be trained. A target that fails leaves a
                record that says why, and the others go on.
        """
        if row.name in todo:
            verb = "training" if row.trains else "compressing"
            with progress.step(f"{row.name}: {verb}") as on_progress:
                self._models.make(row.name, on_progress)
        for target in row.targets:
            key = target.key(row.name)
            if key not in todo:
                self._compare_size(row, target)
                continue
            what = f"{target.format} {target.precision} {target.coding} {target.place}"
            with progress.step(f"{row.name}: {what.rstrip()}"):
                record = self._record(row, target)
            self._store.keep(key, record)

    def compare(self):
        """Completes the records by their `comparisons`, once all rows are built."""
        records, metrics = self._store.records, self._task.metrics
        comparer = Comparer(self._rows, metrics, self._store.folder, records)
        for row in self._rows:
            for target in row.targets:
                key = target.key(row.name)
                if not self._is_done(key):
                    continue
                found = comparer.comparisons(row, key)
                if found != records[key]["comparisons"]:
                    self._store.keep(key, records[key] | {"comparisons": found})

    def holds(self, row):
        """Whether a candidate of a search, which is built, keeps the quality."""
        key = row.files[-1].key(row.name)
        return bool(self._store.records[key]["search"]["holds"])

    def _record(self, row, target):
        notes = self._models.notes(row.name)
        sections = self._sections(target) | self._sections_of(row, notes)
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
            row, target, artifact, self._store.records, self._rows[0]
        )
        operators, search = {}, {}
        if not target.precision.is_float:
            operators = quantized_operators(main_file(artifact)).to_json()
        if self._trial is not None and self._trial.is_of(row, target):
            search = self._trial.section(target.key(row.name), artifact)
        elsewhere = operators_elsewhere(artifact, target, self._store.folder)
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
        if row is self._rows[0] and target == Target(format=target.format):
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
        record = self._store.records[key]
        if record["status"] == "ok" and record["size"]["compression_ratio"] is None:
            found = self._beside_baseline(row, target, record["size"])
            if found["compression_ratio"] is not None:
                self._store.keep(key, record | {"size": record["size"] | found})

    def _is_done(self, key):
        """Whether there is a record; what failed is tried again."""
        record = self._store.records.get(key)
        return record is not None and record["status"] == "ok"

    def _baseline_record(self, format, precision):
        plain = Target(format=format, precision=precision)
        key = plain.key(self._rows[0].name)
        return self._store.records[key] if self._is_done(key) else None

    def _sections_of(self, row, notes):
        training = notes["training"]
        if training:
            training = training | {"objective": self._task.objective.to_json()}
        return {
            "row": row.name,
            "parent": row.parent,
            "control": row.control,
            "recipe": row.recipe,
            "training": training,
        }
