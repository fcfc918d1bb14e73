"""The weights of a tf_keras layer by name: what methods compress, and where it lies."""

# tf_keras layer type -> the weight that methods compress in it. Depthwise kernels are
# few weights with much to say: they are compressed only where a rule names the layer.
_WEIGHTS = {
    "Dense": "kernel",
    "Embedding": "embeddings",
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv3D": "kernel",
    "Conv1DTranspose": "kernel",
    "Conv2DTranspose": "kernel",
    "Conv3DTranspose": "kernel",
    "SeparableConv1D": "pointwise_kernel",
    "SeparableConv2D": "pointwise_kernel",
    "DepthwiseConv2D": "depthwise_kernel",
}
ONLY_WHEN_NAMED = frozenset({"DepthwiseConv2D"})
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN"})


def compressible_weights(layer):
    """Returns the weights to compress in a built layer; none for most layer types.

    Args:
        layer: tf_keras layer.
    Returns:
        Dict of weight name to variable. The cells of recurrent layers are numbered in
        the names: `"kernel/0"`, `"recurrent_kernel/0"`; of a `Bidirectional`, cell 0 is
        the forward one.
    """
    kind = type(layer).__name__
    if kind in _WEIGHTS:
        return {_WEIGHTS[kind]: getattr(layer, _WEIGHTS[kind])}
    return {
        f"{name}/{number}": getattr(cell, name)
        for number, cell in enumerate(_cells(layer))
        for name in ("kernel", "recurrent_kernel")
    }


def trainable_weights(layer):
    """Returns all weights that training changes in a built layer, biases included.

    Args:
        layer: tf_keras layer; whether it is frozen does not matter.
    Returns:
        Dict of weight name to variable, with the names of `compressible_weights`:
        `{"gamma": ..., "beta": ...}` for a LayerNormalization. A weight that a layer
        keeps in a part of its own is not in it.
    """
    own = {id(variable) for variable in layer.weights if variable.trainable}
    holders = {"": layer}
    holders |= {f"/{number}": cell for number, cell in enumerate(_cells(layer))}
    return {
        f"{name}{suffix}": value
        for suffix, holder in holders.items()
        for name, value in vars(holder).items()
        if id(value) in own
    }


def weight_place(layer, name):
    """Returns the object and the attribute that hold a weight of a layer.

    Args:
        layer: built tf_keras layer.
        name: a name of `compressible_weights` or `trainable_weights`.
    Returns:
        `(holder, attribute)`: the layer or one of its cells, and a `str`.
    """
    attribute, _, number = name.partition("/")
    return (_cells(layer)[int(number)] if number else layer), attribute


def _cells(layer):
    """Returns the recurrent cells of a layer, forward first; none of other layers."""
    parts = [layer]
    if type(layer).__name__ == "Bidirectional":
        parts = [layer.forward_layer, layer.backward_layer]
    if any(type(part).__name__ not in _RECURRENT for part in parts):
        return []
    return [part.cell for part in parts]
