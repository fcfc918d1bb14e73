"""What a run has made so far: its records and artifacts, each read and checked once.

Files are whole when they get their names, but a disk can lose them later. What is
damaged is removed, and so made again. Models are told by their notes
(`RowModels.is_made`); the files of examples are written at each start; what else a run
reads is looked at here.
"""

import numpy as np

from tfcompress.artifact import Artifact
from tfcompress.errors import ArtifactError
from tfcompress.limits import read_json
from tfcompress.record import artifact_key, as_record, write_record
from tfcompress.report import read_result

_LAST_LINE = "Versions: "  # of `table.md`, see `markdown_page`


class RunStore:
    """The records and artifacts of a run that is begun, or goes on.

    Args:
        folder: open `RunFolder`. What is damaged in it is removed, with the records
            that it belongs to.

    Attributes:
        records: key -> record of what is done; change it by `keep`.
        result: `RunResult` of the run, if it has ended; else None.
        damaged: sorted names, from the folder on, of what was damaged or missing.

    Raises:
        InvalidValueError: if a record is of another schema.
    """

    def __init__(self, folder):
        self.folder = folder
        self._artifacts = {}
        self.records, damaged = {}, set()
        for path in sorted(folder.records.glob("*.json")):
            record = _read_record(path)
            if record is None:
                damaged.add(path)
            else:
                self.records[path.name.removesuffix(".json")] = record
        self.result, damaged_result = _read_result(folder)
        damaged |= damaged_result
        for path in (*folder.predictions.glob("*.npz"), *folder.scores.glob("*.npz")):
            if not _is_arrays(path):
                damaged.add(path)
        # A finished run reads no artifact: who needs the room may have deleted them.
        is_finished = not damaged and self.has_ended and not self.is_left
        undone = {path.name.rpartition(".")[0] for path in damaged}
        for key, record in self.records.items():
            if record["status"] == "ok":  # what failed is made again in any case
                missing = self._missing(key, record, needs_files=not is_finished)
                damaged |= missing
                undone |= {key} if missing else set()
        if damaged:
            self._remove(damaged, undone)
        self.damaged = sorted(
            path.relative_to(folder.path).as_posix() for path in damaged
        )

    @property
    def has_ended(self):
        """Whether the run came to its end, and nothing was made since."""
        return self.folder.table.exists()

    @property
    def is_left(self):
        """Whether there is something to try again."""
        return self.is_untimed or any(
            record["status"] != "ok" for record in self.records.values()
        )

    @property
    def is_untimed(self):
        """Whether the timing of a file failed."""
        return any(r["timing_error"] is not None for r in self.records.values())

    def lacks(self, rows):
        """Whether a row that was made has targets that are asked for since.

        A search has rows that were not made.
        """
        made = {record["row"] for record in self.records.values()}
        return any(
            target.key(row.name) not in self.records
            for row in rows
            if row.name in made
            for target in row.targets
        )

    def keep(self, key, record):
        """Writes a record. What failed again leaves an ended run as it was."""
        known = self.records.get(key)
        if known is None or {known["status"], record["status"]} != {"failed"}:
            self.folder.table.unlink(missing_ok=True)
        write_record(self.folder.records / f"{key}.json", record)
        self.records[key] = record

    def artifact(self, key):
        """Returns the `Artifact` of a key, verified when it is first asked for.

        Raises:
            ArtifactError: if there is none, or it is damaged.
        """
        if key not in self._artifacts:
            self._artifacts[key] = Artifact.load(self.folder.artifacts / key)
        return self._artifacts[key]

    def keep_artifact(self, key, artifact):
        """Takes an artifact that was just made and so is whole."""
        self._artifacts[key] = artifact

    def in_order(self, rows):
        """Returns the records in the order of the rows and their targets."""
        keys = [target.key(row.name) for row in rows for target in row.targets]
        return [self.records[key] for key in keys if key in self.records]

    def _missing(self, key, record, *, needs_files):
        """Returns the paths of what a record was made of and what is missing.

        A finished run of older code, which kept no scores, is left alone.
        """
        needed = [self.folder.predictions / f"{key}.npz"]
        if needs_files and record["quality"]["inherited_from"] is None:
            needed.append(self.folder.scores / f"{key}.npz")
        missing = {path for path in needed if not path.exists()}
        try:
            if needs_files:
                self.artifact(artifact_key(record))
        except (ArtifactError, OSError):
            missing.add(self.folder.artifacts / artifact_key(record))
        return missing

    def _remove(self, damaged, undone):
        # In this order: a run that is killed here finds again what is left to do.
        self.folder.table.unlink(missing_ok=True)
        for key in undone:
            (self.folder.records / f"{key}.json").unlink(missing_ok=True)
            self.records.pop(key, None)
        for path in damaged:
            if not path.is_dir():  # an artifact is replaced when it is made again
                path.unlink(missing_ok=True)
        self.result = None


def _read_record(path):
    """Returns a record; None where the file is damaged."""
    try:
        value = read_json(path)
        is_record = isinstance(value["schema_version"], int) and "status" in value
    except (ValueError, TypeError, LookupError):
        return None
    return as_record(value, f"The record {path}") if is_record else None


def _read_result(folder):
    """Returns the result of a run that has ended or None, and the damaged files."""
    checks = {
        folder.result: read_result,
        folder.noise: _check_object,
        folder.table: _check_table,
    }
    found, damaged = {}, set()
    for path, check in checks.items():
        if path.exists():
            try:
                found[path] = check(path)
            except ValueError:
                damaged.add(path)
    return found.get(folder.result) if folder.table.exists() else None, damaged


def _check_object(path):
    if not isinstance(read_json(path), dict):
        raise ValueError("it is no JSON object")


def _check_table(path):
    last = path.read_text(encoding="utf-8").rstrip().rpartition("\n")[2]
    if not last.startswith(_LAST_LINE):
        raise ValueError("it has no end")


def _is_arrays(path):
    try:
        # Opened here: numpy leaves a damaged file open.
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            return all(arrays[name].size is not None for name in arrays.files)
    except Exception:  # noqa: BLE001 - numpy raises all kinds for what is no array file
        return False
