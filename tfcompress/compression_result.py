"""What `compress` returns, and its folder: the model, what was done, and the hints."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from tfcompress.atomic import atomic_folder, write_json
from tfcompress.compression_report import CompressionReport, LayerRow
from tfcompress.errors import InvalidValueError, ModelFileError, require
from tfcompress.export.keras import FILE, save_model
from tfcompress.foreign import foreign_errors
from tfcompress.limits import read_json, shown
from tfcompress.models.keras_file import load_keras_file
from tfcompress.structure_file import read_structures, write_structures
from tfcompress.training import TrainingLog

SCHEMA_VERSION = 1
STRUCTURES_FILE, REPORT_FILE = "structures.npz", "report.json"
_FILES = {FILE, STRUCTURES_FILE, REPORT_FILE}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionResult:
    """A compressed model and what was done to it.

    Args:
        model: Keras 3 model, a copy of the caller's with the compressed weights, and
            without the BatchNormalization layers that were folded.
        structures: `(layer name, weight name)` -> dict of plain arrays; hints for
            export and coding.
        report: `CompressionReport` with a row for every layer of the bridged model.
    """

    model: object
    structures: Mapping
    report: CompressionReport

    def save(self, folder: str | os.PathLike) -> None:
        """Writes the folder that `load` reads, whole or not at all.

        It has `model.keras`, which Keras opens without this package, `structures.npz`,
        which `code_file` takes as hints in another process, and `report.json`.

        Args:
            folder: path of a folder that is not there yet, or that an earlier `save`
                wrote: it is replaced.
        Raises:
            InvalidValueError: if something else is there.
            OSError: if it cannot be written.

        Example: `compress(model, "cluster(16)").save("small")`
        """
        folder = pathlib.Path(folder)
        if folder.is_file() or (folder.is_dir() and _others(folder)):
            raise InvalidValueError(
                f"{str(folder)!r} holds something that no saved result has. Name a "
                "folder that is not there yet."
            )
        with atomic_folder(folder) as new:
            save_model(self.model, new / FILE)
            write_structures(new / STRUCTURES_FILE, self.structures)
            write_json(new / REPORT_FILE, _report_to_json(self.report))

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        *,
        custom_objects: Mapping[str, object] | None = None,
    ) -> "CompressionResult":
        """Loads what `save` wrote.

        Args:
            folder: path of it.
            custom_objects: name -> class or function, for a model with layers of the
                user's own. Without it nothing but Keras's and KerasHub's own is loaded.
        Returns:
            `CompressionResult`. Its `report.training_log` is there if it was a
            `TrainingLog`.
        Raises:
            ModelFileError: if a file of it is missing, damaged or of another version.
            UnsupportedModelError: as of `load_keras_file`.

        Example: `small = tfcompress.CompressionResult.load("small")`
        """
        folder = pathlib.Path(folder)
        report = _read_report(folder / REPORT_FILE)
        structures = read_structures(folder / STRUCTURES_FILE)
        model = _load_model(folder / FILE, custom_objects)
        report = dataclasses.replace(report, structures=structures)
        return cls(model=model, structures=structures, report=report)


def _others(folder):
    return {path.name for path in folder.iterdir()} - _FILES


def _report_to_json(report):
    log = report.training_log
    return {
        "schema_version": SCHEMA_VERSION,
        "layers": report.to_json(),
        "training": dataclasses.asdict(log) if isinstance(log, TrainingLog) else None,
        "warnings": list(report.warnings),
        "kept_bytes": report.kept_bytes,
        "weight_bytes": report.weight_bytes,
    }


def _read_report(path):
    def refused(reason):
        return ModelFileError(
            f"{str(path)!r} is no report of a compression: {reason}. Give the folder "
            "that CompressionResult.save wrote, or compress again."
        )

    if not path.is_file():
        raise refused("there is no such file")
    with foreign_errors(refused):
        found = read_json(path)
        version = found["schema_version"]
        if version != SCHEMA_VERSION:
            raise refused(
                f"it has version {shown(version)}, and {SCHEMA_VERSION} is read"
            )
        log = found["training"]
        return CompressionReport(
            rows=tuple(LayerRow(**row) for row in found["layers"]),
            training_log=None if log is None else TrainingLog(**log),
            warnings=tuple(found["warnings"]),
            kept_bytes=found["kept_bytes"],
            weight_bytes=found["weight_bytes"],
        )


def _load_model(path, custom_objects):
    if not custom_objects:
        return load_keras_file(path)
    keras = require("keras", extra="compress")

    def refused(reason):
        return ModelFileError(
            f"Keras cannot load {str(path)!r}: {reason}. Check custom_objects, or "
            "compress again."
        )

    with foreign_errors(refused):
        return keras.saving.load_model(path, custom_objects, compile=False)
