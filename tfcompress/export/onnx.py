"""Keras model -> `.onnx`, by tf2onnx.

Keras's own exporter calls tf2onnx too, but names the output `Identity:0` and the batch
`unk__22`, and numbers everything by a counter that goes on from file to file.
"""

import re

from tfcompress.atomic import atomic_file
from tfcompress.errors import UnsupportedModelError, require
from tfcompress.export.float16 import check_range
from tfcompress.export.keras_functions import ONNX
from tfcompress.export.model_checks import check_apart
from tfcompress.export.onnx_leaves import (
    HANDLERS,
    OnnxLeaves,
    attach_weights,
    known_shapes,
)
from tfcompress.export.onnx_operators import OPERATORS
from tfcompress.export.refusals import conversion_refusal
from tfcompress.export.serving import use_flat_graph, use_functions
from tfcompress.foreign import silenced

FILE = "model.onnx"
# The newest that tf2onnx 1.17 writes; ONNX Runtime reads it since 1.14 (2023).
OPSET = 18
# Fewer weights stay float32: an operator to read them back takes as much as it saves.
_MIN_FLOAT16_SIZE = 128
# What keras-nlp's encoders call the inputs that belong to one text, of one length.
_TEXT_INPUTS = ("token_ids", "padding_mask", "segment_ids")
_COUNTED = re.compile(r"__\d+(?=$|:)")


def write(serving, folder, precision):
    """Writes `model.onnx`; arguments and result as in `tflite.write`.

    Raises:
        UnsupportedModelError: if an operator has no counterpart, or float16 cannot hold
            a weight.
    """
    onnx = require("onnx", extra="export")
    require("tf2onnx", extra="export")
    check_apart(serving, "ONNX")
    try:
        model = _convert(serving)
        onnx.checker.check_model(model)
    except UnsupportedModelError:
        raise
    except Exception as error:
        raise conversion_refusal(serving, "ONNX", error, _convert_whole) from error
    if precision.weights == "float16":
        _store_float16(model, serving.model.name)
    with atomic_file(folder / FILE) as path:
        path.write_bytes(model.SerializeToString(deterministic=True))
    return (FILE,)


def _convert(serving):
    """Returns the `onnx.ModelProto`."""
    leaves = OnnxLeaves()
    serving = use_functions(serving, ONNX)
    serving = use_flat_graph(serving, leaves.replacements())
    handlers, shapes = dict(OPERATORS), None
    if serving.flat:
        handlers |= HANDLERS
        shapes = known_shapes(serving.concrete_function)
    _ = serving.concrete_function  # says what is wrong with the model, not the format
    model = _from_tensorflow(
        serving, custom_op_handlers=handlers, shape_override=shapes
    )
    make_repeatable(model)
    if serving.flat:
        attach_weights(model, leaves.weights)
    return model


def _convert_whole(serving):
    """Converts a model, or part of one, and checks that ONNX has every operator."""
    onnx = require("onnx", extra="export")
    onnx.checker.check_model(_convert(serving))


def _from_tensorflow(serving, **options):
    import tf2onnx

    signature = serving.function.input_signature
    with silenced():
        model, _ = tf2onnx.convert.from_function(
            serving.function, signature, opset=OPSET, **options
        )
    return model


def _store_float16(model, model_name):
    """Stores weights as float16, with an operator behind each that gives it as float32.

    ONNX Runtime evaluates that operator when it loads the model, and computes in
    float32: its CPU provider has few operators for float16.
    """
    import onnx

    float32 = onnx.TensorProto.FLOAT
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != float32:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if values.size < _MIN_FLOAT16_SIZE:
            continue
        check_range(values, tensor.name, model_name)
        stored = f"{tensor.name}/float16"
        casts.append(onnx.helper.make_node("Cast", [stored], [tensor.name], to=float32))
        half = values.astype("float16")
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, stored))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def make_repeatable(model):
    """Gives a graph an order and names that follow from its structure alone.

    tf2onnx numbers names by a counter of the process, orders nodes by sets, and calls
    constants that it merged by the name of any of them. Constants are renamed after the
    node that takes them: `classifier/embedding/GatherV2/input_0`. A graph with
    subgraphs is left as it is, because their names reach outside.

    Args:
        model: `onnx.ModelProto`, changed in place.
    """
    graph = model.graph
    if any(attribute.HasField("g") for n in graph.node for attribute in n.attribute):
        return
    graph.doc_string = ""
    del graph.value_info[:]
    nodes = _ordered_nodes(graph)
    for index, node in enumerate(nodes):
        if _COUNTED.search(node.name):
            node.name = f"{_COUNTED.sub('', node.name)}__{index}"
    names = _new_names(graph, nodes)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = [constants[name] for name in names if name in constants]
    for tensor in used:
        tensor.name = names[tensor.name]
    for node in nodes:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    _replace(graph.node, nodes)
    _replace(graph.initializer, used)
    _name_free_sizes([*graph.input, *graph.output])


def _ordered_nodes(graph):
    """Returns the nodes in the order in which the outputs ask for them."""
    makers = {name: node for node in graph.node for name in node.output if name}
    stack = [makers[value.name] for value in graph.output if value.name in makers][::-1]
    ordered = {}
    while stack:
        waiting = [
            makers[name]
            for name in stack[-1].input
            if name in makers and id(makers[name]) not in ordered
        ]
        if waiting:
            stack.append(waiting[0])
        else:
            node = stack.pop()
            ordered.setdefault(id(node), node)
    return list(ordered.values())


def _new_names(graph, nodes):
    """Returns the new name of each tensor, in the order of first use."""
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    names[""] = ""  # an optional input that is left out
    for node in nodes:
        for index, name in enumerate(node.input):
            # What is not there by now is a constant: inputs and nodes come before.
            names.setdefault(name, f"{node.name}/input_{index}")
        for index, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}:{index}")
    return names


def _replace(field, messages):
    """Replaces the messages of a repeated field by some of them in a new order."""
    copies = [
        type(message).FromString(message.SerializeToString()) for message in messages
    ]
    del field[:]
    field.extend(copies)


def _name_free_sizes(values):
    """Names free sizes: "batch", "sequence_length" of a text, others by their place."""
    for value in values:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if not size.HasField("dim_value"):
                size.dim_param = _name_of_size(value.name, axis)


def _name_of_size(name, axis):
    if axis == 0:
        return "batch"
    is_length = axis == 1 and name in _TEXT_INPUTS
    return "sequence_length" if is_length else f"{name}_size_{axis}"
