"""The models of the rows: each is made once and kept in the run folder."""

import contextlib
import dataclasses
import hashlib
import json

from tfcompress.atomic import atomic_file, write_json
from tfcompress.compress import compress
from tfcompress.export.keras import save_model
from tfcompress.runner.sizing import layer_weights
from tfcompress.structure_file import read_structures, write_structures
from tfcompress.tasks.older_records import newer_validation


class RowModels:
    """Trains or compresses the model of each row, or finds it where it was kept.

    Args:
        rows: all rows of the experiment.
        task: what the models are built and trained for; see `EmbeddingTask`.
        folder: folder of `<row>.keras`, `<row>.structures.npz` and `<row>.json`, and of
            `<row>.checkpoint` while the row is trained.
    """

    def __init__(self, rows, task, folder):
        self._rows = {row.name: row for row in rows}
        self._task = task
        self._folder = folder
        self._last = (None, None)
        self._last_weights = (None, None)

    def is_made(self, name):
        """Returns whether the model of row `name` is kept already, and whole."""
        try:
            files = self.notes(name)["files"]
            return files == self._digests(name)
        except (OSError, ValueError, TypeError, LookupError):  # missing, or damaged
            return False

    def make(self, name, on_progress=None):
        """Makes the model of row `name` from that of its parent, and keeps it.

        Args:
            name: of a row whose parent is made.
            on_progress: called with a fraction and a line of text while it trains.
        Raises:
            TrainingError: if the loss is no longer a number; nothing is kept then.
        """
        row = self._rows[name]
        training = self._task.training(row, on_progress, self._checkpoint(name))
        if row.parent is None:
            model = self._task.build_model()
            log = training.fit(model) if row.trains else None
            layers, structures, warnings = [], {}, ()
        else:
            result = compress(
                self.get(row.parent),
                row.recipe,
                training,
                finetune=row.trains,
                fold_batch_norm=row.fold_batch_norm,
            )
            model, report = result.model, result.report
            warnings = report.warnings
            log, layers = report.training_log, report.to_json()
            structures = result.structures
        with atomic_file(self._path(name)) as path:
            save_model(model, path)
        write_structures(self._structures(name), structures)
        training_notes = dataclasses.asdict(log) if log is not None else {}
        with contextlib.suppress(OSError):  # not there: it took less than a checkpoint
            self._checkpoint(name).rmdir()
        # Written last: they say that the model is whole.
        notes = {"training": training_notes, "layers": layers, "warnings": warnings}
        write_json(self._notes(name), notes | {"files": self._digests(name)})
        # The next to ask gets what was kept, as one does who goes on after a kill.
        self._last = (None, None)

    def get(self, name):
        """Returns the Keras 3 model of a row that is made."""
        import keras

        if self._last[0] != name:
            model = keras.saving.load_model(self._path(name), compile=False)
            self._last = (name, model)
        return self._last[1]

    def weights(self, name):
        """Returns `layer_weights` of a row that is made."""
        if self._last_weights[0] != name:
            found = layer_weights(self.get(name), self.notes(name)["layers"])
            self._last_weights = (name, found)
        return self._last_weights[1]

    def structures(self, name):
        """Returns the structures of a row that is made; hints for coding its files."""
        return read_structures(self._structures(name))

    def notes(self, name):
        """Returns `training` and `layers` of a row's records, and `warnings`."""
        notes = json.loads(self._notes(name).read_text(encoding="utf-8"))
        return notes | {"training": newer_validation(notes["training"])}

    def _digests(self, name):
        """Returns file name -> SHA-256 of the kept files of a row."""
        digests = {}
        for path in (self._path(name), self._structures(name)):
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return digests

    def _path(self, name):
        return self._folder / f"{name}.keras"

    def _structures(self, name):
        return self._folder / f"{name}.structures.npz"

    def _checkpoint(self, name):
        """Where a training that is cut short leaves what it takes to go on."""
        return self._folder / f"{name}.checkpoint"

    def _notes(self, name):
        return self._folder / f"{name}.json"
