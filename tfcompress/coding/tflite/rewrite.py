"""Replaces the weights of a .tflite model by packed ones and their decoders."""

import functools

import numpy as np

from tfcompress.coding.tflite.check import Lookup, Variable
from tfcompress.coding.tflite.decoders import decode_all
from tfcompress.coding.tflite.graph import Graph
from tfcompress.coding.tflite.layers import as_matmul, row_lookup
from tfcompress.coding.tflite.order import (
    find_dependencies,
    read_dependencies,
    write_dependencies,
)
from tfcompress.coding.tflite.rows import decode_rows
from tfcompress.formats.tflite_file import (
    forget_details,
    mark_as_coded,
    model_bytes,
    schema,
)


class Rewrite:
    """A model while its weights are replaced one by one.

    Attributes:
        variables: every `Variable` made so far, for the check.
        lookups: every `Lookup` made so far, for the check.

    Args:
        model: the schema's `ModelT`; it is changed.
    """

    def __init__(self, model):
        self.variables = []
        self.lookups = []
        self._model = model
        buffers = {}
        decoder = _empty_subgraph(b"tfcompress_decode")
        self._decoder = Graph(model, decoder, buffers)
        self._graphs = [Graph(model, part, buffers) for part in model.subgraphs]
        # Operators are known by their id: they have no other name.
        self._replacements = {}  # operator -> function that makes those in its place
        self._variables_read = {}  # operator -> [(tensor, variable's name)]
        self._reading_tensors = {}  # (subgraph, tensor, shape) -> tensor

    def code_weight(self, weight, code, *, by_row):
        """Replaces a weight.

        Args:
            weight: `weights.Weight` without a reason to stay.
            code: its `codes.Code`, not "dense".
            by_row: the code is packed by row: lookups fetch packed rows.
        """
        array = weight.array
        if not weight.is_integer:
            array = array.astype(np.float32, copy=False)
        readers = []
        for use in weight.uses:
            if use.usage.kind == "rows" and by_row:
                self._look_up_rows(use, code, weight.name, array)
            else:
                readers.append(use)
        variables = self._decode_once(readers, code, weight.name, array)
        for use in readers:
            shape = use.usage.shape or array.shape
            self._read(use, shape, variables[shape])
        for operator in weight.dequantizers:
            self._replacements[id(operator)] = list
        for number, index in weight.tensors:
            tensor = self._model.subgraphs[number].tensors[index]
            self._model.buffers[tensor.buffer].data = None
            tensor.buffer = 0

    def finish(self):
        """Returns the bytes of the rewritten model; ends the rewriting."""
        model = self._model
        decoder_index = len(model.subgraphs)
        kept = read_dependencies(model)
        dependencies = []
        for number, graph in enumerate(self._graphs):
            graph.subgraph.operators, moved = self._rewritten(graph, decoder_index)
            pairs = find_dependencies(model, graph.subgraph)
            for first, second in kept[number] if kept else ():
                pairs.append((moved[first][-1], moved[second][0]))
            dependencies.append(pairs)
        if self.variables:
            decoder = self._decoder.subgraph
            model.subgraphs.append(decoder)
            dependencies.append(find_dependencies(model, decoder))
        if self.variables or kept:
            write_dependencies(model, dependencies)
        mark_as_coded(model)
        forget_details(model)
        return model_bytes(model)

    def _look_up_rows(self, use, code, name, array):
        ids, output = row_lookup(self._model, use.operator)
        graph = self._graphs[use.subgraph]
        self._replacements[id(use.operator)] = functools.partial(
            decode_rows, graph, code, ids, output, name
        )
        self.lookups.append(Lookup(use.subgraph, ids, output, array))

    def _decode_once(self, readers, code, name, array):
        """Adds a variable for each shape that is read; returns shape -> its name."""
        if not readers:
            return {}
        graph, variables = self._decoder, {}
        flat, operators = decode_all(graph, code, name)
        graph.subgraph.operators += operators
        for shape in dict.fromkeys(use.usage.shape or array.shape for use in readers):
            shared_name = f"tfcompress/{len(self.variables)}".encode()
            target = graph.constant(np.int32(shape))
            decoded = graph.tensor(shape, "FLOAT32")
            graph.subgraph.operators += [
                graph.operator("RESHAPE", [flat, target], [decoded]),
                *graph.assign_variable(shared_name, decoded),
            ]
            variables[shape] = shared_name
            self.variables.append(Variable(shared_name, array.reshape(shape)))
        return variables

    def _read(self, use, shape, shared_name):
        """Lets an operator read a variable in place of the constant."""
        graph, operator = self._graphs[use.subgraph], use.operator
        tensor = self._reading_tensor(use, shape)
        self._variables_read.setdefault(id(operator), []).append((tensor, shared_name))
        if use.usage.kind == "matmul":
            self._replacements[id(operator)] = functools.partial(
                as_matmul, graph, operator, tensor
            )
        else:
            inputs = operator.inputs
            operator.inputs = np.where(inputs == use.tensor, tensor, inputs)

    def _reading_tensor(self, use, shape):
        """Returns the tensor to read a variable into: the constant's own, if free."""
        key = (use.subgraph, use.tensor, shape)
        if key not in self._reading_tensors:
            graph = self._graphs[use.subgraph]
            taken = any(other[:2] == key[:2] for other in self._reading_tensors)
            tensor = graph.tensor(shape, "FLOAT32") if taken else use.tensor
            graph.subgraph.tensors[tensor].shape = np.int32(shape)
            self._reading_tensors[key] = tensor
        return self._reading_tensors[key]

    def _rewritten(self, graph, decoder_index):
        """Returns the operators of a subgraph; reads come before the first use.

        Also returns for each operator there was the numbers of those in its place.
        """
        operators, is_read, moved = [], set(), []
        if any(id(each) in self._variables_read for each in graph.subgraph.operators):
            call = graph.operator(
                "CALL_ONCE",
                [],
                [],
                "CallOnceOptions",
                initSubgraphIndex=decoder_index,
            )
            operators.append(call)
        for operator in graph.subgraph.operators:
            for tensor, shared_name in self._variables_read.get(id(operator), []):
                if tensor not in is_read:
                    is_read.add(tensor)
                    operators += graph.read_variable(shared_name, tensor)
            make = self._replacements.get(id(operator), lambda kept=operator: [kept])
            start = len(operators)
            operators += make()
            # What was left out, a DEQUANTIZE, had to wait for nothing.
            moved.append(range(start, max(len(operators), start + 1)))
        return operators, moved


def _empty_subgraph(name):
    subgraph = schema().SubGraphT()
    subgraph.name = name
    subgraph.tensors, subgraph.operators = [], []
    subgraph.inputs = subgraph.outputs = np.zeros(0, np.int32)
    return subgraph
