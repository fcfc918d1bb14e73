"""Decoders of whole weights, for the subgraph that runs once.

They turn bytes into indices by tables of 256 rows (`packing`): CAST, then GATHER. What
looks rows up in a packed table is in `rows`.
"""

import math

import numpy as np

from tfcompress.coding import packing
from tfcompress.coding.kinds import (
    Bitmap,
    BlockCodebook,
    ChannelCodebook,
    Everywhere,
    Gaps,
    Plain,
)
from tfcompress.coding.tflite.steps import Steps


def decode_all(graph, code, name):
    """Decodes a whole weight.

    Args:
        graph: `graph.Graph` of the subgraph that runs once.
        code: `codes.Code`, not "dense", of a float32 or float16 tensor.
        name: name of the packed constants.
    Returns:
        Index of the decoded tensor, FLOAT32, with the weight's elements in C order but
        not in its shape; list of operators.
    """
    steps = Steps(graph)
    decoded = _entries(steps, code.values, name)
    number = _numbers(steps, code, name)
    if number is not None:
        zero = graph.constant(np.zeros(1, np.float32))
        entries = steps.concatenate([zero, decoded], [1 + code.num_entries], "FLOAT32")
        decoded = steps.gather(entries, number, [math.prod(code.shape)], "FLOAT32")
    if isinstance(code.values, BlockCodebook):
        view = code.values.view
        blocks = steps.reshape(decoded, view, "FLOAT32")
        scales = steps.float_constant(code.values.scales, name + "/scales")
        decoded = steps.multiply(blocks, scales, view, "FLOAT32")
    return decoded, steps.operators


def _entries(steps, values, name):
    """Returns the values that the code tells one by one: FLOAT32, in C order."""
    if isinstance(values, Plain):
        return steps.float_constant(values.entries, name + "/values")
    index = _unpack(steps, values.indices, name)
    shape = [values.num_entries]
    if isinstance(values, ChannelCodebook):
        # Each channel has a row of its own in the codebook.
        shape, size = values.view, values.codebook.shape[1]
        starts = size * np.arange(len(values.codebook), dtype=np.int32)
        starts = steps.graph.constant(starts[:, None])
        index = steps.add(steps.reshape(index, shape, "INT32"), starts, shape)
    codebook = values.codebook.astype(np.float32).reshape(-1)
    return steps.gather(steps.graph.constant(codebook), index, shape, "FLOAT32")


def _numbers(steps, code, name):
    """Returns for each weight the number of its entry, from 1; 0 is the zero.

    None where all weights are entries. Entries are numbered and fetched by GATHER, not
    put in their places by SCATTER_ND, which would add them to zeros: -0.0 would go.
    """
    size = math.prod(code.shape)
    match code.places:
        case Everywhere():
            return None
        case Gaps(gaps):
            gaps = _unpack(steps, gaps, name + "/gaps")
            places = steps.cumulative_sum(gaps, [code.num_entries])
            places = steps.reshape(places, [code.num_entries, 1], "INT32")
            return steps.scatter(places, steps.count(code.num_entries), size)
        case Bitmap(bits):
            bits = _bits(steps, bits, size, name)
            return steps.multiply(steps.cumulative_sum(bits, [size]), bits, [size])


def _bits(steps, bitmap, size, name):
    """Returns INT32 ones where weights are there, shape `(size,)`."""
    rows = 1 if bitmap.ndim == 1 else len(bitmap)
    width = bitmap.size // rows
    packed = steps.graph.constant(bitmap.reshape(rows, width), name + "/bitmap")
    wide = steps.cast(packed, [rows, width])
    table = steps.graph.constant(packing.index_table(1))
    bits = steps.gather(table, wide, [rows, width, 8], "UINT8")
    return _flatten(steps, bits, (rows, 8 * width), size)


def _unpack(steps, indices, name):
    """Unpacks all indices; returns an INT32 tensor, shape `(number of indices,)`."""
    total, size = None, indices.num_rows * indices.row_size
    for plane in indices.planes:
        suffix = f"/{plane.width}" if len(indices.planes) > 1 else ""
        part = _unpack_plane(steps, plane, size, name + suffix)
        total = part if total is None else steps.add(total, part, [size])
    return total


def _unpack_plane(steps, plane, size, name):
    num_rows, num_bytes = plane.packed.shape
    per_byte = 8 // plane.width
    packed = steps.graph.constant(plane.packed, name)
    if plane.width < packing.MAX_BITS:
        wide = steps.cast(packed, [num_rows, num_bytes])
        table = steps.graph.constant(packing.index_table(plane.width, plane.shift))
        packed = steps.gather(table, wide, [num_rows, num_bytes, per_byte], "UINT8")
    return _flatten(steps, packed, (num_rows, num_bytes * per_byte), size)


def _flatten(steps, tensor, padded_shape, size):
    """Cuts the padding off each row; returns an INT32 tensor, shape `(size,)`."""
    num_rows, padded = padded_shape
    if num_rows * padded != size:
        tensor = steps.reshape(tensor, [num_rows, padded], "UINT8")
        tensor = steps.slice(tensor, [num_rows, size // num_rows], "UINT8")
    return steps.cast(steps.reshape(tensor, [size], "UINT8"), [size])
