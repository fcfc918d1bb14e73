"""What quantization needs to know of the graphs of a .tflite file."""

import dataclasses

import numpy as np

from tfcompress.errors import ModelFileError
from tfcompress.formats.tflite_graphs import TfliteGraphs

# The format's names of the operators of a dense layer, an embedding and convolutions.
DENSE = "FULLY_CONNECTED"
_MAX_MAGNITUDE = 1e36  # float32 ends at 3.4e38, and scales times 128 have to fit
LOOKUP = "GATHER"
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")

# Operator -> places of its activations and weights among its inputs, axis of the
# weights that has a scale for each channel.
_WEIGHTED = {
    DENSE: (0, 1, 0),
    "CONV_2D": (0, 1, 0),
    "DEPTHWISE_CONV_2D": (0, 1, 3),
    "TRANSPOSE_CONV": (2, 1, 0),
    "BATCH_MATMUL": (0, 1, None),
    "EMBEDDING_LOOKUP": (0, 1, 0),
}
CONTROL_FLOW = ("WHILE", "IF", "CALL_ONCE")


@dataclasses.dataclass(frozen=True, eq=False)
class WeightedLayer:
    """One operator that multiplies with constant float32 weights, or looks them up.

    Attributes:
        name: of the layer, such as "classifier/logits".
        kind: of the operator, such as "CONV_2D".
        weights_name: of the constant.
        weights: float32, as the operator takes them.
        channel_axis: axis of the weights that has a scale for each channel.
        output: name of the tensor that it writes.
        ends: indices of the tensors that it reads and writes.
        is_main: whether it lies in the main graph, and not in a loop or a branch.
        buffer: index of the buffer that holds the weights.
    """

    name: str
    kind: str
    weights_name: str
    weights: np.ndarray
    channel_axis: int
    output: str
    ends: tuple[int, int]
    is_main: bool
    buffer: int

    @property
    def scope(self):
        """By which ai-edge-quantizer's recipes find the operator.

        It joins the names of all that an operator writes.
        """
        return f"{self.output};"


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A float32 constant that rows are looked up in.

    Attributes:
        name: of the constant.
        output: name of the tensor of the rows.
        values: float32, shape `(rows, ...)`.
        buffer: index of the buffer that holds them.
    """

    name: str
    output: str
    values: np.ndarray
    buffer: int

    @property
    def scope(self):
        """By which ai-edge-quantizer's recipes find the operator."""
        return f"{self.output};"


class TfliteGraph(TfliteGraphs):
    """The graphs of a .tflite file, and which of their weights can be quantized."""

    def constant(self, index, graph=0):
        """Returns the float32 array of a constant; None if it is computed or other."""
        tensor, data = self._graphs[graph].tensors[index], self.data(index, graph)
        is_plain = tensor.sparsity is None and tensor.shape is not None
        if data is None or not is_plain or self.dtype(index, graph) != "FLOAT32":
            return None
        values = np.asarray(data).view(np.float32).reshape(tensor.shape)
        if not np.abs(values).max(initial=0) < _MAX_MAGNITUDE:
            raise ModelFileError(
                f"The weight {self.name(index)!r} holds NaN, infinity or numbers that "
                "no scale reaches: it cannot be quantized. Check the model's weights."
            )
        return values

    def weighted_layers(self):
        """Returns the `WeightedLayer`s of all graphs, in order."""
        return [
            layer
            for graph in range(self.num_graphs)
            for kind, operator in self.operators(graph)
            for layer in self._weighted_layer(graph, kind, operator)
        ]

    def _weighted_layer(self, graph, kind, operator):
        """Yields the layer of an operator, if it is one."""
        if kind not in _WEIGHTED:
            return
        source, place, axis = _WEIGHTED[kind]
        kernel = int(operator.inputs[place])
        weights = self.constant(kernel, graph)
        if weights is None or not weights.size:
            return
        if axis is None:  # what the product does not sum over
            axis = weights.ndim - 2 + (not operator.builtinOptions.adjY)
        tensor = self.name(kernel, graph)
        yield WeightedLayer(
            name=tensor.rpartition("/")[0] or tensor,
            kind=kind,
            weights_name=tensor,
            weights=weights,
            channel_axis=axis,
            output=self.name(int(operator.outputs[0]), graph),
            ends=(int(operator.inputs[source]), int(operator.outputs[0])),
            is_main=graph == 0,
            buffer=self._graphs[graph].tensors[kernel].buffer,
        )

    def tables(self):
        """Returns the `Table`s of the main graph, in order."""
        tables = []
        for operator_name, operator in self.operators():
            if operator_name == LOOKUP:
                index, output = int(operator.inputs[0]), int(operator.outputs[0])
                values = self.constant(index)
                if values is not None and values.size:
                    name, buffer = self.name(index), self._graphs[0].tensors[index]
                    tables.append(Table(name, self.name(output), values, buffer.buffer))
        return tables

    def computed_tensors(self):
        """Returns the indices of the main graph's float32 tensors that are computed."""
        used = {
            int(index)
            for _, operator in self.operators()
            for index in (*operator.inputs, *operator.outputs)
            if index >= 0
        }
        return sorted(
            index
            for index in used
            if self.dtype(index) == "FLOAT32" and self.constant(index) is None
        )
