"""The manifest of an artifact: what its files are and how the model is used.

It is a frozen object that checks itself, and JSON, each into the other. Reading is
strict: a key that is missing or not known is an error, never a default.
"""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from typing import Any

from tfcompress.errors import InvalidValueError
from tfcompress.formats import FORMATS, RUNTIMES
from tfcompress.limits import shown
from tfcompress.runtime import TensorSpec
from tfcompress.tasks import head_from_json

MANIFEST_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"
SCHEMA_VERSION = 3
_OLDER_VERSIONS = (1, 2)

_CODINGS = ("dense", "coded")
_MAX_NAME = 255  # what file systems take
# Ids of a text: 16 times the longest context of an encoder. A batch is padded to it.
MAX_SEQUENCE_LENGTH = 131_072
_NOT_IN_NAMES = frozenset("/\\:\0")
_DTYPE = re.compile("bool|(u?int|float|complex)(8|16|32|64|128)|bfloat16|str|object")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """What a file of an artifact has to be.

    Attributes:
        size_bytes: its length.
        sha256: its SHA-256, 64 lower-case hexadecimal digits.
    """

    size_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an artifact is made of.

    Attributes:
        format: "tflite", "onnx", "openvino" or "keras".
        inputs: the model's inputs; the first size of each shape is None, the batch.
        outputs: its outputs.
        heads: what makes a prediction of each of the first outputs, in their order:
            `ClassHead` or `ValueHead`; at least one.
        is_text: whether the artifact takes texts and so has a tokenizer.
        sequence_length: ids at which the tokenizer cuts a text; None without one. An
            input of a model of texts has this second size, or None: any up to it.
        precision: of weights and activations, such as "float32" or "float16".
        coding: "dense" or "coded".
        coding_table: rows of `CodedTensor.to_json()`; empty where coding is "dense".
        recipe: how the model was compressed, as text; empty for a baseline.
        verification: how the model file was checked beside its source before it got
            its name: `Verification.to_json()` without the seconds, or None where that
            is not known.
        versions: name of a package -> its version when the artifact was made.
        runtime: name of the runtime; by default the one of the format.
        files: file name -> `FileEntry`; `create_artifact` fills it in.
        schema_version: of the manifest itself.
    """

    format: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    heads: tuple[Any, ...]
    is_text: bool = False
    sequence_length: int | None = None
    precision: str = "float32"
    coding: str = "dense"
    coding_table: tuple[Mapping[str, Any], ...] = ()
    recipe: str = ""
    verification: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    runtime: str = ""
    files: Mapping[str, FileEntry] = dataclasses.field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self):
        _check_choice("format", self.format, FORMATS)
        if not self.runtime:
            object.__setattr__(self, "runtime", FORMATS[self.format].runtime.name)
        for field in ("inputs", "outputs", "heads", "coding_table"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        self._check_runtime()
        _check_choice("coding", self.coding, _CODINGS)
        self._check_tensors()
        if self.is_text != (self.sequence_length is not None):
            raise InvalidValueError(
                "'sequence_length' is for artifacts that take texts, and they need it; "
                f"got {self.sequence_length!r} with 'is_text' {self.is_text!r}."
            )
        self._check_lengths()
        for name in self.files:
            _check_file_name(name)

    def _check_lengths(self):
        length = self.sequence_length
        if length is not None and not 1 <= length <= MAX_SEQUENCE_LENGTH:
            raise InvalidValueError(
                f"'sequence_length' must be in 1..{MAX_SEQUENCE_LENGTH}, got "
                f"{shown(length)}."
            )
        for spec in self.inputs if self.is_text else ():
            shape = tuple(spec.shape)
            if shape not in ((None, None), (None, length)):
                raise InvalidValueError(
                    f"Input {spec.name!r} has shape {shape}, and a text has up to "
                    f"{length} ids: the shape must be (None, {length}), or (None, "
                    "None) for any length."
                )

    def _check_runtime(self):
        _check_choice("runtime", self.runtime, RUNTIMES)
        FORMATS[self.format].runtime_named(self.runtime)

    def _check_tensors(self):
        if not self.inputs or not self.outputs:
            raise InvalidValueError("'inputs' and 'outputs' need at least one tensor.")
        for spec in (*self.inputs, *self.outputs):
            _check_spec(spec)
        names = [head.name for head in self.heads]
        if not 1 <= len(names) <= len(self.outputs) or len(set(names)) < len(names):
            raise InvalidValueError(
                f"'heads' needs one for each output that is scored, at least one and "
                f"of different names; got {names} for {len(self.outputs)} outputs."
            )
        for head, spec in zip(self.heads, self.outputs, strict=False):
            head.check_shape(spec.shape)

    @property
    def model_files(self):
        """Names of the files that the runtime needs: all but the tokenizer, sorted."""
        return tuple(sorted(name for name in self.files if name != TOKENIZER_NAME))

    def to_json(self):
        """Returns the manifest as a dict of JSON values."""
        value = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        for key in ("inputs", "outputs"):
            value[key] = [
                {**dataclasses.asdict(spec), "shape": list(spec.shape)}
                for spec in value[key]
            ]
        value["files"] = {
            name: dataclasses.asdict(entry) for name, entry in self.files.items()
        }
        value["heads"] = [head.to_json() for head in self.heads]
        value["coding_table"] = [dict(row) for row in self.coding_table]
        value["versions"] = dict(self.versions)
        value["verification"] = self.verification and dict(self.verification)
        return value

    @classmethod
    def from_json(cls, value):
        """Makes a manifest from what `to_json` returned.

        Args:
            value: what `json.loads` made of a manifest file.
        Returns:
            A `Manifest`.
        Raises:
            InvalidValueError: if a key is missing, unknown or of a wrong type, the
                schema is a newer one, a file name leaves the folder, or the fields do
                not go together.
        """
        if not isinstance(value, dict):
            raise InvalidValueError("A manifest must be a JSON object.")
        if value.get("schema_version") in _OLDER_VERSIONS:
            value = _from_older(value)
        _check_schema_version(value.get("schema_version"))
        _check_keys(value, _JSON_TYPES)
        for key, (is_right, description) in _JSON_TYPES.items():
            if not is_right(value[key]):
                raise InvalidValueError(f"{key!r} must be {description}.")
        return cls(
            **{
                **value,
                "inputs": tuple(map(_spec_from_json, value["inputs"])),
                "outputs": tuple(map(_spec_from_json, value["outputs"])),
                "heads": tuple(map(head_from_json, value["heads"])),
                "files": {
                    name: FileEntry(**entry) for name, entry in value["files"].items()
                },
            }
        )


def _from_older(value):
    """Returns the JSON of a manifest of version 1 or 2 as one of this version.

    Those knew one kind of head, of the first output, and version 1 no `verification`.
    """
    value = dict(value)
    if value["schema_version"] == 1:
        value["verification"] = None
    if "output_activation" in value and "labels" in value:
        activation, labels = value.pop("output_activation"), value.pop("labels")
        head = {"kind": "classes", "name": "labels", "activation": activation}
        value["heads"] = [head | {"labels": labels}]
    return value | {"schema_version": SCHEMA_VERSION}


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(is_right):
    return lambda value: isinstance(value, list) and all(map(is_right, value))


def _is_map_of(is_right):
    return lambda value: isinstance(value, dict) and all(map(is_right, value.values()))


def _is_text(value):
    return isinstance(value, str)


def _is_spec(value):
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "shape", "dtype"}
        and _is_text(value["name"])
        and _is_list_of(lambda size: size is None or _is_int(size))(value["shape"])
        and _is_text(value["dtype"])
    )


def _is_file_entry(value):
    return (
        isinstance(value, dict)
        and value.keys() == {"size_bytes", "sha256"}
        and _is_int(value["size_bytes"])
        and _is_text(value["sha256"])
        and _SHA256.fullmatch(value["sha256"]) is not None
    )


_TEXT = (_is_text, "a text")
_SPECS = (_is_list_of(_is_spec), "a list of {name, shape, dtype}")
_JSON_TYPES = {
    "schema_version": (_is_int, "an integer"),
    "format": _TEXT,
    "runtime": _TEXT,
    "precision": _TEXT,
    "coding": _TEXT,
    "recipe": _TEXT,
    "inputs": _SPECS,
    "outputs": _SPECS,
    "heads": (_is_list_of(lambda head: isinstance(head, dict)), "a list of objects"),
    "is_text": (lambda value: isinstance(value, bool), "true or false"),
    "sequence_length": (
        lambda value: value is None or (_is_int(value) and value > 0),
        "a positive integer or null",
    ),
    "coding_table": (
        _is_list_of(lambda row: isinstance(row, dict)),
        "a list of objects",
    ),
    "versions": (_is_map_of(_is_text), "an object of texts"),
    "verification": (
        lambda value: value is None or isinstance(value, dict),
        "an object or null",
    ),
    "files": (_is_map_of(_is_file_entry), "an object of {size_bytes, sha256}"),
}
"""Key of the JSON form -> whether a value is of its type, and the type in words."""


def _spec_from_json(value):
    return TensorSpec(value["name"], tuple(value["shape"]), value["dtype"])


def _check_schema_version(version):
    if version == SCHEMA_VERSION:
        return
    if _is_int(version) and version > SCHEMA_VERSION:
        raise InvalidValueError(
            f"'schema_version' is {version} and this tfcompress knows only "
            f"{SCHEMA_VERSION}: a newer one made the artifact. Update tfcompress."
        )
    raise InvalidValueError(
        f"'schema_version' must be {SCHEMA_VERSION}, got {shown(version)}."
    )


def _check_keys(value, known):
    missing = [key for key in known if key not in value]
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(key, missing or known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise InvalidValueError(f"The key {shown(key)} is not known{hint}")
    if missing:
        raise InvalidValueError(f"The key {missing[0]!r} is missing.")


def _check_choice(field, value, choices):
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise InvalidValueError(
            f"{field!r} has the unknown value {shown(value)}; choose one of {listed}."
        )


def _check_spec(spec):
    if not _DTYPE.fullmatch(spec.dtype):
        raise InvalidValueError(
            f"Tensor {shown(spec.name)} has the unknown dtype {shown(spec.dtype)}; "
            "numpy's names are known, such as 'int32'."
        )
    if not spec.shape or spec.shape[0] is not None:
        raise InvalidValueError(
            f"Tensor {spec.name!r} has shape {tuple(spec.shape)}; the first size must "
            "be None, so that any batch can be run. Export it with a free batch size."
        )


def _check_file_name(name):
    """Refuses whatever is not the plain name of a file in the artifact's folder."""
    leaves = name in ("", ".", "..") or not _NOT_IN_NAMES.isdisjoint(name)
    if leaves or name == MANIFEST_NAME or len(name) > _MAX_NAME:
        raise InvalidValueError(
            f"'files' names {shown(name)}, which is no plain name of a file in the "
            "artifact's folder."
        )
