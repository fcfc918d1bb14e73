"""Steps of decoders: TensorFlow Lite's standard operators, one method for each kind.

All are old: interpreters of 2023 run them (INT4 would need a CAST of its own).
"""

import numpy as np


class Steps:
    """Operators in order; methods return the index of the tensor they make.

    Attributes:
        graph: the `graph.Graph`.
        operators: list of the schema's `OperatorT`s so far.

    Args:
        graph: `graph.Graph` that the tensors are added to.
    """

    def __init__(self, graph):
        self.graph = graph
        self.operators = []

    def add_operator(self, kind, inputs, output, options=None, **fields):
        """Adds an operator; the arguments are those of `Graph.operator`."""
        self.operators.append(
            self.graph.operator(kind, inputs, [output], options, **fields)
        )
        return output

    def cast(self, tensor, shape):
        """UINT8 to INT32: GATHER takes no UINT8 as positions, ADD none as numbers."""
        types = self.graph.types
        return self.add_operator(
            "CAST",
            [tensor],
            self.graph.tensor(shape, "INT32"),
            "CastOptions",
            inDataType=types.UINT8,
            outDataType=types.INT32,
        )

    def gather(self, table, positions, shape, dtype):
        """Takes `table[positions]`; `shape` and `dtype` are the result's."""
        output = self.graph.tensor(shape, dtype)
        return self.add_operator(
            "GATHER", [table, positions], output, "GatherOptions", axis=0
        )

    def reshape(self, tensor, shape, dtype):
        """Reshapes to a shape that is known but for one -1."""
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
        """Adds INT32 tensors that broadcast to `shape`."""
        output = self.graph.tensor(shape, "INT32")
        return self.add_operator("ADD", [first, second], output, "AddOptions")

    def subtract(self, first, second, shape):
        """Subtracts INT32 tensors that broadcast to `shape`."""
        output = self.graph.tensor(shape, "INT32")
        return self.add_operator("SUB", [first, second], output, "SubOptions")

    def multiply(self, first, second, shape, dtype="INT32"):
        """Multiplies tensors that broadcast to `shape`."""
        output = self.graph.tensor(shape, dtype)
        return self.add_operator("MUL", [first, second], output, "MulOptions")

    def floor_divide(self, first, second, shape):
        """Divides INT32 tensors that broadcast to `shape`, rounding down."""
        output = self.graph.tensor(shape, "INT32")
        return self.add_operator(
            "FLOOR_DIV", [first, second], output, "FloorDivOptions"
        )

    def number(self, value):
        """Returns an int as an INT32 constant."""
        return self.graph.constant(np.int32(value))

    def cumulative_sum(self, tensor, shape, *, exclusive=False):
        """Sums an INT32 tensor up along its last axis."""
        axis = self.number(len(shape) - 1)
        output = self.graph.tensor(shape, "INT32")
        return self.add_operator(
            "CUMSUM", [tensor, axis], output, "CumsumOptions", exclusive=exclusive
        )

    def count(self, size):
        """Returns 1, 2, ... `size` as INT32."""
        ends = [self.number(end) for end in (1, size + 1, 1)]
        output = self.graph.tensor([size], "INT32")
        return self.add_operator("RANGE", ends, output, "RangeOptions")

    def scatter(self, places, values, size):
        """Puts INT32 values at places, shape `(n, 1)`, of a vector of zeros."""
        shape = self.graph.constant(np.int32([size]))
        output = self.graph.tensor([size], "INT32")
        return self.add_operator(
            "SCATTER_ND", [places, values, shape], output, "ScatterNdOptions"
        )

    def concatenate(self, tensors, shape, dtype):
        """Joins tensors along their first axis."""
        output = self.graph.tensor(shape, dtype)
        return self.add_operator(
            "CONCATENATION", tensors, output, "ConcatenationOptions", axis=0
        )

    def shape_of(self, tensor, rank):
        """Returns the shape of a tensor as an INT32 vector of `rank` elements."""
        output = self.graph.tensor([rank], "INT32")
        int32 = self.graph.types.INT32
        return self.add_operator(
            "SHAPE", [tensor], output, "ShapeOptions", outType=int32
        )

    def float_constant(self, array, name=None):
        """A constant as FLOAT32; float16 is stored as it is and made wider once."""
        constant = self.graph.constant(array, name)
        if array.dtype == np.float32:
            return constant
        output = self.graph.tensor(array.shape, "FLOAT32")
        return self.add_operator("DEQUANTIZE", [constant], output, "DequantizeOptions")
