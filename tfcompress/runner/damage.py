"""What is damaged in the folder of a run: it is removed, and so made again.

Files are whole when they get their names, but a disk can lose them later. Models are
told by their notes (`RowModels.is_made`); the files of examples are written at each
start; what else a run reads is looked at here.
"""

import dataclasses
import json

import numpy as np

from tfcompress.artifact import Artifact
from tfcompress.errors import ArtifactError
from tfcompress.formats.target import Target
from tfcompress.record import artifact_key

_LAST_LINE = "Versions: "  # of `table.md`, see `write_summary`


def remove_damaged(folder):
    """Removes the damaged files of a run that is begun, and the records they belong to.

    Args:
        folder: open `RunFolder`.
    Returns:
        Sorted list of the names, from the folder on, of what was damaged or missing.
    """
    checks = {
        folder.noise: _is_json,
        folder.table: _is_table,
        **dict.fromkeys(folder.records.glob("*.json"), _is_record),
        **dict.fromkeys(folder.predictions.glob("*.npz"), _is_arrays),
        **dict.fromkeys(folder.scores.glob("*.npz"), _is_arrays),
    }
    damaged = {path for path, is_whole in checks.items() if not _holds(is_whole, path)}
    damaged = {path for path in damaged if path.exists()}
    kept = {
        path.name.removesuffix(".json"): _read_json(path)
        for path in folder.records.glob("*.json")
        if path not in damaged
    }
    # A finished run reads no artifact: who needs the room may have deleted them.
    is_done = not damaged and all(map(_is_done, kept.values()))
    needs_artifacts = not (is_done and folder.table.exists())
    undone = {_record_of(folder, path) for path in damaged}
    for key, record in kept.items():
        if record["status"] == "ok":  # what failed is made again in any case
            missing = _missing(folder, key, record, needs_files=needs_artifacts)
            damaged |= missing
            undone |= {folder.records / f"{key}.json"} if missing else set()
    if damaged:
        # In this order: a run that is killed here finds again what is left to do.
        folder.table.unlink(missing_ok=True)
        for path in undone:
            path.unlink(missing_ok=True)
        for path in damaged:
            if not path.is_dir():  # an artifact is replaced when it is made again
                path.unlink(missing_ok=True)
    return sorted(path.relative_to(folder.path).as_posix() for path in damaged)


def _is_done(record):
    return record["status"] == "ok" and record.get("timing_error") is None


def _missing(folder, key, record, *, needs_files):
    """Returns the paths of what a record was made of and what is missing or damaged.

    A finished run of older code, which kept no scores, is left alone.
    """
    predictions = folder.predictions / f"{key}.npz"
    artifact = folder.artifacts / artifact_key(record)
    found = set() if predictions.exists() else {predictions}
    if needs_files:
        if (record.get("quality") or {}).get("inherited_from") is None:
            scores = folder.scores / f"{key}.npz"
            found |= set() if scores.exists() else {scores}
        try:
            Artifact.load(artifact)
        except (ArtifactError, OSError):
            found.add(artifact)
    return found


def _record_of(folder, path):
    """Returns the path of the record that a file belongs to."""
    name = path.name.removesuffix(".npz").removesuffix(".json")
    return folder.records / f"{name}.json"


def _holds(is_whole, path):
    try:
        return is_whole(path)
    except Exception:  # noqa: BLE001 - numpy raises all kinds for what is no array file
        return False


def _is_json(path):
    return isinstance(_read_json(path), dict)


def _is_record(path):
    record = _read_json(path)
    names = ("row", "status", *(field.name for field in dataclasses.fields(Target)))
    return isinstance(record["schema_version"], int) and {*names} <= {*record}


def _is_table(path):
    last = path.read_text(encoding="utf-8").rstrip().rpartition("\n")[2]
    return last.startswith(_LAST_LINE)


def _is_arrays(path):
    # Opened here: numpy leaves a damaged file open.
    with path.open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        if path.suffix == ".npz":
            return all(arrays[name].size is not None for name in arrays.files)
        return isinstance(arrays, np.ndarray)


def _read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))
