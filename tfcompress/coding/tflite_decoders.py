"""Decoders of packed weights, written out of TensorFlow Lite's standard operators.

`decode_all` makes the weight as a whole, for the subgraph that runs once; `decode_rows`
fetches and decodes the rows that a lookup asks for. Both turn bytes into indices by
tables of 256 rows (`packing`): CAST, then GATHER. These operators are old: interpreters
of 2023 run them (INT4 would need a CAST of its own).
"""

import numpy as np

from tfcompress.coding import packing


def decode_all(graph, code, name):
    """Decodes a whole weight.

    Args:
        graph: `tflite_graph.Graph` of the subgraph that runs once.
        code: `codes.Code`, not "dense", of a float32 or float16 tensor.
        name: name of the packed constants.
    Returns:
        Index of the decoded tensor, FLOAT32, flat, shape `(size,)`; list of operators.
    """
    steps = _Steps(graph)
    if code.indices is None:
        there = steps.float_constant(code.values, name + "/values")
    else:
        index = _whole_indices(steps, code.indices, name)
        codebook = graph.constant(code.codebook.astype(np.float32))
        there = steps.gather(codebook, index, [_num_indices(code.indices)], "FLOAT32")
    if code.bitmap is not None:
        there = _spread(steps, code, there, name)
    return there, steps.operators


def decode_rows(graph, code, ids, output, name):
    """Looks up rows of a packed table; the table itself is never decoded.

    Args:
        graph: `tflite_graph.Graph` of the subgraph of the lookup.
        code: `codes.Code` of kind "codebook", made by row.
        ids: index of the tensor of row numbers, any shape.
        output: index of the tensor that gets the rows, shape `ids.shape + row shape`.
        name: name of the packed constants.
    Returns:
        List of operators.
    """
    steps = _Steps(graph)
    batch = graph.signature(ids)
    shapes = _RowShapes(steps, ids, batch)
    planes, size = code.indices.planes, code.indices.row_size
    codebook = code.codebook.astype(np.float32)
    if len(planes) == 1:
        table = packing.value_table(codebook, planes[0].width)
        found = _row_parts(steps, planes[0], ids, batch, table, name)
        found = shapes.trim(found, size, planes[0], "FLOAT32")
    else:
        total = None
        for plane in planes:
            table = packing.index_table(plane.width, plane.shift)
            plane_name = f"{name}/{plane.width}"
            part = _row_parts(steps, plane, ids, batch, table, plane_name)
            part = shapes.trim(part, size, plane, "UINT8")
            part = steps.cast(part, [*batch, size])
            total = part if total is None else steps.add(total, part, [*batch, size])
        codebook = graph.constant(codebook)
        found = steps.gather(codebook, total, [*batch, size], "FLOAT32")
    shapes.reshape(found, [int(n) for n in code.shape[1:]], output)
    return steps.operators


class _Steps:
    """Operators in order, one method for each kind; methods return tensor indices."""

    def __init__(self, graph):
        self.graph = graph
        self.operators = []

    def add_operator(self, kind, inputs, output, options=None, **fields):
        self.operators.append(
            self.graph.operator(kind, inputs, [output], options, **fields)
        )
        return output

    def cast(self, tensor, shape):
        """UINT8 to INT32: GATHER takes no UINT8 as positions, ADD none as numbers."""
        types = self.graph.types
        output = self.graph.tensor(shape, "INT32")
        return self.add_operator(
            "CAST",
            [tensor],
            output,
            "CastOptions",
            inDataType=types.UINT8,
            outDataType=types.INT32,
        )

    def gather(self, table, positions, shape, dtype):
        output = self.graph.tensor(shape, dtype)
        return self.add_operator(
            "GATHER", [table, positions], output, "GatherOptions", axis=0
        )

    def reshape(self, tensor, shape, dtype):
        target = self.graph.constant(np.int32(shape))
        output = self.graph.tensor(shape, dtype)
        return self.add_operator("RESHAPE", [tensor, target], output)

    def slice(self, tensor, shape, dtype):
        """Takes the first elements along every axis; -1 takes all."""
        begin = self.graph.constant(np.zeros(len(shape), np.int32))
        size = self.graph.constant(np.int32(shape))
        output = self.graph.tensor(shape, dtype)
        return self.add_operator("SLICE", [tensor, begin, size], output, "SliceOptions")

    def add(self, first, second, shape):
        output = self.graph.tensor(shape, "INT32")
        return self.add_operator("ADD", [first, second], output, "AddOptions")

    def multiply(self, first, second, shape):
        output = self.graph.tensor(shape, "INT32")
        return self.add_operator("MUL", [first, second], output, "MulOptions")

    def cumulative_sum(self, tensor, shape):
        axis = self.graph.constant(np.int32(0))
        output = self.graph.tensor(shape, "INT32")
        return self.add_operator("CUMSUM", [tensor, axis], output, "CumsumOptions")

    def concatenate(self, tensors, shape, dtype):
        output = self.graph.tensor(shape, dtype)
        return self.add_operator(
            "CONCATENATION", tensors, output, "ConcatenationOptions", axis=0
        )

    def shape_of(self, tensor, rank):
        output = self.graph.tensor([rank], "INT32")
        int32 = self.graph.types.INT32
        return self.add_operator(
            "SHAPE", [tensor], output, "ShapeOptions", outType=int32
        )

    def float_constant(self, array, name):
        """A constant as FLOAT32; float16 is stored as it is and made wider."""
        constant = self.graph.constant(array, name)
        if array.dtype == np.float32:
            return constant
        output = self.graph.tensor(array.shape, "FLOAT32")
        return self.add_operator("DEQUANTIZE", [constant], output, "DequantizeOptions")


class _RowShapes:
    """Shapes that start with the shape of a lookup's ids, whatever that is at run time.

    LiteRT works such shapes out when it allocates tensors, so that what follows keeps a
    static shape and its delegate; older interpreters do it in every run.
    """

    def __init__(self, steps, ids, batch):
        self._steps = steps
        self._ids = ids
        self._batch = batch
        self._batch_shape = None

    def reshape(self, tensor, row, output):
        """Reshapes `tensor` to the ids' shape + `row`, into the tensor `output`."""
        graph = self._steps.graph
        tail = graph.constant(np.int32(row))
        rank = len(self._batch)
        if rank == 0:
            target = tail
        elif rank == 1:
            target = graph.constant(np.int32([-1, *row]))
        else:
            if self._batch_shape is None:
                self._batch_shape = self._steps.shape_of(self._ids, rank)
            target = self._steps.concatenate(
                [self._batch_shape, tail], [rank + len(row)], "INT32"
            )
        return self._steps.add_operator("RESHAPE", [tensor, target], output)

    def trim(self, tensor, row_size, plane, dtype):
        """Makes `(..., bytes, indices of a byte)` a row, and cuts off its padding."""
        padded = plane.packed.shape[1] * (8 // plane.width)
        if padded == row_size and dtype == "FLOAT32":
            return tensor  # the last reshape does it
        flat = self._steps.graph.tensor([*self._batch, padded], dtype)
        self.reshape(tensor, [padded], flat)
        if padded == row_size:
            return flat
        size = [-1] * len(self._batch) + [row_size]
        return self._steps.slice(flat, size, dtype)


def _row_parts(steps, plane, ids, batch, table, name):
    """Fetches the rows of a plane and looks its bytes up in a table."""
    num_bytes = plane.packed.shape[1]
    packed = steps.graph.constant(plane.packed, name)
    fetched = steps.gather(packed, ids, [*batch, num_bytes], "UINT8")
    wide = steps.cast(fetched, [*batch, num_bytes])
    dtype = "UINT8" if table.dtype == np.uint8 else "FLOAT32"
    table = steps.graph.constant(table)
    return steps.gather(table, wide, [*batch, num_bytes, 8 // plane.width], dtype)


def _whole_indices(steps, indices, name):
    """Unpacks all indices; returns an INT32 tensor, shape `(number of indices,)`."""
    total, size = None, _num_indices(indices)
    for plane in indices.planes:
        suffix = f"/{plane.width}" if len(indices.planes) > 1 else ""
        part = _whole_plane(steps, plane, indices, name + suffix)
        total = part if total is None else steps.add(total, part, [size])
    return total


def _whole_plane(steps, plane, indices, name):
    num_rows, num_bytes = plane.packed.shape
    packed = steps.graph.constant(plane.packed, name)
    padded = num_bytes * (8 // plane.width)
    if plane.width < packing.MAX_BITS:
        wide = steps.cast(packed, [num_rows, num_bytes])
        table = steps.graph.constant(packing.index_table(plane.width, plane.shift))
        packed = steps.gather(
            table, wide, [num_rows, num_bytes, 8 // plane.width], "UINT8"
        )
    if padded != indices.row_size:
        packed = steps.reshape(packed, [num_rows, padded], "UINT8")
        packed = steps.slice(packed, [num_rows, indices.row_size], "UINT8")
    size = _num_indices(indices)
    return steps.cast(steps.reshape(packed, [size], "UINT8"), [size])


def _spread(steps, code, there, name):
    """Puts the weights that are there in their places, zeros between them."""
    size = int(np.prod(code.shape))
    num_bytes = code.bitmap.size
    wide = steps.cast(steps.graph.constant(code.bitmap, name + "/bitmap"), [num_bytes])
    table = steps.graph.constant(packing.index_table(1))
    bits = steps.gather(table, wide, [num_bytes, 8], "UINT8")
    bits = steps.reshape(bits, [8 * num_bytes], "UINT8")
    if size != 8 * num_bytes:
        bits = steps.slice(bits, [size], "UINT8")
    bits = steps.cast(bits, [size])
    # 1 ... n where a weight is there, else 0, which is the zero.
    position = steps.multiply(steps.cumulative_sum(bits, [size]), bits, [size])
    zero = steps.graph.constant(np.zeros(1, np.float32))
    num_values = 1 + (
        code.values.size if code.indices is None else _num_indices(code.indices)
    )
    values = steps.concatenate([zero, there], [num_values], "FLOAT32")
    return steps.gather(values, position, [size], "FLOAT32")


def _num_indices(indices):
    return indices.num_rows * indices.row_size
