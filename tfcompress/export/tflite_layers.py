"""Leaves of a flat graph, computed by operators that XNNPACK takes whole.

tf_keras multiplies a tensor of rank 3 by `tensordot`, which works its shapes out of the
sizes; the converter keeps those sums and cuts the graph at each of them. A plain
`matmul` becomes one FULLY_CONNECTED. Where several sizes are unknown, the converter
knows new axes only as `expand_dims`. See docs/decisions/transformer_tflite.md for what
was tried and measured.
"""


def replacements():
    """Returns the leaves to replace, for `serving.use_flat_graph`."""
    import tf_keras

    from tfcompress.bridge.attention_layers import AttentionScores, MaskScores
    from tfcompress.bridge.leaf_layers import TensorFunction

    return {
        tf_keras.layers.Dense: dense,
        tf_keras.layers.LayerNormalization: layer_normalization,
        AttentionScores: attention_scores,
        MaskScores: mask_scores,
        TensorFunction: tensor_function,
    }


def dense(layer, inputs):
    """Computes a `tf_keras.layers.Dense` as one FULLY_CONNECTED.

    Args:
        layer: the built layer, kernel of shape `(D, units)`.
        inputs: tensor of shape `(..., D)`, any rank from 2.
    Returns:
        Tensor of shape `(..., units)` in the layer's compute dtype.
    """
    import tensorflow as tf

    # Inside a call Keras casts the variables, but the inputs only where it is told to.
    outputs = tf.matmul(tf.cast(inputs, layer.compute_dtype), layer.kernel)
    if layer.use_bias:
        outputs = tf.nn.bias_add(outputs, layer.bias)
    return outputs if layer.activation is None else layer.activation(outputs)


def layer_normalization(layer, inputs):
    """Computes a `tf_keras.layers.LayerNormalization` over the last axis.

    It centers the tensor, divides it by the standard deviation and scales it, one
    operator over the whole tensor for each step; tf_keras' way takes two more. A
    converter that sees a product with a constant before a FULLY_CONNECTED, or a sum,
    multiplies the constant into the weights, or into the bias: the weights would not be
    the model's any more, and their clusters be lost. It leaves differences alone.

    Args:
        layer: the built layer.
        inputs: tensor of shape `(..., D)`.
    Returns:
        Tensor of the inputs' shape in the layer's compute dtype.
    """
    import tensorflow as tf

    if list(layer.axis) != [len(inputs.shape) - 1]:
        return type(layer).call(layer, inputs)
    inputs = tf.cast(inputs, tf.float32)
    centered = inputs - tf.reduce_mean(inputs, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centered), axis=-1, keepdims=True)
    factor = tf.math.rsqrt(variance + layer.epsilon)
    if layer.scale and not layer.center:
        factor *= tf.cast(layer.gamma, tf.float32)
    outputs = centered * factor
    if layer.center:
        if layer.scale:
            outputs *= tf.cast(layer.gamma, tf.float32)
        with tf.init_scope():  # a negation in the graph would make it a sum again
            negated = -tf.cast(layer.beta, tf.float32).numpy()
        outputs -= negated
    return tf.cast(outputs, layer.compute_dtype)


def attention_scores(layer, inputs):
    """Computes an `AttentionScores`, the scores scaled in place of the query.

    Where the length is fixed, the converter multiplies a factor of the query into the
    weights before it, which would not be the model's any more.

    Args:
        layer: the `AttentionScores`.
        inputs: query `(B, N, T, H)` and key `(B, N, S, H)`.
    Returns:
        Tensor of shape `(B, N, T, S)`.
    """
    import tensorflow as tf

    query, key = inputs
    scores = tf.matmul(query, key, transpose_b=True)
    return scores * tf.cast(layer.scale, scores.dtype)


def mask_scores(layer, inputs):
    """Computes a `MaskScores`, the axes of a mask of rank 2 made by `expand_dims`.

    Args:
        layer: the `MaskScores`.
        inputs: scores `(B, N, T, S)` and a mask, as the layer takes them.
    Returns:
        Tensor of the scores' shape.
    """
    import tensorflow as tf

    scores, mask = inputs
    if len(mask.shape) == 2:
        mask = tf.expand_dims(tf.expand_dims(mask, 1), 1)
    return type(layer).call(layer, [scores, mask])


def tensor_function(layer, inputs):
    """Computes a `TensorFunction`, its new axes made by `expand_dims`.

    Args:
        layer: the `TensorFunction`.
        inputs: the tensor or list of tensors that it takes.
    Returns:
        What the layer returns.
    """
    import tensorflow as tf

    from tfcompress.bridge.leaf_layers import FUNCTIONS

    if layer.function == "masked":
        outputs, mask = inputs
        return outputs * tf.cast(tf.expand_dims(mask, -1), outputs.dtype)
    key = layer.options.get("key", ())
    if layer.function != "get_item" or "newaxis" not in key:
        return type(layer).call(layer, inputs)
    kept, new_axes = _split_key(key, len(inputs.shape))
    outputs = FUNCTIONS["get_item"](inputs, kept)
    for axis in new_axes:
        outputs = tf.expand_dims(outputs, axis)
    return outputs


def _split_key(key, rank):
    """Returns a `get_item` key without its new axes, and where those go, ascending."""
    kept = [index for index in key if index != "newaxis"]
    new_axes, axis = [], 0
    for index in key:
        if index == "newaxis":
            new_axes.append(axis)
        if index == "...":
            axis += rank - len(kept) + 1
        elif not isinstance(index, int):
            axis += 1
    return kept, new_axes
