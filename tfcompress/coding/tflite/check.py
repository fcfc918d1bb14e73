"""Checks a coded .tflite file by LiteRT itself, before the file gets its name.

Every packed weight is decoded by the operators as they stand in the file and compared
with the original to the bit. Then the file as a whole is opened and run once.
"""

import dataclasses

import numpy as np

from tfcompress.coding.codes import same_bits
from tfcompress.coding.tflite.graph import Graph
from tfcompress.errors import require
from tfcompress.formats.tflite_file import model_bytes, parse_model, schema

# Rows that a lookup is asked for at once: bounds the memory of the check.
_ROWS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Variable:
    """A weight that the decoding subgraph puts into a variable.

    Attributes:
        shared_name: the variable's name, bytes.
        array: what it has to hold, float32.
    """

    shared_name: bytes
    array: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Lookup:
    """A lookup of rows that are decoded as they are fetched.

    Attributes:
        subgraph: index of its subgraph.
        ids: index of the tensor of row numbers.
        output: index of the tensor that gets the rows.
        table: the rows it has to find, float32 or int8, shape `(rows, ...)`.
    """

    subgraph: int
    ids: int
    output: int
    table: np.ndarray


def check_coded_model(data, variables, lookups):
    """Decodes every weight of a coded model and compares it with the original.

    Args:
        data: bytes of the coded file.
        variables: iterable of `Variable`.
        lookups: iterable of `Lookup`.
    Raises:
        RuntimeError: if a weight is not the original to the bit: a bug of ours, or of
            the runtime.
    """
    if variables:
        _check_variables(data, variables)
    for lookup in lookups:
        _check_lookup(data, lookup)


def check_runs_like(dense, coded):
    """Runs a coded model once where the dense one runs.

    Args:
        dense: bytes of the dense file.
        coded: bytes of the coded file.
    Raises:
        RuntimeError: if only the dense model runs, or shapes differ: a bug of ours.
    """
    try:
        expected = _run_on_zeros(dense)
    except (RuntimeError, ValueError):
        # It needs operators of its own or other inputs; the weights were checked.
        return
    found = _run_on_zeros(coded)
    if found != expected:
        raise RuntimeError(f"The coded model returns {found}, the dense {expected}.")


def _check_variables(data, variables):
    """Reads all variables in a model of the file's decoding subgraph and no other."""
    model = parse_model(data, "the coded file")
    reader = schema().SubGraphT()
    reader.tensors, reader.name = [], b"check"
    reader.inputs = np.zeros(0, np.int32)
    model.subgraphs = [reader, model.subgraphs[-1]]
    model.signatureDefs = None
    graph = Graph(model, reader, {})
    call = graph.operator("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=1)
    reader.operators, outputs = [call], []
    for variable in variables:
        outputs.append(graph.tensor(variable.array.shape, "FLOAT32"))
        reader.operators += graph.read_variable(variable.shared_name, outputs[-1])
    reader.outputs = np.int32(outputs)
    interpreter = _interpreter(model_bytes(model))
    interpreter.allocate_tensors()
    interpreter.invoke()
    for variable, output in zip(variables, outputs, strict=True):
        _check_same(interpreter.get_tensor(output), variable.array)


def _check_lookup(data, lookup):
    """Asks the file's own lookup for all rows."""
    model = parse_model(data, "the coded file")
    subgraph = model.subgraphs[lookup.subgraph]
    subgraph.operators = _operators_between(subgraph, lookup.ids, lookup.output)
    subgraph.inputs = np.int32([lookup.ids])
    subgraph.outputs = np.int32([lookup.output])
    ids_tensor = subgraph.tensors[lookup.ids]
    ids_tensor.buffer = 0  # ids may be a constant of the model
    rank = 0 if ids_tensor.shape is None else len(ids_tensor.shape)
    model.subgraphs = [subgraph]
    model.signatureDefs = None
    interpreter = _interpreter(model_bytes(model))
    num_rows = len(lookup.table)
    at_once = _ROWS_AT_ONCE if rank else 1
    dtype = interpreter.get_input_details()[0]["dtype"]
    for start in range(0, num_rows, at_once):
        ids = np.arange(start, min(start + at_once, num_rows), dtype=dtype)
        ids = ids.reshape((1,) * (rank - 1) + (-1,)) if rank else ids[0]
        if rank:
            interpreter.resize_tensor_input(lookup.ids, ids.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(lookup.ids, ids)
        interpreter.invoke()
        rows = interpreter.get_tensor(lookup.output)
        expected = lookup.table[start : start + at_once]
        _check_same(rows.reshape(expected.shape), expected)


def _operators_between(subgraph, source, target):
    """Returns the operators that make the tensor `target` of the tensor `source`."""
    needed, found = {target}, []
    for operator in reversed(subgraph.operators):
        outputs = set(operator.outputs.tolist())
        if outputs & needed:
            found.append(operator)
            needed |= set(operator.inputs.tolist()) - {source}
    return found[::-1]


def _check_same(found, expected):
    if not same_bits(found, expected):
        raise RuntimeError(
            f"A coded weight of shape {expected.shape} decodes to something else. "
            "Nothing was written. This is a bug of tfcompress or of LiteRT."
        )


def _run_on_zeros(data):
    """Runs a model on zeros; returns the shapes and types of its outputs."""
    interpreter = _interpreter(data)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        zeros = np.zeros(details["shape"], details["dtype"])
        interpreter.set_tensor(details["index"], zeros)
    interpreter.invoke()
    return [
        (tuple(interpreter.get_tensor(d["index"]).shape), np.dtype(d["dtype"]).name)
        for d in interpreter.get_output_details()
    ]


def _interpreter(data):
    litert = require("ai_edge_litert.interpreter", extra="tflite")
    return litert.Interpreter(
        model_content=data,
        # A delegate brings nothing for one run, and writes to the terminal.
        experimental_op_resolver_type=(
            litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
