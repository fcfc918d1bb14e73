"""Brings other tools' .tflite files into the form that ai-edge-quantizer takes.

It finds operators by the names of their tensors, of which no two may be alike in all
graphs of a file; it reads an operator's number in the schema's newer field alone; and
it treats constants in float32, not those in float16 that DEQUANTIZE makes float32.
"""

import collections

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.tflite_graph import CONVOLUTIONS, DENSE, LOOKUP

# Below it, what is saved is less than what changes in the file.
_MIN_SHARED_BYTES = 256
_TREATED = (DENSE, LOOKUP, *CONVOLUTIONS, "BATCH_MATMUL", "EMBEDDING_LOOKUP")


def prepare(content):
    """Returns the bytes of a file that computes the same and can be quantized.

    Names of inputs and outputs stay, and so does all of a file that needs nothing.

    Args:
        content: bytes of a .tflite file.
    """
    tools = require("ai_edge_litert.tools.flatbuffer_utils", extra="quantizers")
    model = tools.read_model_from_bytearray(content)
    changes = [
        _fill_codes(model),
        _make_names_unique(model),
        _add_signature(model),
        _unpack_halves(model),
    ]
    return bytes(tools.convert_object_to_bytearray(model)) if any(changes) else content


def guard(content):
    """Returns a file for the quantizer alone, whose last operator reads no output.

    ai-edge-quantizer counts an output as a reader of number -1, and so lets the last
    operator read what it dequantizes for the output, though it has integer weights
    (0.10; `restore` takes the guard away).

    Args:
        content: bytes of a file that `prepare` returned.
    """
    tools = require("ai_edge_litert.tools.flatbuffer_utils", extra="quantizers")
    model = tools.read_model_from_bytearray(content)
    graph = model.subgraphs[0]
    if not graph.operators or not {*graph.operators[-1].inputs} & {*graph.outputs}:
        return content
    schema = require("ai_edge_litert.schema_py_generated", extra="tflite")
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
    operator.opcodeIndex = len(model.operatorCodes)
    operator.inputs, operator.outputs = [], []
    model.operatorCodes.append(code)
    graph.operators.append(operator)
    return bytes(tools.convert_object_to_bytearray(model))


def restore(content, source):
    """Returns a quantized file with the interface of its source, and no buffer twice.

    The quantizer puts operators behind the outputs, whose tensors get further names,
    and leaves a signature at the tensor before where that has other readers too. A
    weight that two layers share is written once for each.

    Args:
        content: bytes of the quantized file.
        source: bytes of the file before.
    """
    tools = require("ai_edge_litert.tools.flatbuffer_utils", extra="quantizers")
    model = tools.read_model_from_bytearray(content)
    before = tools.read_model_from_bytearray(source)
    changes = [
        _remove_guard(model),
        _restore_signatures(model, before),
        _restore_names(model.subgraphs[0], before.subgraphs[0], before.signatureDefs),
        _share_buffers(model),
    ]
    return bytes(tools.convert_object_to_bytearray(model)) if any(changes) else content


def _remove_guard(model):
    """Removes what `guard` has added, if it has."""
    schema = require("ai_edge_litert.schema_py_generated", extra="tflite")
    number = schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
    codes = [code.builtinCode for code in model.operatorCodes or ()]
    if number not in codes:
        return False
    index = codes.index(number)
    for graph in model.subgraphs:
        graph.operators = [o for o in graph.operators or () if o.opcodeIndex != index]
        for operator in graph.operators:
            operator.opcodeIndex -= operator.opcodeIndex > index
    del model.operatorCodes[index]
    return True


def _restore_signatures(model, before):
    """Points signatures to the ends of their graphs again."""
    if not before.signatureDefs:
        is_changed, model.signatureDefs = bool(model.signatureDefs), None
        return is_changed
    is_changed = False
    for new, old in zip(model.signatureDefs, before.signatureDefs, strict=True):
        for side in ("inputs", "outputs"):
            ends = [
                getattr(each.subgraphs[old.subgraphIndex], side)
                for each in (model, before)
            ]
            places = {old_end: end for end, old_end in zip(*ends, strict=True)}
            for entry, old_entry in zip(
                getattr(new, side) or (), getattr(old, side) or (), strict=True
            ):
                end = places.get(old_entry.tensorIndex, entry.tensorIndex)
                is_changed |= end != entry.tensorIndex
                entry.tensorIndex = end
    return is_changed


def _restore_names(graph, before, signatures):
    """Gives the ends their names again; a file with signatures has them from there."""
    is_changed = False
    for side in () if signatures else ("inputs", "outputs"):
        for index, old in zip(getattr(graph, side), getattr(before, side), strict=True):
            name, tensor = before.tensors[old].name, graph.tensors[index]
            if tensor.name != name:
                for other in graph.tensors:
                    if other.name == name:
                        other.name = tensor.name
                tensor.name, is_changed = name, True
    return is_changed


def _share_buffers(model):
    """Lets constants of the same bytes have one buffer, where that saves some."""
    known, is_changed = {}, False
    for tensor in (t for graph in model.subgraphs for t in graph.tensors or ()):
        data = model.buffers[tensor.buffer].data
        if data is None or len(data) < _MIN_SHARED_BYTES:
            continue
        first = known.setdefault(bytes(data), tensor.buffer)
        if first != tensor.buffer:
            tensor.buffer, is_changed = first, True
    if is_changed:
        used = {t.buffer for graph in model.subgraphs for t in graph.tensors or ()}
        used |= {entry.buffer for entry in model.metadata or ()}
        for index, buffer in enumerate(model.buffers):
            if index not in used:
                buffer.data = None
    return is_changed


def _add_signature(model):
    """Adds a signature, which the quantizer relies on, to a file that has none."""
    if model.signatureDefs:
        return False
    schema = require("ai_edge_litert.schema_py_generated", extra="tflite")
    signature, graph = schema.SignatureDefT(), model.subgraphs[0]
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    for side in ("inputs", "outputs"):
        entries = []
        for index in getattr(graph, side):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = graph.tensors[index].name, index
            entries.append(entry)
        setattr(signature, side, entries)
    model.signatureDefs = [signature]
    return True


def _fill_codes(model):
    """Writes each operator's number in the field that is wide enough for all."""
    is_changed = False
    for code in model.operatorCodes or ():
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        is_changed |= number != code.builtinCode
        code.builtinCode = number
    return is_changed


def _make_names_unique(model):
    """Gives tensors names that are UTF-8, not empty and each its own.

    Those of the main graph's ends go first: they are the model's interface.
    """
    main = model.subgraphs[0]
    ends = [main.tensors[index] for index in (*main.inputs, *main.outputs)]
    rest = [tensor for graph in model.subgraphs for tensor in graph.tensors or ()]
    known, is_changed, treated = collections.Counter(), False, set()
    for tensor in (*ends, *rest):
        if id(tensor) in treated:
            continue
        treated.add(id(tensor))
        old = tensor.name or b""
        name = old.decode("utf-8", "replace") or "tensor"
        new = name
        while known[new]:
            new = f"{name}_{known[name]}"
            known[name] += 1
        known[new] += 1
        is_changed |= new.encode() != tensor.name
        tensor.name = new.encode()
    return is_changed


def _unpack_halves(model):
    """Makes float32 constants of float16 ones that layers take through DEQUANTIZE."""
    schema = require("ai_edge_litert.schema_py_generated", extra="tflite")
    numbers = {getattr(schema.BuiltinOperator, name) for name in _TREATED}
    codes = [code.builtinCode for code in model.operatorCodes or ()]
    is_changed = False
    for graph in model.subgraphs:
        operators = graph.operators or []
        wanted = {
            index
            for operator in operators
            if codes[operator.opcodeIndex] in numbers
            for index in operator.inputs
        }
        widening = [
            operator
            for operator in operators
            if codes[operator.opcodeIndex] == schema.BuiltinOperator.DEQUANTIZE
            and operator.outputs[0] in wanted
            and _is_half(model, graph.tensors[operator.inputs[0]], schema)
        ]
        graph.operators = [each for each in operators if each not in widening]
        for operator in widening:
            _widen(model, graph, operator, schema)
            is_changed = True
    return is_changed


def _is_half(model, tensor, schema):
    is_constant = model.buffers[tensor.buffer].data is not None
    return is_constant and tensor.type == schema.TensorType.FLOAT16


def _widen(model, graph, operator, schema):
    """Makes what a DEQUANTIZE writes a constant, and forgets what it reads."""
    source, target = (
        graph.tensors[ends[0]] for ends in (operator.inputs, operator.outputs)
    )
    halves = np.frombuffer(model.buffers[source.buffer].data, np.float16)
    buffer = schema.BufferT()
    buffer.data = halves.astype(np.float32).view(np.uint8)
    model.buffers.append(buffer)
    target.shape, target.buffer = source.shape, len(model.buffers) - 1
    if all(operator.inputs[0] not in each.inputs for each in graph.operators):
        old, source.buffer = source.buffer, 0
        tensors = [t for each in model.subgraphs for t in each.tensors or ()]
        if all(tensor.buffer != old for tensor in tensors):
            model.buffers[old].data = None
