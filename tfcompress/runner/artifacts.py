"""The artifacts of a row: each of its files, exported or coded, to be measured."""

import dataclasses
import pathlib

from tfcompress.artifact import create_artifact
from tfcompress.atomic import temporary_folder
from tfcompress.coding import code_file
from tfcompress.errors import ArtifactError
from tfcompress.export import export_model
from tfcompress.formats import FORMATS
from tfcompress.manifest import Manifest
from tfcompress.quantizers import quantize_file


class ArtifactMaker:
    """Makes the artifact of a target, or finds it where it was kept.

    Args:
        store: `RunStore` that the artifacts are kept in.
        versions: dict of package to version.
        heads: function of a Keras model that returns the heads of its outputs.
        calibration: function of the names of a file's inputs that returns the
            `CalibrationData` of static files, where there are any.
        tokenizer: `tokenizers.Tokenizer` where the input is text.
        verify: whether each file is run beside its source before it is kept.

    Attributes:
        verification_seconds: what the checks of the files made so far have taken.
    """

    def __init__(
        self,
        store,
        *,
        versions,
        heads,
        calibration=None,
        tokenizer=None,
        verify=True,
    ):
        self.verification_seconds = 0.0
        self._verify = verify
        self._store = store
        self._folder = store.folder.artifacts
        self._versions = versions
        self._heads = heads
        self._calibration = calibration
        self._tokenizer = tokenizer

    def make(self, row, target, model, structures):
        """Returns the verified artifact of one target.

        Args:
            row: `Row`.
            target: `Target`, whose runtime and device do not matter; for a coded one
                the dense one is made before, for a quantized one the dense one in
                float32.
            model: function without arguments that returns the row's Keras 3 model.
            structures: function without arguments that returns its structures.
        """
        key = target.file.key(row.name)
        try:
            return self._store.artifact(key)
        except ArtifactError:  # not made yet, or damaged since: made (again)
            with temporary_folder(self._folder) as folder:
                if target.coding == "coded":
                    made = self._code(row, target, structures(), folder)
                elif is_quantized(target):
                    made = self._quantize(row, target, folder)
                else:
                    made = self._export(row, target, model(), folder)
                files, manifest, verification = made
                self.verification_seconds += verification.seconds or 0.0
                artifact = create_artifact(
                    self._folder / key,
                    model_files=[pathlib.Path(folder, name) for name in files],
                    manifest=dataclasses.replace(
                        manifest, verification=verification.without_time()
                    ),
                    tokenizer=self._tokenizer,
                )
            self._store.keep_artifact(key, artifact)
            return artifact

    def dense_of(self, row, target):
        """Returns the kept artifact of the dense file that `target` was coded from."""
        return self._store.artifact(target.dense.file.key(row.name))

    def plain_of(self, row, target):
        """Returns the kept artifact of the float file that the dense one stems from.

        It is that of float32 where a quantizer made the dense one, else `dense_of`.
        """
        if is_quantized(target):
            target = dataclasses.replace(target, precision="float32")
        return self.dense_of(row, target)

    def _export(self, row, target, model, folder):
        """Writes the files of a model; returns them, manifest and verification."""
        exported = export_model(
            model,
            target.format,
            folder,
            precision=target.precision,
            verify=self._verify,
            **row.export_options,
        )
        is_text = self._tokenizer is not None
        length = self._tokenizer.truncation["max_length"] if is_text else None
        manifest = Manifest(
            format=target.format,
            inputs=exported.inputs,
            outputs=exported.outputs,
            heads=self._heads(model),
            is_text=is_text,
            sequence_length=length,
            precision=target.precision,
            recipe=row.recipe,
            versions=self._versions,
        )
        return exported.files, manifest, exported.verification

    def _quantize(self, row, target, folder):
        """Makes a quantized file of the float one; returns as `_export`."""
        plain = self.plain_of(row, target)
        calibration = None
        if target.precision.needs_calibration:
            names = [tensor.name for tensor in plain.manifest.inputs]
            calibration = self._calibration(names)
        result = quantize_file(
            main_file(plain),
            folder,
            target.format,
            precision=target.precision,
            calibration=calibration,
            verify=self._verify,
            **row.quantization_options.get((target.format, target.precision), {}),
        )
        manifest = dataclasses.replace(plain.manifest, precision=target.precision)
        return result.files, manifest, result.verification

    def _code(self, row, target, structures, folder):
        """Makes a coded file of the dense one; returns as `_export`."""
        dense = self.dense_of(row, target)
        source = main_file(dense)
        result = code_file(
            source,
            pathlib.Path(folder) / source.name,
            structures=structures,
            verify=self._verify,
            **row.coding_options,
        )
        table = tuple(tensor.to_json() for tensor in result.tensors)
        manifest = dataclasses.replace(
            dense.manifest, coding="coded", coding_table=table
        )
        names = sorted(path.name for path in pathlib.Path(folder).iterdir())
        return names, manifest, result.verification


def is_quantized(target):
    """Returns whether a quantizer makes this target of the dense float32 file."""
    quantizer = FORMATS[target.format].quantizer
    return quantizer is not None and target.precision in quantizer.precisions


def main_file(artifact):
    """Returns the path of the file to name: others may lie beside it."""
    manifest = artifact.manifest
    name = FORMATS[manifest.format].main_file(manifest.model_files)
    return artifact.folder / name
