"""Why a format cannot express a model: which of its layers needs what.

A converter names an operator of TensorFlow, or nothing of use, to somebody who built a
model of layers. So the model is traced once more to see which layer makes the operator,
or converted layer by layer to see which of them is refused.
"""

import dataclasses
import re

from tfcompress.bridge.graphs import functional_graph, needed_nodes
from tfcompress.errors import UnsupportedModelError
from tfcompress.export.serving import make_serving

# What the converters say of TensorFlow's operators: TFLite's, tf2onnx', OpenVINO's.
_MENTIONS = (
    re.compile(r"'tf\.(\w+)' op"),
    re.compile(r"No Op registered for (\w+)"),
    re.compile(r"No conversion rule found for operations: ([\w, ]+)"),
    re.compile(r"Conversion is failed for: (\w+)"),
)
_CALL = "keras.src.models.functional:operation_fn"
_MAX_NAMED = 5
_BEFORE_THE_MODEL = (
    "Leave it out of the model and apply it to the data before (keras.Model from the "
    "layer behind it on)"
)
_ADVICE = dict.fromkeys(
    ("TextVectorization", "StringLookup", "IntegerLookup", "Hashing", "HashedCrossing"),
    _BEFORE_THE_MODEL,
)


def refusal(serving, kind, reason, advice="Replace the layer"):
    """Makes the error for a model that a format cannot express.

    Args:
        serving: `Serving`.
        kind: the format's name for people.
        reason: what is wrong, in a few words.
        advice: what to do other than to choose another format.
    Returns:
        `UnsupportedModelError`.
    """
    return UnsupportedModelError(
        f"Model {serving.model.name!r} cannot be written as {kind}: "
        f"{reason.strip().rstrip('.')}. {advice}, or choose another format."
    )


def conversion_refusal(serving, kind, error, convert):
    """Makes the error for a model that a converter refused.

    Args:
        serving: `Serving` that it refused.
        kind: the format's name for people.
        error: the converter's exception.
        convert: function that converts a `Serving`; layers are tried by it one by one
            where the exception names no operator that one of them makes.
    Returns:
        `UnsupportedModelError` that names the layers, if they can be found.
    """
    wanted = mentioned_operators(str(error))
    needs = {}
    for operation, types in made_operators(serving) if wanted else ():
        for name in wanted:
            if name in types:
                needs.setdefault(operation, name)
    if len(needs) != 1:
        # Of an operator that is refused for its arguments other layers may have more.
        alone = _refused_alone(serving, convert, needs)
        needs = {operation: needs.get(operation) for operation in alone} or needs
    if not needs:
        reason = (
            f"its converter ends with {type(error).__name__}, though it takes each "
            "layer by itself"
        )
        return refusal(serving, kind, reason, "Export the model in two parts")
    advice = {_ADVICE.get(type(operation).__name__) for operation in needs}
    return refusal(
        serving,
        kind,
        _reason(needs, kind),
        (advice.pop() if len(advice) == 1 else None) or "Replace the layer",
    )


def _reason(needs, kind):
    """Names the layers, and the operators where they are known."""
    named = [
        f"{operation.name!r} ({type(operation).__name__}"
        + (f": TensorFlow's {operator})" if operator else ")")
        for operation, operator in needs.items()
    ]
    shown = ", ".join(named[:_MAX_NAMED])
    if len(named) > _MAX_NAMED:
        shown += f" and {len(named) - _MAX_NAMED} more"
    noun, verb = ("layers", "have") if len(named) > 1 else ("layer", "has")
    return f"{noun} {shown} {verb} no counterpart in {kind}"


def mentioned_operators(text):
    """Finds the operators that a converter names.

    Args:
        text: its message.
    Returns:
        List of types, each once.

    >>> mentioned_operators("No conversion rule found for operations: Roll, Betainc")
    ['Roll', 'Betainc']
    """
    found = [match for pattern in _MENTIONS for match in pattern.findall(text)]
    names = [name.strip() for match in found for name in match.split(",")]
    # Every layer with weights has a Placeholder; the one that is meant is a table.
    return [name for name in dict.fromkeys(names) if name != "Placeholder"]


def made_operators(serving):
    """Traces a model and sees which operators each of its layers makes.

    Args:
        serving: `Serving`; of a flat twin the Keras model is looked at.
    Returns:
        List of pairs of a Keras operation and the set of the types that it makes, those
        of the bodies of loops included. A nested model is seen by its layers.
    """
    import keras
    import tensorflow as tf
    from keras.src.models.functional import operation_fn

    made = []

    def record(operation, **context):
        call = operation_fn(operation, **context)
        if isinstance(operation, keras.Model):
            return call

        def recorded(*args, **kwargs):
            graph = tf.compat.v1.get_default_graph()
            before = len(graph.get_operations())
            outputs = call(*args, **kwargs)
            made.append((operation, graph.get_operations()[before:]))
            return outputs

        return recorded

    traced = dataclasses.replace(
        serving,
        graph=functional_graph(serving.model, serving.model.name),
        functions={**serving.functions, _CALL: record},
        flat=False,
    )
    library = traced.concrete_function.graph.as_graph_def().library.function
    bodies = {function.signature.name: function.node_def for function in library}
    return [
        (operation, _types([operator.node_def for operator in operators], bodies))
        for operation, operators in made
    ]


def _types(nodes, bodies):
    """Returns the types of nodes, and of those of the functions that they call."""
    types = {node.op for node in nodes}
    for node in nodes:
        for value in node.attr.values():
            types |= _types(bodies.get(value.func.name, ()), bodies)
    return types


def _refused_alone(serving, convert, suspects):
    """Returns the operations, of the suspects if any, that are refused alone."""
    import keras

    refused = {}
    for node in needed_nodes(functional_graph(serving.model, serving.model.name)):
        if suspects and node.operation not in suspects:
            continue
        part = keras.Model(node.input_tensors, list(node.output_tensors))
        names = [f"output_{index}" for index in range(len(part.outputs))]
        part = keras.Model(part.inputs, dict(zip(names, part.outputs, strict=True)))
        alone = dataclasses.replace(
            make_serving(part), functions=serving.functions, optimize_attention=False
        )
        try:
            convert(alone)
        except Exception:  # noqa: BLE001  whatever the converter raised for the whole
            refused[node.operation] = None
    return list(refused)
