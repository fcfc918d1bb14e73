"""Decoders of rows: a lookup fetches packed rows and decodes those.

The table itself is never decoded, so that it takes its packed bytes of memory, and a
run takes time by the rows that it asks for. Where there is one plane of indices a table
of 256 rows holds the values themselves.
"""

import math

import numpy as np

from tfcompress.coding import packing
from tfcompress.coding.kinds import Bitmap, BlockCodebook
from tfcompress.coding.tflite.steps import Steps


def decode_rows(graph, code, ids, output, name):
    """Looks up rows of a packed table, of FLOAT32 or, for a table of INT8, INT8.

    Args:
        graph: `graph.Graph` of the subgraph of the lookup.
        code: `codes.Code` made by row, not "dense".
        ids: index of the tensor of row numbers, any shape.
        output: index of the tensor that gets the rows, shape `ids.shape + row shape`.
        name: name of the packed constants.
    Returns:
        List of operators.
    """
    lookup = _Lookup(graph, ids, code, name)
    rows = lookup.marked() if isinstance(code.places, Bitmap) else lookup.all_there()
    if isinstance(code.values, BlockCodebook):
        rows = lookup.scaled(rows)
    lookup.reshape(rows, [int(n) for n in code.shape[1:]], output)
    lookup.quantize_like(output)
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
        self._codebook = code.values.codebook
        if self._codebook.dtype != np.int8:
            self._codebook = self._codebook.astype(np.float32)
        self._dtype = self._codebook.dtype.name.upper()
        self._shape = [*self._batch, math.prod(code.shape[1:])]

    def all_there(self):
        """Decodes rows whose indices are packed row by row."""
        steps, shape, indices = self.steps, self._shape, self._code.values.indices
        if len(indices.planes) == 1:
            table = packing.value_table(self._codebook, indices.planes[0].width)
            return self._fetch(indices.planes[0].packed, table, self._name, self._dtype)
        total = None
        for plane in indices.planes:
            table = packing.index_table(plane.width, plane.shift)
            plane_name = f"{self._name}/{plane.width}"
            part = self._fetch(plane.packed, table, plane_name, "UINT8")
            part = steps.cast(part, shape)
            total = part if total is None else steps.add(total, part, shape)
        return steps.gather(
            steps.graph.constant(self._codebook), total, shape, self._dtype
        )

    def marked(self):
        """Decodes rows of a bitmap; the indices of what is there have no rows.

        A byte of the bitmap and the place of its first index in a packed byte tell
        where the indices of its eight weights are: all but the last look-ups take as
        many steps as there are bytes, not weights.
        """
        steps, code = self.steps, self._code
        num_bytes = code.places.bits.shape[1]
        per_byte_shape = [*self._batch, num_bytes]
        bitmap = steps.graph.constant(code.places.bits, self._name + "/bitmap")
        marks = steps.gather(bitmap, self._ids, per_byte_shape, "UINT8")
        marks = steps.cast(marks, per_byte_shape)
        first = self._first_entries(marks, per_byte_shape)
        planes = code.values.indices.planes
        if len(planes) == 1:
            table = packing.value_table(self._codebook, planes[0].width)
            rows = self._marked_plane(planes[0], table, marks, first, self._name)
            return self._trim(rows, 8 * num_bytes, self._dtype)
        index, shape = None, [*per_byte_shape, 8]
        for plane in planes:
            # 0 is the zero, for what is not there.
            table = packing.index_table(plane.width, plane.shift) + (index is None)
            name = f"{self._name}/{plane.width}"
            part = self._marked_plane(plane, table.astype(np.uint8), marks, first, name)
            part = steps.cast(part, shape)
            index = part if index is None else steps.add(index, part, shape)
        zero = self._codebook.dtype.type(0)
        values = steps.graph.constant(np.append(zero, self._codebook))
        rows = steps.gather(values, index, shape, self._dtype)
        return self._trim(rows, 8 * num_bytes, self._dtype)

    def quantize_like(self, output):
        """Gives the integers of every step the quantization of the tensor `output`."""
        tensors = self.steps.graph.subgraph.tensors
        for operator in self.steps.operators:
            made = tensors[int(operator.outputs[0])]
            if made.type == self.steps.graph.types.INT8:
                made.quantization = tensors[output].quantization

    def scaled(self, rows):
        """Multiplies rows by the scales of their blocks."""
        steps, code = self.steps, self._code
        _, block_size, inner = code.values.view
        per_row = code.values.scales.reshape(code.shape[0], -1)
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
        """Fetches packed rows and looks their bytes up in a table."""
        steps, batch, num_bytes = self.steps, self._batch, packed.shape[1]
        packed = steps.graph.constant(packed, name)
        fetched = steps.gather(packed, self._ids, [*batch, num_bytes], "UINT8")
        wide = steps.cast(fetched, [*batch, num_bytes])
        per_byte = table.shape[1]
        table = steps.graph.constant(table)
        found = steps.gather(table, wide, [*batch, num_bytes, per_byte], dtype)
        return self._trim(found, num_bytes * per_byte, dtype)

    def _trim(self, tensor, padded, dtype):
        """Joins the two last axes and cuts the padding off."""
        size = self._shape[-1]
        if padded == size and dtype == self._dtype:
            return tensor  # the last reshape does it
        flat = self.steps.graph.tensor([*self._batch, padded], dtype)
        self.reshape(tensor, [padded], flat)
        if padded == size:
            return flat
        return self.steps.slice(flat, [-1] * len(self._batch) + [size], dtype)

    def _first_entries(self, marks, shape):
        """Returns the number of entries in front of each byte of the bitmap."""
        steps = self.steps
        counts = packing.index_table(1).sum(axis=1, dtype=np.int32)
        counts = steps.gather(steps.graph.constant(counts), marks, shape, "INT32")
        starts = self._code.places.row_starts
        starts = steps.graph.constant(starts, self._name + "/starts")
        start = steps.gather(starts, self._ids, self._batch, "INT32")
        wide = steps.graph.tensor([*self._batch, 1], "INT32")
        self.reshape(start, [1], wide)
        before = steps.cumulative_sum(counts, shape, exclusive=True)
        return steps.add(before, wide, shape)

    def _marked_plane(self, plane, table, marks, first, name):
        """Looks the indices of a plane up in a table.

        Args:
            plane: `packing.Plane` of one row.
            table: what a packed byte stands for, shape `(256, indices of a byte)`.
            marks: INT32 tensor, bytes of the bitmap.
            first: INT32 tensor of its shape, number of each byte's first entry.
            name: name of the packed constant.
        Returns:
            Tensor of the table's dtype, shape `(..., bytes of the bitmap, 8)`, zero
            where no weight is.
        """
        steps, shape = self.steps, [*self._batch, self._code.places.bits.shape[1]]
        per_byte, wide = table.shape[1], [*shape, 8]
        byte, key = first, marks
        if per_byte > 1:
            byte = steps.floor_divide(first, steps.number(per_byte), shape)
            in_byte = steps.subtract(
                first, steps.multiply(byte, steps.number(per_byte), shape), shape
            )
            shift = steps.multiply(in_byte, steps.number(256), shape)
            key = steps.add(marks, shift, shape)
        column = steps.graph.tensor([*shape, 1], "INT32")
        self.reshape(byte, [shape[-1], 1], column)
        # What is done to the tables is not done to every weight.
        ahead, place = (
            steps.cast(steps.graph.constant(each), each.shape)
            for each in _places_of_marks(per_byte)
        )
        all_places = [per_byte * 256, 8]
        place = steps.multiply(place, steps.number(256), all_places)
        ahead, place = (
            steps.gather(each, key, wide, "INT32") for each in (ahead, place)
        )
        # Behind the last weight that is there a place is one too far.
        packed = np.append(plane.packed.reshape(-1), np.uint8(0))
        where = steps.add(ahead, column, wide)
        found = steps.gather(steps.graph.constant(packed, name), where, wide, "UINT8")
        table = np.pad(table.T, ((0, 1), (0, 0))).reshape(-1)
        dtype = table.dtype.name.upper()
        place = steps.add(steps.cast(found, wide), place, wide)
        return steps.gather(steps.graph.constant(table), place, wide, dtype)


def _places_of_marks(per_byte):
    """Makes the tables that tell where the indices of eight weights are.

    Args:
        per_byte: indices of a packed byte.
    Returns:
        Two uint8 arrays, shape `(per_byte * 256, 8)`; the row is the place of the first
        index in its packed byte x 256 + the byte of the bitmap. The packed byte of each
        weight's index, counted from that of the first; and the place in it, `per_byte`
        where no weight is.
    """
    is_there = packing.index_table(1).astype(np.int64)
    before = np.cumsum(is_there, axis=1) - is_there
    entry = np.arange(per_byte)[:, None, None] + before
    byte, place = np.divmod(entry, per_byte)
    byte, place = byte * is_there, np.where(is_there, place, per_byte)
    return [each.reshape(-1, 8).astype(np.uint8) for each in (byte, place)]
