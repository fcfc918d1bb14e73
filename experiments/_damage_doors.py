"""The doors that damaged files come in by, and how it is told that an answer is right.

A door takes a folder with one kind of file and returns what it read, or True where it
has compared that with another reading of the same file, or False where they differ.
"""

import csv
import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Callable

import numpy as np

from tfcompress.errors import TfcompressError
from tfcompress.formats import FORMATS, shipped_formats

_TEXTS = ["good film", "bad"]
_MAX_ELEMENTS = 1_000_000  # of an input that a damaged file asks for
_TOLERANCE = 1e-5  # of the largest output


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        folder: of the honest files, below that of all.
        door: function of a folder.
        group: kinds of one group share a process; each imports something heavy.
        hides: whether a manifest's checksums are made right again after the damage.
    """

    folder: str
    door: Callable
    group: str
    hides: bool = False


def _code(format, folder):
    from tfcompress.coding import code_file

    source = folder / FORMATS[format].file_names[0]
    target = folder / "target" / source.name
    code_file(source, target)
    return _runs(format, source, target, is_lossless=True)


def _quantize(format, folder):
    from tfcompress.quantizers import quantize_file

    source = folder / FORMATS[format].file_names[0]
    precisions = FORMATS[format].quantizer.precisions
    precision = next(each for each in precisions if not each.needs_calibration)
    quantize_file(source, folder / "target", format, precision=precision)
    return _runs(format, source, folder / "target" / source.name, is_lossless=False)


def _runs(format, source, target, *, is_lossless):
    """Returns whether a written file runs, and as its source does; True where the
    source's own runtime refuses it, because then there is nothing to compare."""
    try:
        expected = _run(format, source)
    except TfcompressError:
        return True
    try:
        found = _run(format, target)
    except TfcompressError:
        return False
    if expected is None or not is_lossless:
        return True
    largest = max(np.abs(np.nan_to_num(values)).max(initial=0) for values in expected)
    return all(
        np.allclose(a, b, rtol=0, atol=_TOLERANCE * largest, equal_nan=True)
        for a, b in zip(expected, found, strict=True)
    )


def _run(format, path):
    """Returns the outputs for an input of zeros; None where it would be too large."""
    from tfcompress.runtime import load_session

    names = [other.name for other in path.parent.iterdir() if other.is_file()]
    with load_session(format, path.parent, names) as session:
        shapes = {s.name: [size or 1 for size in s.shape] for s in session.inputs}
        if any(math.prod(shape) > _MAX_ELEMENTS for shape in shapes.values()):
            return None
        zeros = {
            spec.name: np.zeros(shapes[spec.name], spec.dtype)
            for spec in session.inputs
        }
        outputs = session.run(zeros)
        return [outputs[name] for name in sorted(outputs)]


def _predict(folder):
    from tfcompress.artifact import Artifact

    with Artifact.load(folder) as artifact:
        return artifact.predict(_TEXTS).outputs.tolist()


def _predict_anything(folder):
    """As `_predict`; the file is another one, whole, and so is its answer."""
    return _predict(folder) is not None


def _load_keras(folder):
    from tfcompress.models.keras_file import load_keras_file

    return load_keras_file(folder / "model.keras") is not None


def _load_rows(folder):
    from tfcompress.data.dataset import SplitOptions
    from tfcompress.data.files import load_from_files

    (path,) = folder.iterdir()
    dataset = load_from_files(str(path), SplitOptions())
    found = sorted(
        (text, dataset.class_names[label])
        for split in dataset.splits().values()
        for text, label in zip(split.inputs["text"], split.labels, strict=True)
    )
    expected = _read_rows(path)
    return expected is None or found == sorted(expected)


def _read_rows(path):
    """Returns rows as Python's own readers see them; None where these are not as strict
    as pyarrow's."""
    if path.suffix == ".parquet":
        return None
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix == ".jsonl":
        try:
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        except ValueError:  # several lines may be one value
            return None
        return [(row["text"], str(row["label"])) for row in rows]
    if any(letter in text for letter in '"\r\0'):
        return None
    lines = [line for line in text.split("\n") if line]
    delimiter = "," if path.suffix == ".csv" else "\t"
    head, *rows = csv.reader(lines, delimiter=delimiter)
    columns = [head.index(name) for name in ("text", "label")]
    return [tuple(row[column] for column in columns) for row in rows]


def _load_arrays(folder):
    from tfcompress.data.array_files import load_from_arrays
    from tfcompress.data.dataset import SplitOptions

    path = folder / "data.npz"
    dataset = load_from_arrays(str(path), SplitOptions())
    found = [n for split in dataset.splits().values() for n in split.labels.tolist()]
    with np.load(path) as arrays:
        return sorted(found) == sorted(map(float, arrays["labels"].tolist()))


def _read_vocabulary(folder):
    from tfcompress.data import tokenize
    from tfcompress.data.vocabulary_file import tokenizer_from_file

    (path,) = folder.iterdir()
    tokenizer = tokenizer_from_file(path, 8)
    return tokenize(tokenizer, _TEXTS, ["tokens"]) is not None


def _read_checkpoint_tokenizer(folder):
    from tfcompress.data.folder_tokenizer import read_tokenizer

    return read_tokenizer(folder) is not None


def _read_preset(folder):
    from tfcompress.models.preset_folder import read_checkpoint

    return read_checkpoint(folder) is not None


def _read_records(folder):
    from tfcompress.record import read_records

    records = read_records(folder)
    return all(
        record == json.loads((folder / f"{key}.json").read_text("utf-8"))
        for key, record in records.items()
    )


def _parse_text(folder):
    data = (folder / "recipe.txt").read_bytes()
    return _parse(data.decode("utf-8", "surrogateescape"))


def _parse_json(folder):
    from tfcompress.errors import InvalidValueError
    from tfcompress.limits import read_json

    try:
        value = read_json(folder / "recipe.json")
    except ValueError as error:
        raise InvalidValueError(f"The recipe is no JSON: {error}.") from error
    return _parse(value)


def _parse(recipe):
    from tfcompress.recipe import parse_recipe, recipe_to_text

    steps = parse_recipe(recipe)
    return parse_recipe(recipe_to_text(steps)) == steps


def _of_format(door, format):
    return lambda folder: door(format, folder)


KINDS = {
    **{
        f"coding_{format}": Kind(f"dense/{format}", _of_format(_code, format), "coding")
        for format in shipped_formats()
    },
    **{
        f"coding_recurrent_{format}": Kind(
            f"recurrent/{format}", _of_format(_code, format), "coding"
        )
        for format in shipped_formats()
    },
    "coding_onnx_external": Kind("onnx_external", _of_format(_code, "onnx"), "coding"),
    **{
        f"quantizing_{format}": Kind(
            f"dense/{format}", _of_format(_quantize, format), f"quantizing_{format}"
        )
        for format in shipped_formats()
    },
    **{
        f"artifact_{name}": Kind(f"artifact_{name}", _predict, group)
        for name, group in (("tflite", "runtimes"), ("keras", "keras"))
    },
    **{
        f"altered_{name}": Kind(
            f"artifact_{name}", _predict_anything, group, hides=True
        )
        for name, group in (
            *((format, "runtimes") for format in shipped_formats()),
            *((f"coded_{format}", "runtimes") for format in shipped_formats()),
            ("keras", "keras"),
        )
    },
    "keras": Kind("keras", _load_keras, "keras"),
    **{
        name: Kind(name, _load_rows, "data")
        for name in ("csv", "tsv", "jsonl", "parquet")
    },
    "npz": Kind("npz", _load_arrays, "data"),
    **{
        name: Kind(name, _read_vocabulary, "data")
        for name in ("tokenizer", "vocabulary", "words")
    },
    "checkpoint": Kind("checkpoint", _read_checkpoint_tokenizer, "data"),
    "preset": Kind("preset", _read_preset, "data"),
    "record": Kind("record", _read_records, "data"),
    "recipe": Kind("recipe", _parse_text, "data"),
    "recipe_json": Kind("recipe_json", _parse_json, "data"),
}


def hide(folder):
    """Makes a manifest tell of an artifact's files as they are."""
    path = pathlib.Path(folder, "manifest.json")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in manifest["files"]:
        data = path.with_name(name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        manifest["files"][name] = {"size_bytes": len(data), "sha256": digest}
    path.write_text(json.dumps(manifest), encoding="utf-8")
