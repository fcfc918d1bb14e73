"""What lies in the graphs of a .tflite file: operators, tensors, constants."""

import functools

import numpy as np

from tfcompress.formats.constants import Constant
from tfcompress.formats.quantized_constants import (
    tflite_parameter_tensors,
    tflite_quantization,
)
from tfcompress.formats.tflite_file import read_model, schema


class TfliteGraphs:
    """The graphs of a .tflite file; the first one is the main graph.

    Args:
        path: path of the file.
        content: bytes of the file where they are another's than at `path`.

    Raises:
        ModelFileError: if it is no whole .tflite file.
    """

    def __init__(self, path, content=None):
        self._model = read_model(path, content)
        self._graphs = self._model.subgraphs

    @property
    def num_graphs(self):
        """Number of graphs: the main one, loops' bodies, branches, other signatures."""
        return len(self._graphs)

    def operators(self, graph=0):
        """Yields each operator's name and the operator, in order."""
        for operator in self._graphs[graph].operators:
            yield operator_name(self._model, operator), operator

    def name(self, index, graph=0):
        """Returns the name of a tensor."""
        name = self._graphs[graph].tensors[index].name or b""
        return name.decode("utf-8", "replace")

    def dtype(self, index, graph=0):
        """Returns the name of a tensor's type, such as "INT8"."""
        return type_name(self._graphs[graph].tensors[index])

    def signatures(self):
        """Returns the names of the functions that the file offers."""
        found = self._model.signatureDefs or ()
        return [(each.signatureKey or b"").decode("utf-8", "replace") for each in found]

    def interface(self):
        """Returns the indices of the main graph's inputs and outputs, two lists."""
        graph = self._graphs[0]
        return graph.inputs.tolist(), graph.outputs.tolist()

    def signature_names(self):
        """Returns name of a tensor -> name of that input or output of the main graph.

        They are those of the signature on the main graph; none where there is none.
        """
        ends = [set(indices) for indices in self.interface()]
        for signature in self._model.signatureDefs or ():
            named = [signature.inputs or (), signature.outputs or ()]
            if [{each.tensorIndex for each in part} for part in named] == ends:
                return {
                    self.name(each.tensorIndex): each.name.decode("utf-8", "replace")
                    for part in named
                    for each in part
                }
        return {}

    def buffer(self, index, graph=0):
        """Returns the index of the buffer of a tensor."""
        return self._graphs[graph].tensors[index].buffer

    def data(self, index, graph=0):
        """Returns the bytes of a constant, a uint8 array; None if it is computed."""
        return self._model.buffers[self.buffer(index, graph)].data

    def constant_shape(self, index, graph=0):
        """Returns the shape of a constant of any type; None if it is computed."""
        if self.data(index, graph) is None:
            return None
        return self._shape(index, graph)

    def constants(self):
        """Yields a `Constant` of each buffer that holds elements, in order.

        The scales of blocks are none: they belong to the constant that they scale.
        """
        listed = set()
        for graph, subgraph in enumerate(self._graphs):
            parameters = tflite_parameter_tensors(schema(), subgraph)
            for index in sorted(set(range(len(subgraph.tensors))) - parameters):
                data, buffer = self.data(index, graph), self.buffer(index, graph)
                if data is not None and len(data) and buffer not in listed:
                    listed.add(buffer)
                    tensor = subgraph.tensors[index]
                    yield Constant(
                        name=self.name(index, graph),
                        shape=self._shape(index, graph),
                        dtype=type_name(tensor).lower(),
                        data=np.asarray(data),
                        quantization=tflite_quantization(tensor),
                    )

    def _shape(self, index, graph):
        shape = self._graphs[graph].tensors[index].shape
        return () if shape is None else tuple(map(int, shape))


def read_constants(path):
    """Yields a `Constant` of each constant of a .tflite file.

    Args:
        path: `pathlib.Path` of the file.
    """
    yield from TfliteGraphs(path).constants()


def builtin_code(operator_code):
    """Returns the builtin operator of an `OperatorCodeT`, in old files and new."""
    return max(operator_code.builtinCode, operator_code.deprecatedBuiltinCode)


def operator_name(model, operator):
    """Returns the name of an operator's kind, such as "FULLY_CONNECTED"."""
    code = builtin_code(model.operatorCodes[operator.opcodeIndex])
    return _names("BuiltinOperator").get(code, f"operator {code}")


def type_name(tensor):
    """Returns the name of a tensor's element type, such as "FLOAT32"."""
    return _names("TensorType").get(tensor.type, f"type {tensor.type}")


@functools.cache
def _names(enumeration):
    """Returns number -> name of an enumeration of the schema."""
    values = vars(getattr(schema(), enumeration))
    return {value: name for name, value in values.items() if name.isupper()}
