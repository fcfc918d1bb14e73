"""What a model's outputs are: logits, or the probabilities that a model ends in."""

_ACTIVATIONS = ("sigmoid", "softmax")
# Layers and operations after which probabilities are still what they were.
_PASSING = frozenset(
    {"Activation", "AttachMask", "Cast", "Dropout", "Identity", "InputLayer"}
)
_RESHAPING = frozenset({"Flatten", "Reshape", "Squeeze"})


def output_activation(model, index=0):
    """Returns which activation an output of a model comes from.

    Args:
        model: Keras 3 or tf_keras model. Nested models are looked into, and so are the
            wrappers of tf_keras layers.
        index: of the output in `model.outputs`.
    Returns:
        `"softmax"` or `"sigmoid"` where the model ends in one: in a layer's activation,
        a layer or an operation of its own. None where it puts out logits, and for
        models without a graph.
    """
    outputs = getattr(model, "outputs", None)
    return _activation_of(outputs[index]) if outputs else None


def _activation_of(tensor):
    operation, node_index, tensor_index = tensor._keras_history[:3]
    if getattr(operation, "outputs", None):
        return _activation_of(operation.outputs[tensor_index])
    own = _own_activation(operation)
    if own is not None:
        return own
    before = _tensor_before(operation, node_index)
    return None if before is None else _activation_of(before)


def _own_activation(operation):
    """Returns the activation that a layer or an operation ends in, if it is one."""
    kept = getattr(operation, "kept", None)  # by a leaf that runs a Keras 3 layer
    operation = operation if kept is None else kept.source
    operation = getattr(operation, "layer", operation)  # of a wrapper
    kind = type(operation).__name__
    if kind.lower() in _ACTIVATIONS:
        is_last_axis = getattr(operation, "axis", -1) in (-1, 1)  # of `(batch, units)`
        return kind.lower() if is_last_axis else None
    if hasattr(operation, "units") and hasattr(operation, "return_sequences"):
        return None  # a recurrent layer computes more after its activation
    name = getattr(getattr(operation, "activation", None), "__name__", None)
    return name if name in _ACTIVATIONS else None


def _tensor_before(operation, node_index):
    """Returns the input of what leaves probabilities as they are, else None."""
    kind = type(operation).__name__
    if kind not in _PASSING | _RESHAPING:
        return None
    name = getattr(getattr(operation, "activation", None), "__name__", "linear")
    node = operation._inbound_nodes[node_index]
    inputs = node.input_tensors
    before = inputs[0] if isinstance(inputs, list | tuple) and inputs else inputs
    if name != "linear" or not hasattr(before, "_keras_history"):
        return None
    after = node.output_tensors if hasattr(node, "output_tensors") else node.outputs
    after = after[0] if isinstance(after, list | tuple) else after
    is_reshaped = kind in _RESHAPING and before.shape[-1] != after.shape[-1]
    is_input = before._keras_history[0] is operation
    return None if is_reshaped or is_input else before
