"""Weights on an integer grid: whole numbers times a scale, symmetric about zero.

    limit = 2^(bits - 1) - 1                     127 of 8 bits, 7 of 4
    scale = largest magnitude / limit            of a channel, or of the whole tensor
    value = scale * round(weight / scale)

The scale is rounded up to 17 significant bits, 1 part in 65,536 at most. Every whole
number up to 127 times such a scale is exact in float32, so that the largest magnitude
of a channel is `scale * limit` to the bit, that over `limit` is the scale again, and
quantizing a weight that lies on its grid changes no bit. A tool that divides the
largest magnitude by the limit, as quantizers of runtimes do, finds the same integers.

Source: Jacob et al. 2018 (arXiv:1712.05877), section 2.1, with zero point 0; LiteRT's
8-bit quantization specification for the narrow range.
"""

_MANTISSA_BITS_DROPPED = 7  # 127 takes 7 of float32's 24


def integer_limit(num_bits):
    """Returns the largest integer of a symmetric grid.

    >>> integer_limit(8), integer_limit(4)
    (127, 7)
    """
    return 2 ** (num_bits - 1) - 1


def grid_scale(values, num_bits, channel_axes=()):
    """Returns the scale of the grid that `values` span.

    Args:
        values: float32 tensor.
        num_bits: bits of an integer, 2 to 8.
        channel_axes: axes, not negative, whose every index has a scale of its own; none
            for one scale.
    Returns:
        float32 tensor of the rank of `values`, 1 long along the other axes; 0 where all
        values are zero.
    """
    import tensorflow as tf

    others = [axis for axis in range(len(values.shape)) if axis not in channel_axes]
    # Two reductions read; the magnitudes would be written first.
    low = tf.reduce_min(values, others, keepdims=True)
    high = tf.reduce_max(values, others, keepdims=True)
    scale = tf.maximum(high, -low) / integer_limit(num_bits)
    dropped = 2**_MANTISSA_BITS_DROPPED - 1
    bits = tf.bitcast(scale, tf.int32) + dropped
    return tf.bitcast(tf.bitwise.bitwise_and(bits, ~dropped), tf.float32)


def fake_quantize(values, scale):
    """Moves values to their nearest on the grid.

    Args:
        values: float32 tensor, within 127 times the scale.
        scale: float32 tensor that broadcasts to it, as of `grid_scale`.
    Returns:
        float32 tensor without -0.0. Its gradient is passed on as it is: no value is
        clipped. That of an embedding stays one of the rows that were looked up.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def quantized(values):
        # Integers have no -0, which would be one more distinct value.
        integers = tf.cast(tf.round(tf.math.divide_no_nan(values, scale)), tf.int8)
        return tf.cast(integers, tf.float32) * scale, lambda upstream: upstream

    return quantized(values)
