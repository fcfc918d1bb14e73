"""The artifacts of a row: each of its files, exported or coded, to be measured."""

import dataclasses
import pathlib

from tfcompress.artifact import Artifact, create_artifact
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
        folder: folder of the artifacts, one folder a key.
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
        folder,
        *,
        versions,
        heads,
        calibration=None,
        tokenizer=None,
        verify=True,
    ):
        self.verification_seconds = 0.0
        self._verify = verify
        self._folder = folder
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
        path = self._folder / target.file.key(row.name)
        try:
            return Artifact.load(path)
        except ArtifactError:  # not made yet, or damaged since: made (again)
            with temporary_folder(self._folder) as folder:
                if target.coding == "coded":
                    return self._code(row, target, structures(), path, folder)
                if is_quantized(target):
                    return self._quantize(row, target, path, folder)
                return self._export(row, target, model(), path, folder)

    def dense_of(self, row, target):
        """Returns the kept artifact of the dense file that `target` was coded from."""
        return Artifact.load(self._folder / target.dense.file.key(row.name))

    def plain_of(self, row, target):
        """Returns the kept artifact of the float file that the dense one stems from.

        It is that of float32 where a quantizer made the dense one, else `dense_of`.
        """
        if is_quantized(target):
            target = dataclasses.replace(target, precision="float32")
        return self.dense_of(row, target)

    def _export(self, row, target, model, path, folder):
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
            verification=self._noted(exported.verification),
            versions=self._versions,
        )
        return create_artifact(
            path,
            model_files=[pathlib.Path(folder) / name for name in exported.files],
            manifest=manifest,
            tokenizer=self._tokenizer,
        )

    def _quantize(self, row, target, path, folder):
        dense = self.plain_of(row, target)
        folder = pathlib.Path(folder, "quantized")
        calibration = None
        if target.precision.needs_calibration:
            names = [tensor.name for tensor in dense.manifest.inputs]
            calibration = self._calibration(names)
        result = quantize_file(
            main_file(dense),
            folder,
            target.format,
            precision=target.precision,
            calibration=calibration,
            verify=self._verify,
            **row.quantization_options.get((target.format, target.precision), {}),
        )
        return create_artifact(
            path,
            model_files=[folder / name for name in result.files],
            manifest=dataclasses.replace(
                dense.manifest,
                precision=target.precision,
                verification=self._noted(result.verification),
                files={},
            ),
            tokenizer=self._tokenizer,
        )

    def _code(self, row, target, structures, path, folder):
        dense = self.dense_of(row, target)
        source = main_file(dense)
        result = code_file(
            source,
            pathlib.Path(folder) / source.name,
            structures=structures,
            verify=self._verify,
            **row.coding_options,
        )
        manifest = dataclasses.replace(
            dense.manifest,
            coding="coded",
            coding_table=tuple(tensor.to_json() for tensor in result.tensors),
            verification=self._noted(result.verification),
            files={},
        )
        return create_artifact(
            path,
            model_files=sorted(pathlib.Path(folder).iterdir()),
            manifest=manifest,
            tokenizer=self._tokenizer,
        )

    def _noted(self, verification):
        """Returns a file's `Verification` for its manifest, and adds up the time."""
        self.verification_seconds += verification.seconds or 0.0
        return verification.without_time()


def is_quantized(target):
    """Returns whether a quantizer makes this target of the dense float32 file."""
    quantizer = FORMATS[target.format].quantizer
    return quantizer is not None and target.precision in quantizer.precisions


def main_file(artifact):
    """Returns the path of the file to name: others may lie beside it."""
    manifest = artifact.manifest
    name = FORMATS[manifest.format].main_file(manifest.model_files)
    return artifact.folder / name
