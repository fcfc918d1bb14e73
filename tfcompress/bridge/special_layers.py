"""Rules of the standard layers whose crossing is more than carrying their config."""

import numpy as np

from tfcompress.bridge.activations import activation_rule
from tfcompress.bridge.attention_rules import multi_head_attention
from tfcompress.bridge.einsum_rules import einsum_dense
from tfcompress.bridge.embedding_rules import reversible_embedding
from tfcompress.bridge.rules import Masked


def _activation(layer, leaves):
    return activation_rule(layer.activation, leaves)


def _identity(layer, leaves):
    """tf_keras' own Identity would stop a mask; a linear Activation lets it through."""
    return activation_rule("linear", leaves)


def _masking(layer, leaves):
    """Zeroes the masked steps and gives the mask as a tensor of its own."""
    unequal = leaves.compute(
        "not_equal", "unequal", operands=[None, float(layer.mask_value)]
    )
    reduce = leaves.compute("any", "mask", axis=-1)
    apply = leaves.compute("masked", operands=[None, None])

    def call(inputs):
        mask = reduce(unequal(inputs))
        return Masked(apply([inputs, mask]), mask)

    return call


def _normalization(layer, leaves):
    """Carries the statistics as constants.

    As weights they would be lost in a clone: tf_keras takes them over only in `adapt`
    and when it loads a file.
    """
    from tfcompress.bridge.application_layers import Normalization

    adapted = layer.input_mean is None
    if adapted:
        leaves.keep(layer.adapt_mean, layer.adapt_variance, layer.count)
    mean, variance = (
        (layer.adapt_mean, layer.adapt_variance)
        if adapted
        else (layer.input_mean, layer.input_variance)
    )
    return leaves.add(
        Normalization,
        axis=layer.axis,
        mean=_plain(mean),
        variance=_plain(variance),
        invert=layer.invert,
    )


def _rescaling(layer, leaves):
    from tfcompress.bridge.application_layers import Rescaling

    return leaves.add(Rescaling, scale=_plain(layer.scale), offset=_plain(layer.offset))


def _spectral_normalization(layer, leaves):
    """Makes the leaves of the layer inside: at inference it is called as it is."""
    leaves.keep(layer.vector_u)
    leaves.drop("spectral normalization")
    return leaves.expand(layer.layer, "")


def _time_distributed(layer, leaves):
    """Makes the Dense inside, which takes the steps as they are.

    Raises:
        RuleRefusal: if it wraps another layer.
    """
    import keras

    if type(layer.layer) is not keras.layers.Dense:
        name = type(layer.layer).__name__
        raise leaves.unsupported(f"wraps a {name}; only a Dense can be compressed")
    dense = leaves.expand(layer.layer, "")
    return lambda inputs, mask=None: dense(inputs)


def _plain(value):
    """Gives an array, variable or number as numbers in lists, which JSON can hold."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(value)).tolist()


# Class in keras.layers -> rule.
RULES = {
    "Activation": _activation,
    "EinsumDense": einsum_dense,
    "Identity": _identity,
    "Masking": _masking,
    "MultiHeadAttention": multi_head_attention,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "ReversibleEmbedding": reversible_embedding,
    "SpectralNormalization": _spectral_normalization,
    "TimeDistributed": _time_distributed,
}
