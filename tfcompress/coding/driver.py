"""Codes a model file whose decoders the runtime evaluates when it loads it.

What differs between such formats is a `Coder`: where constants stand, what codes their
operators can decode, how decoders are written and run. TFLite's files, whose decoders
run once in an interpreter, have a pass of their own (`tflite`).
"""

import dataclasses
import hashlib
from typing import Any, Protocol

import numpy as np

from tfcompress.coding import codes
from tfcompress.coding.exclusions import check_patterns, reason_to_exclude
from tfcompress.coding.result import CodedTensor, CodingResult
from tfcompress.coding.structures import find_structure
from tfcompress.errors import ModelFileError

_NOT_SMALLER = "the file as a whole would not be smaller"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class WeightConstant:
    """A constant that may be coded.

    Attributes:
        name: its name in the file.
        array: its elements.
        element_type: the format's own name or number of their type.
        graph_index: place of its graph among the graphs of the model.
        kinds: names of the codes that can stand in its place.
        cost: `codes.DecoderCost` there.
        dtype: name of the type where numpy's is another, as for bfloat16; else None.
        reason: why it has to stay as it is, else None.
        holder: what the format keeps it in.
    """

    name: str
    array: np.ndarray
    element_type: Any
    graph_index: int
    kinds: tuple[str, ...]
    cost: codes.DecoderCost
    dtype: str | None = None
    reason: str | None = None
    holder: Any = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """What the decoder of one tensor has to give.

    Attributes:
        graph_index, name, element_type: as of `WeightConstant`.
        shape: its shape.
        sha256: hash of its bytes.
    """

    graph_index: int
    name: str
    element_type: Any
    shape: tuple[int, ...]
    sha256: str


class Coder(Protocol):
    """A model file that is open to be coded.

    Attributes:
        format: name of its format.
        is_coded: whether it is coded already.
        source_bytes: bytes of the file, with all that belongs to it.
    """

    format: str
    is_coded: bool
    source_bytes: int

    def constants(self):
        """Yields a `WeightConstant` of each constant of more than one number that may
        hold weights, in the order of the file."""

    def reason_of_dense(self, constant):
        """Says why no code could stand in a constant's place; None if one could."""

    def replace(self, constant, code):
        """Puts a decoder in the place of a constant; returns the bytes that it takes,
        or None where `code.coded_bytes` is all that is known."""

    def write(self, target):
        """Writes the model, marked as coded; returns the bytes of all of its files."""

    def check(self, target, expected):
        """Raises `ModelFileError`, and removes the written files, if a decoder does not
        give its `Expected`."""

    def remove(self, target):
        """Removes the written files."""

    def copy(self, target):
        """Copies the source, with all that belongs to it."""


def code_model(coder, source, target, *, exclude, structures):
    """Writes a copy of a model file with packed weights.

    Args:
        coder: `Coder` of the source.
        source: `pathlib.Path` of the file.
        target: `pathlib.Path` to write to, in a folder of its own.
        exclude: regular expressions; a tensor whose whole name matches one stays dense.
        structures: sequence of hints, dicts as `coding.structures` describes them.
    Returns:
        `CodingResult`. Where nothing pays the target is a copy of the source.
    Raises:
        ModelFileError: if the file is coded already, or does not decode to the same
            bits once it is written.
        InvalidValueError: if `exclude` holds no regular expressions.
        OSError: if a file cannot be read or written.
    """
    check_patterns(exclude)
    if coder.is_coded:
        raise ModelFileError(
            f"{str(source)!r} is coded already. Give the dense file it was made from."
        )
    rows, expected = [], []
    for constant in coder.constants():
        row, is_coded = _code_constant(coder, constant, exclude, structures)
        rows.append(row)
        if is_coded:
            expected.append(_expected(constant))
    if expected:
        target_bytes = coder.write(target)
        coder.check(target, expected)
        if target_bytes < coder.source_bytes:
            return _result(coder, target_bytes, rows)
        coder.remove(target)
        rows = [row if row.reason else row.left_dense(_NOT_SMALLER) for row in rows]
    coder.copy(target)
    return _result(coder, coder.source_bytes, rows)


def _code_constant(coder, constant, exclude, structures):
    """Replaces a constant whose code is smaller; returns its row, and if it was."""
    array = constant.array
    reason = constant.reason or reason_to_exclude(constant.name, exclude)
    code = codes.encode(
        array,
        cost=constant.cost,
        kinds=("dense",) if reason else constant.kinds,
        structure=None if reason else find_structure(array, structures),
    )
    row = CodedTensor.from_code(constant.name, code, dtype=constant.dtype)
    if code.is_dense:
        reason = reason or coder.reason_of_dense(constant) or code.reason
        return row.left_dense(reason), False
    coded_bytes = coder.replace(constant, code)
    if coded_bytes is not None:
        row = dataclasses.replace(row, coded_bytes=coded_bytes)
    return row, True


def _expected(constant):
    return Expected(
        graph_index=constant.graph_index,
        name=constant.name,
        element_type=constant.element_type,
        shape=constant.array.shape,
        sha256=hashlib.sha256(constant.array).hexdigest(),
    )


def _result(coder, target_bytes, rows):
    return CodingResult(
        format=coder.format,
        source_bytes=coder.source_bytes,
        target_bytes=target_bytes,
        tensors=tuple(rows),
    )
