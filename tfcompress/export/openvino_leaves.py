"""The leaves of a model with attention as OpenVINO knows them best.

OpenVINO's converter makes operators of its own (MVN, Gelu, ScaledDotProductAttention)
of what TensorFlow writes for most leaves; these are the others. The reasons, with
figures, are in docs/decisions/transformer_export.md.
"""

import math

# float16 holds it. Inside the operator for attention no range of int8 has to cover it.
_PENALTY = 1e4


def replacements():
    """Gives what `use_flat_graph` takes: `{leaf class: function}`."""
    import tf_keras

    from tfcompress.bridge.attention_layers import MaskScores

    layers = tf_keras.layers
    return {
        layers.Activation: _activation,
        layers.Dense: _dense,
        layers.Embedding: _embedding,
        MaskScores: _mask_scores,
    }


def _activation(layer, inputs):
    import tensorflow as tf
    import tf_keras

    if layer.activation is not tf_keras.activations.gelu:
        return layer.activation(inputs)
    # TensorFlow computes it by Erfc, in which OpenVINO does not find the GELU.
    return 0.5 * inputs * (1.0 + tf.math.erf(inputs / math.sqrt(2.0)))


def _dense(layer, inputs):
    import tensorflow as tf

    # The layer's own way on three axes is Tensordot, which reads sizes at run time.
    outputs = tf.matmul(inputs, tf.cast(layer.kernel, inputs.dtype))
    if layer.use_bias:
        outputs = outputs + tf.cast(layer.bias, inputs.dtype)
    return _activation(layer, outputs)


def _embedding(layer, ids):
    import tensorflow as tf

    if ids.dtype not in (tf.int32, tf.int64):
        ids = tf.cast(ids, tf.int32)
    # The layer's own way names the operator by a number of the process.
    vectors = tf.gather(layer.embeddings, ids)
    return tf.cast(vectors, layer.compute_dtype)


def _mask_scores(layer, inputs):
    """Subtracts what makes any score vanish, as the operator for attention does.

    OpenVINO takes the leaf's factor for one that scales all scores alike.
    """
    import tensorflow as tf

    del layer
    scores, mask = inputs
    if len(mask.shape) == 2:
        mask = mask[:, tf.newaxis, tf.newaxis, :]
    keep = tf.cast(tf.cast(mask, tf.bool), scores.dtype)
    return scores + (keep - 1.0) * _PENALTY
