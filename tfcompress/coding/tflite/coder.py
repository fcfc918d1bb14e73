"""Codes the weights of a .tflite file, whoever wrote it: of float32 and float16, and
int8 tables that rows are looked up in.

The coded file opens in the stock interpreter and needs no custom operator. In the first
invoke of an interpreter CALL_ONCE runs a subgraph that decodes the weights into
variables, which the graphs read. Embedding tables stay packed: a lookup fetches packed
rows and decodes those (`rows`). Dense layers and 1x1 convolutions become
BATCH_MATMUL (`layers`), and dependencies make the runtime's delegate read the
weights without copies (`order`). Batch size, dynamic shapes, signatures,
metadata and other subgraphs stay as they are.

Limits: the first invoke of each interpreter decodes, and needs the memory of the dense
weights from then on. The integer kernels of layers need constants, so int8 and int4
weights of layers stay. Layers that have to run with weights that are not constant are
slower: convolutions several times, dense layers on single rows by packing their weights
in every run. `slow_layers="leave"` leaves the former dense.
"""

import dataclasses
import math

import numpy as np

from tfcompress.coding import codes
from tfcompress.coding.exclusions import check_patterns, reason_to_exclude
from tfcompress.coding.kinds import Bitmap, kind_names
from tfcompress.coding.result import CodedTensor, CodingResult
from tfcompress.coding.structures import find_structure
from tfcompress.coding.tflite.check import check_coded_model, check_runs_like
from tfcompress.coding.tflite.layers import SLOWER, SLOWEST
from tfcompress.coding.tflite.rewrite import Rewrite
from tfcompress.coding.tflite.weights import find_weights
from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.formats.tflite_file import is_coded, read_model_to_write
from tfcompress.formats.tflite_graphs import operator_name
from tfcompress.formats.tflite_trailer import append_trailer, read_trailer

# What to do with layers that decoded weights slow down -> the slowdown from which on
# their weights stay dense.
SLOW_LAYERS = {"code": math.inf, "leave_slowest": SLOWEST, "leave": SLOWER}

# Bytes of a decoder's operators, tensors and shapes, measured on files of 2 and of 6
# such weights. What decoders share, up to 4 KB of byte tables, comes on top.
_COST = codes.DecoderCost(
    codebook_bytes=1000,
    plane_bytes=450,
    bitmap_bytes=950,
    positions_bytes=1250,
    channels_bytes=200,
    scales_bytes=350,
)
_ROWS_COST = codes.DecoderCost(
    codebook_bytes=650,
    plane_bytes=1000,
    bitmap_bytes=1900,
    scales_bytes=550,
    has_value_tables=True,
)


# Bytes. A lookup of 128 rows of 384 weights takes 0.4 ms more in a bitmap.
_BITMAP_HAS_TO_SAVE = 1 << 16

# Share of its bytes. Ordinary integers take 7 bits at times; 128 rows of 384 of these
# take 0.65 ms more, a tenth of an int8 MiniLM's time.
_INTEGERS_MAY_KEEP = 0.75


def code_tflite(source, target, *, slow_layers="code", exclude=(), structures=()):
    """Writes a copy of a .tflite file with packed weights.

    An archive of labels and the like behind the model stays behind it.

    Args:
        source: `pathlib.Path` of the file.
        target: `pathlib.Path` to write to.
        slow_layers: "code" codes every weight that gets smaller. "leave_slowest"
            leaves dense what could not run on its delegate any more, such as
            convolutions other than 1x1, and tables that a lookup would have to copy.
            "leave" leaves the 1x1 convolutions too, and gives no table a bitmap.
        exclude: regular expressions; a weight whose whole name matches one stays dense.
        structures: hints, sequence of dicts as `coding.structures` describes them; one
            that gives a constant to the bit allows codes with scales, or of channels.
    Returns:
        `CodingResult`. Where nothing pays the target is a copy of the source.
    Raises:
        ModelFileError: if the file is no whole .tflite file, or is coded already.
        InvalidValueError: if an option has a value that cannot be used.
        OSError: if a file cannot be read or written.
    """
    _check_slow_layers(slow_layers)
    check_patterns(exclude)
    model = read_model_to_write(source)
    if is_coded(model):
        raise ModelFileError(
            f"{str(source)!r} is coded already. Give the dense file it was made from."
        )
    dense = source.read_bytes()
    trailer = read_trailer(source)
    rewrite = Rewrite(model)
    rows = []
    for weight in find_weights(model):
        reason = _reason_to_leave(model, weight, slow_layers, exclude)
        choice = _choose_code(weight, slow_layers, structures, reason)
        rows.append(_code_weight(rewrite, weight, *choice))
    data = dense
    if any(row.code != "dense" for row in rows):
        data = rewrite.finish()
    if len(data) + len(trailer) < len(dense):
        check_coded_model(data, rewrite.variables, rewrite.lookups)
        check_runs_like(dense, data)
        target.write_bytes(data)
        append_trailer(target, trailer)
    else:
        target.write_bytes(dense)
        reason = "the file as a whole would not be smaller"
        rows = [row if row.reason else row.left_dense(reason) for row in rows]
    return CodingResult(
        format="tflite",
        source_bytes=len(dense),
        target_bytes=target.stat().st_size,
        tensors=tuple(rows),
    )


def _check_slow_layers(slow_layers):
    if slow_layers not in SLOW_LAYERS:
        raise InvalidValueError(
            f"slow_layers must be one of {', '.join(SLOW_LAYERS)}, got {slow_layers!r}."
        )


def _code_weight(rewrite, weight, code, by_row, reason):
    """Replaces a weight that does not stay; returns its row of the result."""
    row = CodedTensor.from_code(weight.name, code, dtype=weight.dtype.lower())
    if reason is not None:
        return row.left_dense(reason)
    rewrite.code_weight(weight, code, by_row=by_row)
    return dataclasses.replace(row, is_slower=_is_slower(weight, by_row))


def _choose_code(weight, slow_layers, structures, reason):
    """Returns a weight's code, True where it is packed by row, and why it stays."""
    if reason is not None or weight.array.nbytes < codes.MIN_BYTES:
        code = codes.encode(weight.array, kinds=("dense",))
        return code, False, reason or code.reason
    structure = None
    if np.isfinite(weight.array).all():  # MUL makes finite numbers of others
        structure = find_structure(weight.array, structures)
    if weight.is_used_as("rows"):
        code = _code_by_row(weight.array, structure, slow_layers)
        if weight.is_integer:
            return code, True, _reason_of_integers(code)
        if not code.is_dense:
            return code, True, None
    # No code by row is smaller: a lookup has to read the whole table.
    code = codes.encode(weight.array, cost=_COST, structure=structure)
    reason = code.reason
    if reason is None and slow_layers != "code" and _is_slower(weight, False):
        reason = "a lookup would be slower in a decoded table"
    return code, False, reason


def _reason_of_integers(code):
    """Says why a table of integers stays dense; None where its code is small."""
    if code.reason is None and code.coded_bytes > _INTEGERS_MAY_KEEP * code.dense_bytes:
        return "its lookups would be slower, for less than a quarter of its bytes"
    return code.reason


def _code_by_row(array, structure, slow_layers):
    """Returns a table's code; one with a bitmap only where it saves enough, and where
    slower lookups are welcome."""
    code = codes.encode(array, cost=_ROWS_COST, by_row=True, structure=structure)
    if isinstance(code.places, Bitmap):
        other = codes.encode(
            array,
            cost=_ROWS_COST,
            by_row=True,
            structure=structure,
            kinds=kind_names(without=(Bitmap,)),
        )
        saved = other.coded_bytes - code.coded_bytes
        if slow_layers == "leave" or saved < _BITMAP_HAS_TO_SAVE:
            return other
    return code


def _reason_to_leave(model, weight, slow_layers, exclude):
    if weight.array.nbytes < codes.MIN_BYTES:
        return None
    reason = reason_to_exclude(weight.name, exclude) or weight.reason
    slowed = weight.slowed_operator(SLOW_LAYERS[slow_layers])
    if reason is None and slowed is not None:
        kind = operator_name(model, slowed)
        return f"{kind} would be slower with decoded weights"
    return reason


def _is_slower(weight, by_row):
    is_whole_table = weight.is_used_as("rows") and not by_row
    return weight.slowed_operator(SLOWEST) is not None or is_whole_table
