"""Lossless packed codes for the weights inside a finished model file.

`code_file` takes a .tflite, .onnx or .xml (OpenVINO IR) file, whoever wrote it, and
writes one that holds the same weights, packed, with a decoder made of standard
operators: the stock runtime opens it. `python -m tfcompress.coding FILE OUT` does the
same from a shell.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from tfcompress.atomic import atomic_file
from tfcompress.coding.result import CodedTensor, CodingResult
from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.foreign import foreign_errors
from tfcompress.formats import FORMATS, format_named, format_of_suffix
from tfcompress.limits import check_path
from tfcompress.structure_file import read_structures
from tfcompress.verification import ModelFiles, Verification, verify_beside_file

__all__ = ["CodedTensor", "CodingResult", "code_file"]

_ADVICE = "Keep the dense file, and please report this."


def code_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    slow_layers: str = "code",
    exclude: Sequence[str] = (),
    structures: Mapping | str | os.PathLike | None = None,
    verify: bool = True,
) -> CodingResult:
    """Writes a copy of a model file with packed weights, whole or not at all.

    Every tensor is decoded and compared with the source's to the bit. Then the file is
    run beside the source, on random inputs in a fresh process of its runtime
    (`tfcompress.verification`).

    Args:
        source: path of a .tflite, .onnx or .xml file. Files that belong to it (the .bin
            of an IR, the data of an ONNX model) are read from beside it.
        target: path of the file to write, with the same suffix; an existing file is
            replaced. Files that belong to it are written beside it.
        slow_layers: TFLite only. "code" codes every weight that gets smaller;
            "leave_slowest" and "leave" leave dense those whose layers would run several
            times slower for it, or slower at all; "leave" gives tables no bitmap of
            their zeros either, whose lookups are slower (`code_tflite`).
        exclude: regular expressions; a tensor whose whole name matches one stays dense.
        structures: hints about the weights, such as `CompressionReport.structures`: a
            mapping whose values are the dicts that `coding.structures` describes. Block
            scales and codebooks of channels are found by no other way. A hint that
            gives no weight of the file to the bit is ignored. Or the path of the
            structures.npz of a `CompressionResult.save`.
        verify: whether the file is run before it is kept. The tensors are compared in
            any case.
    Returns:
        `CodingResult`. Where nothing pays the target is a copy of the source.
    Raises:
        ModelFileError: if there is no such model, it is damaged, or coded already.
        InvalidValueError: if an argument has a value that cannot be used.
        VerificationError: if the coded file does not load or gives other results.
        MissingDependencyError: if the format's package is not installed.
        OSError: if a file cannot be read or written.

    The coders, `code_tflite` and the like, are called with the temporary path of the
    target in a folder of its own. They may write further files into that folder
    (`atomic_file`). Their checks of the written file are done before they return.
    """
    source, target = _path(source), _path(target)
    format = _format_of(source, target)
    if isinstance(structures, str | os.PathLike):
        structures = read_structures(structures)
    options = {"slow_layers": slow_layers} if format.has_slow_layers else {}

    def refused(reason):
        return ModelFileError(
            f"{str(source)!r} cannot be coded: {reason}. Nothing was written. The file "
            "is damaged where its own runtime does not open it either; else keep the "
            "dense file and report this."
        )

    with foreign_errors(refused), atomic_file(target) as temporary:
        result = format.code(
            source,
            temporary,
            exclude=tuple(exclude),
            structures=tuple((structures or {}).values()),
            **options,
        )
        if verify:
            result = _verified(result, source, temporary)
    return result


def _verified(result, source, temporary):
    """Returns the result with the `Verification` of the coded file beside its source.

    A copy of the source, where nothing paid, needs none.
    """
    if not result.is_coded:
        reason = "nothing was coded: it is a copy of the source"
        verification = Verification(status="skipped", reason=reason)
    else:
        models = (_model_files(path, result.format) for path in (source, temporary))
        verification = verify_beside_file(*models, advice=_ADVICE)
    return dataclasses.replace(result, verification=verification)


def _model_files(path, format):
    """Returns the `ModelFiles` of a main file."""
    names = tuple(each.name for each in format_named(format).files_of(path))
    return ModelFiles(format=format, folder=str(path.parent), files=names)


def _path(path):
    try:
        return check_path(path)
    except ValueError as error:
        raise InvalidValueError(f"There is no model to code: {error}") from error


def _format_of(source, target):
    """Returns the `Format` of a pair of paths, or says what is wrong with them."""
    if not source.is_file():
        raise ModelFileError(f"There is no file {str(source)!r}.")
    with source.open("rb") as file:
        head = file.read(8)
    if not head:
        raise ModelFileError(f"{str(source)!r} is empty; it holds no model.")
    suffix = source.suffix.lower()
    marked = _marked_suffix(head) or suffix
    format = format_of_suffix(suffix)
    if format is None or format.code is None:
        suffixes = [each.suffix for each in FORMATS.values() if each.code]
        raise InvalidValueError(
            f"{str(source)!r} is no file to code: its suffix must be one of "
            f"{', '.join(suffixes)}{_hint_for(suffix)}."
        )
    if marked != suffix:
        raise ModelFileError(
            f"{str(source)!r} holds a {marked} model. Give the file that suffix."
        )
    if target.suffix.lower() != suffix:
        raise InvalidValueError(
            f"The target {str(target)!r} must have the suffix of the source, {suffix}."
        )
    if target.parent.exists() and not target.parent.is_dir():
        raise InvalidValueError(
            f"The target's folder {str(target.parent)!r} is a file. Name a folder."
        )
    if target.is_dir():
        raise InvalidValueError(f"The target {str(target)!r} is a folder; name a file.")
    if target.exists() and target.samefile(source):
        raise InvalidValueError(
            f"The target {str(target)!r} is the source itself. Name another file: the "
            "dense one is needed to code again."
        )
    return format


def _marked_suffix(head):
    """Returns the suffix of the format that a file's first bytes show; None if none."""
    for format in FORMATS.values():
        for place, mark in format.marks:
            if head[place:].startswith(mark):
                return format.suffix
    return None


def _hint_for(suffix):
    """Returns the end of a sentence for a file that belongs to a main one."""
    for format in FORMATS.values():
        if suffix in format.suffixes:
            return f"; of {format.title} give the {format.suffix}"
    return ""
