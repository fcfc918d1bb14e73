"""Decoders of rows: a lookup fetches packed rows and decodes those.

The table itself is never decoded, so that it takes its packed bytes of memory, and a
run takes time by the rows that it asks for. Where there is one plane of indices a table
of 256 rows holds the values themselves.
"""

import math

import numpy as np

from tfcompress.coding import packing
from tfcompress.coding.tflite_steps import Steps


def decode_rows(graph, code, ids, output, name):
    """Looks up rows of a packed table.

    Args:
        graph: `tflite_graph.Graph` of the subgraph of the lookup.
        code: `codes.Code` made by row, not "dense".
        ids: index of the tensor of row numbers, any shape.
        output: index of the tensor that gets the rows, shape `ids.shape + row shape`.
        name: name of the packed constants.
    Returns:
        List of operators.
    """
    lookup = _Lookup(graph, ids, code, name)
    rows = lookup.all_there() if code.bitmap is None else lookup.marked()
    if code.scales is not None:
        rows = lookup.scaled(rows)
    lookup.reshape(rows, [int(n) for n in code.shape[1:]], output)
    return lookup.steps.operators


class _Lookup:
    """Operators of one lookup.

    Shapes start with the shape of the ids, whatever that is at run time. LiteRT works
    it out when it allocates tensors, so that what follows keeps a static shape and its
    delegate; older interpreters do it in every run.
    """

    def __init__(self, graph, ids, code, name):
        self.steps = Steps(graph)
        self._ids = ids
        self._batch = graph.signature(ids)
        self._batch_shape = None
        self._code = code
        self._name = name
        self._shape = [*self._batch, math.prod(code.shape[1:])]

    def all_there(self):
        """Decodes rows whose indices are packed row by row."""
        steps, shape, indices = self.steps, self._shape, self._code.indices
        codebook = self._code.codebook.astype(np.float32)
        if len(indices.planes) == 1:
            table = packing.value_table(codebook, indices.planes[0].width)
            return self._fetch(indices.planes[0].packed, table, self._name, "FLOAT32")
        total = None
        for plane in indices.planes:
            table = packing.index_table(plane.width, plane.shift)
            plane_name = f"{self._name}/{plane.width}"
            part = self._fetch(plane.packed, table, plane_name, "UINT8")
            part = steps.cast(part, shape)
            total = part if total is None else steps.add(total, part, shape)
        return steps.gather(steps.graph.constant(codebook), total, shape, "FLOAT32")

    def marked(self):
        """Decodes rows of a bitmap; the indices of what is there have no rows."""
        steps, shape, code = self.steps, self._shape, self._code
        bits = self._fetch(
            code.bitmap, packing.index_table(1), self._name + "/bitmap", "UINT8"
        )
        bits = steps.cast(bits, shape)
        starts = steps.graph.constant(code.row_starts, self._name + "/starts")
        start = steps.gather(starts, self._ids, self._batch, "INT32")
        start = self.reshape(start, [1], steps.graph.tensor([*shape[:-1], 1], "INT32"))
        counted = steps.cumulative_sum(bits, shape, exclusive=True)
        place = steps.add(counted, start, shape)
        codebook = code.codebook.astype(np.float32)
        planes = code.indices.planes
        if len(planes) == 1:
            index = self._slots(planes[0], place, self._name)
            values = packing.value_table(codebook, planes[0].width).reshape(-1)
        else:
            values, index = codebook, None
            for plane in planes:
                slot = self._slots(plane, place, f"{self._name}/{plane.width}")
                table = packing.index_table(plane.width, plane.shift).reshape(-1)
                table = steps.graph.constant(table)
                part = steps.cast(steps.gather(table, slot, shape, "UINT8"), shape)
                index = part if index is None else steps.add(index, part, shape)
        # What is not there is the 0th value, the zero; a product of values would make
        # -0.0 of some.
        one = steps.graph.constant(np.int32(1))
        index = steps.multiply(steps.add(index, one, shape), bits, shape)
        values = steps.graph.constant(np.append(np.float32(0), values))
        return steps.gather(values, index, shape, "FLOAT32")

    def scaled(self, rows):
        """Multiplies rows by the scales of their blocks."""
        steps, code = self.steps, self._code
        _, block_size, inner = code.view
        per_row = code.scales.reshape(code.shape[0], -1)
        scales = steps.float_constant(per_row, self._name + "/scales")
        shape = [*self._batch, per_row.shape[1]]
        scales = steps.gather(scales, self._ids, shape, "FLOAT32")
        # In three dimensions: old interpreters broadcast no more than four.
        scales = steps.reshape(scales, [-1, 1, inner], "FLOAT32")
        blocks = [-1, block_size, inner]
        rows = steps.reshape(rows, blocks, "FLOAT32")
        return steps.multiply(rows, scales, blocks, "FLOAT32")

    def reshape(self, tensor, row, output):
        """Reshapes `tensor` to the ids' shape + `row`, into the tensor `output`."""
        steps, rank = self.steps, len(self._batch)
        tail = steps.graph.constant(np.int32(row))
        if rank == 0:
            target = tail
        elif rank == 1:
            target = steps.graph.constant(np.int32([-1, *row]))
        else:
            if self._batch_shape is None:
                self._batch_shape = steps.shape_of(self._ids, rank)
            target = steps.concatenate(
                [self._batch_shape, tail], [rank + len(row)], "INT32"
            )
        return steps.add_operator("RESHAPE", [tensor, target], output)

    def _fetch(self, packed, table, name, dtype):
        """Fetches packed rows, looks their bytes up in a table, and cuts off the
        padding; a tensor of `dtype`, shape `ids.shape + (row size,)`."""
        steps, batch, num_bytes = self.steps, self._batch, packed.shape[1]
        packed = steps.graph.constant(packed, name)
        fetched = steps.gather(packed, self._ids, [*batch, num_bytes], "UINT8")
        wide = steps.cast(fetched, [*batch, num_bytes])
        per_byte = table.shape[1]
        table = steps.graph.constant(table)
        found = steps.gather(table, wide, [*batch, num_bytes, per_byte], dtype)
        padded = num_bytes * per_byte
        if padded == self._shape[-1] and dtype == "FLOAT32":
            return found  # the last reshape does it
        flat = steps.graph.tensor([*batch, padded], dtype)
        self.reshape(found, [padded], flat)
        if padded == self._shape[-1]:
            return flat
        size = [-1] * len(batch) + [self._shape[-1]]
        return steps.slice(flat, size, dtype)

    def _slots(self, plane, place, name):
        """Returns byte x indices of a byte + place in the byte, of entries by place."""
        steps, shape = self.steps, self._shape
        per_byte = 8 // plane.width
        # Behind the last weight that is there a place is one too far.
        packed = np.append(plane.packed.reshape(-1), np.uint8(0))
        packed = steps.graph.constant(packed, name)
        where = place
        if per_byte > 1:
            where = steps.floor_divide(place, per_byte, shape)
        byte = steps.cast(steps.gather(packed, where, shape, "UINT8"), shape)
        if per_byte == 1:
            return byte
        per_byte = steps.graph.constant(np.int32(per_byte))
        ahead = steps.multiply(steps.subtract(byte, where, shape), per_byte, shape)
        return steps.add(ahead, place, shape)
