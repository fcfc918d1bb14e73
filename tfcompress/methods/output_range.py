"""The range of a layer's output, within which it is rounded to 8-bit integers."""

_ACTIVATION_BITS = 8


class OutputRange:
    """Rounds a tensor to 256 values of a range that follows the training's batches.

    It begins where `calibrate` puts it, moves by `rate` towards each batch's range, and
    stays where it is when that variable is 0. An instance serves one layer of a model.

    Args:
        rate: float32 variable, shape `()`: share of the way to a batch's range.
    """

    def __init__(self, rate):
        self._rate = rate
        self.observe = None  # function of a tensor, in calibration
        self.minimum = self.maximum = self.shares = None  # variables, once built

    def build(self, add_weight):
        """Makes the range, and which share of a batch's own range it goes by.

        Args:
            add_weight: as of `WeightConstraint.build`.
        """

        def add(name, shape, initializer):
            return add_weight(
                name,
                shape=shape,
                dtype="float32",
                initializer=initializer,
                trainable=False,
            )

        self.minimum = add("minimum", (), "zeros")
        self.maximum = add("maximum", (), "zeros")
        self.shares = add("shares", (2,), "ones")

    def __call__(self, outputs, training):
        """Returns `outputs`, rounded, in their shape and dtype."""
        import tensorflow as tf

        if self.observe is not None:
            self.observe(outputs)
            return outputs
        values = tf.cast(outputs, tf.float32)
        if training:
            self._follow(values)
        rounded = tf.quantization.fake_quant_with_min_max_vars(
            values, self.minimum, self.maximum, num_bits=_ACTIVATION_BITS
        )
        return tf.cast(rounded, outputs.dtype)

    def set(self, minimum, maximum, shares=(1.0, 1.0)):
        """Sets the range, and the shares of a batch's range that are gone by.

        Args:
            minimum: number, at most 0.
            maximum: number, at least 0.
            shares: of the lower and of the upper end, in [0, 1].
        """
        self.minimum.assign(minimum)
        self.maximum.assign(maximum)
        self.shares.assign(shares)

    def _follow(self, values):
        import tensorflow as tf

        low = tf.minimum(tf.reduce_min(values) * self.shares[0], 0.0)
        high = tf.maximum(tf.reduce_max(values) * self.shares[1], 0.0)
        self.minimum.assign_add(self._rate * (low - self.minimum))
        self.maximum.assign_add(self._rate * (high - self.maximum))
