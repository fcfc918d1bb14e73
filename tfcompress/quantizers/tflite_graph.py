"""What quantization needs to know of a .tflite file's main graph."""

import dataclasses
import pathlib

import numpy as np

from tfcompress.errors import ModelFileError, require
from tfcompress.foreign import foreign_errors
from tfcompress.tflite_tensors import check_tensors_are_made

# The field's names of the operators of a dense layer and of an embedding.
DENSE = "FULLY_CONNECTED"
_MAX_MAGNITUDE = 1e36  # float32 ends at 3.4e38, and scales times 128 have to fit
LOOKUP = "GATHER"


@dataclasses.dataclass(frozen=True, eq=False)
class DenseLayer:
    """One FULLY_CONNECTED with constant float32 weights.

    Attributes:
        name: of the layer, such as "classifier/logits".
        weights_name: of the constant.
        weights: float32, shape `(units, inputs)`.
        output: name of the tensor that it writes.
        ends: indices of the tensors that it reads and writes.
    """

    name: str
    weights_name: str
    weights: np.ndarray
    output: str
    ends: tuple[int, int]

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
    """

    name: str
    output: str
    values: np.ndarray

    @property
    def scope(self):
        """By which ai-edge-quantizer's recipes find the operator."""
        return f"{self.output};"


class TfliteGraph:
    """The main graph of a .tflite file.

    Args:
        path: `pathlib.Path` of the file.

    Raises:
        ModelFileError: if it is no TFLite file.
    """

    def __init__(self, path):
        self._schema = require("ai_edge_litert.schema_py_generated", extra="tflite")
        content = pathlib.Path(path).read_bytes()
        if not self._schema.Model.ModelBufferHasIdentifier(content, 0):
            raise ModelFileError(f"{str(path)!r} is no TFLite file.")
        with foreign_errors(lambda reason: _damaged(path, reason)):
            self._model = self._schema.ModelT.InitFromPackedBuf(content)
            check_tensors_are_made(self._model)
        self._graph = self._model.subgraphs[0]
        self._operators = _names(self._schema.BuiltinOperator)
        self._types = _names(self._schema.TensorType)

    def operators(self):
        """Yields each operator's name and the operator, in order."""
        for operator in self._graph.operators:
            code = self._model.operatorCodes[operator.opcodeIndex]
            # Old files have it in the first field, newer ones in either.
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            yield self._operators[number], operator

    def name(self, index):
        """Returns the name of a tensor."""
        return self._graph.tensors[index].name.decode("utf-8", "replace")

    def dtype(self, index):
        """Returns the name of a tensor's type, such as "INT8"."""
        return self._types[self._graph.tensors[index].type]

    def constant(self, index):
        """Returns the float32 array of a constant; None if it is computed or other."""
        tensor = self._graph.tensors[index]
        data = self._model.buffers[tensor.buffer].data
        if data is None or self.dtype(index) != "FLOAT32":
            return None
        values = np.asarray(data).view(np.float32).reshape(tensor.shape)
        if not np.abs(values).max(initial=0) < _MAX_MAGNITUDE:
            raise ModelFileError(
                f"The weight {self.name(index)!r} holds NaN, infinity or numbers that "
                "no scale reaches: it cannot be quantized. Check the model's weights."
            )
        return values

    def dense_layers(self):
        """Returns the `DenseLayer`s, in order."""
        layers = []
        for operator_name, operator in self.operators():
            if operator_name != DENSE:
                continue
            source, kernel = (int(index) for index in operator.inputs[:2])
            weights = self.constant(kernel)
            if weights is not None:
                ends = (source, int(operator.outputs[0]))
                tensor = self.name(kernel)
                name = tensor.rpartition("/")[0] or tensor
                output = self.name(ends[1])
                layers.append(DenseLayer(name, tensor, weights, output, ends))
        return layers

    def tables(self):
        """Returns the `Table`s, in order."""
        tables = []
        for operator_name, operator in self.operators():
            if operator_name == LOOKUP:
                index, output = int(operator.inputs[0]), int(operator.outputs[0])
                values = self.constant(index)
                if values is not None:
                    tables.append(Table(self.name(index), self.name(output), values))
        return tables

    def computed_tensors(self):
        """Returns the indices of the float32 tensors that are not constant."""
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


def _damaged(path, reason):
    return ModelFileError(
        f"{str(path)!r} is a damaged or truncated TFLite file: {reason}. Convert or "
        "copy it again."
    )


def _names(enumeration):
    return {v: name for name, v in vars(enumeration).items() if isinstance(v, int)}
