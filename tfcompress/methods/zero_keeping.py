"""Keeps the zeros that one step of a recipe made in the training of a later one."""

import numpy as np

from tfcompress.errors import InvalidValueError
from tfcompress.methods.constrained import trained_weight


class ZeroKeepingTraining:
    """A `Training` that leaves weights at zero that a step before made so.

    The later step may not know them, such as biases, or layers that a rule of its own
    leaves alone: those are set to zero after every optimizer step. Where the later step
    has a constraint on the weight, that has to keep the zeros.

    Args:
        training: `Training`; everything but `fit` is its own.
        num_zeros: `(layer name, weight name)` -> zeros that the step before made.
    """

    def __init__(self, training, num_zeros):
        self._training = training
        self._num_zeros = num_zeros

    def __getattr__(self, name):
        return getattr(self._training, name)

    def fit(self, model, callbacks=()):
        """Trains as `training` does.

        Args:
            model: tf_keras model, with or without constraints.
            callbacks: further callbacks of tf_keras.
        Returns:
            `TrainingLog`.
        Raises:
            InvalidValueError: if the constraint of a weight does not keep its zeros.
        """
        free = []
        for (layer, weight), num_zeros in self._num_zeros.items():
            variable, constraint = trained_weight(model, layer, weight)
            if variable is None:
                continue  # TFMOT keeps its zeros, and the end of the recipe checks it
            if constraint is None:
                free.append(variable)
                continue
            values = constraint(variable, training=False).numpy()
            if values.size - np.count_nonzero(values) < num_zeros:
                raise lost_zeros(layer, weight, num_zeros)
        if free:
            callbacks = [_zeroing_callback(free), *callbacks]
        return self._training.fit(model, callbacks)


def lost_zeros(layer, weight, num_zeros):
    """Returns the error for zeros that a later step moves."""
    return InvalidValueError(
        f"A later step of the recipe moves the {num_zeros} zeros that pruning made in "
        f"{weight} of layer {layer!r}: they are too few to be one of its values. Prune "
        f"more there, or leave it alone in that step with layers={{{layer!r}: None}}."
    )


def _zeroing_callback(variables):
    import tensorflow as tf
    import tf_keras

    masks = [tf.not_equal(variable, 0) for variable in variables]

    @tf.function
    def zero():
        for variable, mask in zip(variables, masks, strict=True):
            kept = tf.cast(mask, variable.dtype)
            variable.assign(tf.math.multiply_no_nan(variable, kept))

    class ZeroingCallback(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            zero()

    return ZeroingCallback()
