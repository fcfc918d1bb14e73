"""Tells the runtime which operators have to wait for which: dependencies as metadata.

A runtime cuts a graph into parts that its delegate takes and parts that it does not.
READ_VARIABLE depends on no tensor of the graph, so that all reads would become one part
at the beginning, and the weights reach the other parts as copies: in a transformer all
of them, in every run. Where the read is in the same part as its use XNNPACK leaves the
copy out. So each read waits for whatever makes the other inputs of its use.

Dependencies that a file has replace those that the runtime would assume, which is that
operators with side effects keep their order. So these are written down as well.

Source: TensorFlow Lite, `experimental/remat/metadata_util` (the format: varints of
7 bits, signed numbers doubled) and `graph_info` (what is assumed, how graphs are cut).
Runtimes that do not know the entry pass over it.
"""

import itertools

import numpy as np

from tfcompress.formats.tflite_file import schema
from tfcompress.formats.tflite_graphs import operator_name, type_name

_METADATA = b"model_control_dependencies"
_VERSION = 1
_MAX_SHIFT = 70  # bits of the longest number, of 64, in groups of 7

_CONTROL_FLOW = ("CALL_ONCE", "IF", "WHILE")


def read_dependencies(model):
    """Returns the dependencies that a model has: a list of pairs for each subgraph.

    Returns:
        Pairs `(first, second)` of operators by their number: `second` has to wait for
        `first`. None if the model has no such entry, or one of another version.
    Raises:
        ValueError: if the entry ends early, or has a number that has no end.
    """
    for entry in model.metadata or []:
        if entry.name == _METADATA:
            data = model.buffers[entry.buffer].data
            numbers = _numbers([] if data is None else data.tolist())
            if next(numbers, None) != _VERSION:
                return None
            try:
                return [
                    [
                        (next(numbers) // 2, next(numbers) // 2)
                        for _ in range(next(numbers))
                    ]
                    for _ in range(next(numbers))
                ]
            except StopIteration as error:
                raise ValueError("its dependencies end early") from error
    return None


def write_dependencies(model, dependencies):
    """Writes the entry of a model, or writes it anew.

    Args:
        model: the schema's `ModelT`.
        dependencies: as `read_dependencies` returns them.
    """
    data = bytearray()
    for number in (_VERSION, len(dependencies)):
        _append(data, number)
    for pairs in dependencies:
        _append(data, len(pairs))
        for number in itertools.chain.from_iterable(pairs):
            _append(data, 2 * number)
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(bytes(data), np.uint8)
    model.buffers.append(buffer)
    entry = schema().MetadataT()
    entry.name, entry.buffer = _METADATA, len(model.buffers) - 1
    kept = [other for other in model.metadata or [] if other.name != _METADATA]
    model.metadata = [*kept, entry]


def find_dependencies(model, subgraph):
    """Finds what has to wait in a subgraph.

    Args:
        model: the schema's `ModelT`.
        subgraph: a `SubGraphT` with its operators in the order in which they run.
    Returns:
        List of pairs, ascending: operators with side effects in their order, and each
        handle of a variable after whatever makes the inputs of the variable's first
        use, as far as that is in front of the handle.
    """
    operators, made_by, uses = subgraph.operators, {}, {}
    for number, operator in enumerate(operators):
        made_by.update(dict.fromkeys(operator.outputs.tolist(), number))
        for tensor in operator.inputs.tolist():
            uses.setdefault(tensor, operator)
    in_order = [
        number
        for number, operator in enumerate(operators)
        if _has_side_effects(model, subgraph, operator)
    ]
    pairs = set(itertools.pairwise(in_order))
    for number in in_order:
        operator = operators[number]
        if operator_name(model, operator) != "READ_VARIABLE":
            continue
        handle = made_by.get(int(operator.inputs[0]), 0)
        use = uses.get(int(operator.outputs[0]))
        for maker in _makers_before(handle, use, operators, made_by):
            pairs.add((maker, handle))
    return sorted(pairs)


def _makers_before(limit, operator, operators, made_by):
    """Yields the operators before `limit` that others make the inputs of `operator`
    from, such as what makes the tensor that a RESHAPE flattens for it."""
    waiting = [] if operator is None else [operator]
    seen = set()
    while waiting:
        for tensor in waiting.pop().inputs.tolist():
            maker = made_by.get(tensor, -1)
            if maker in seen:  # a damaged file may have an operator that feeds itself
                continue
            seen.add(maker)
            if 0 <= maker < limit:
                yield maker
            elif maker > limit + 1:  # beyond the handle and its read
                waiting.append(operators[maker])


def _has_side_effects(model, subgraph, operator):
    if operator_name(model, operator) in _CONTROL_FLOW:
        return True
    ends = [*operator.inputs.tolist(), *operator.outputs.tolist()]
    tensors = [subgraph.tensors[end] for end in ends if end != -1]
    return any(type_name(tensor) == "RESOURCE" for tensor in tensors)


def _append(data, number):
    while number > 0x7F:
        data.append(0x80 | number & 0x7F)
        number >>= 7
    data.append(number)


def _numbers(data):
    """Yields the numbers that varints tell."""
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > _MAX_SHIFT:
            raise ValueError("a number of its dependencies has no end")
        if not byte & 0x80:
            yield number
            number = shift = 0
