"""Losses of one output: of each example, and as either library compiles them."""

import dataclasses
from collections.abc import Callable
from types import ModuleType


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """Binary for one unit, else sparse categorical; of logits or of probabilities."""

    name = "cross_entropy"

    def of_each(self, library: ModuleType, activation: str | None) -> Callable:
        """Returns the loss of each example, as `compiled` means it.

        Args:
            library: module `keras` or `tf_keras`, the model's own.
            activation: `"softmax"`, `"sigmoid"`, or None where the output is logits.
        Returns:
            Function of an integer tensor of labels, shape `(batch,)` or `(batch, 1)`,
            and a float tensor of outputs, shape `(batch, units)`, to a float32 tensor,
            shape `(batch,)`.
        """
        if activation is None:
            return _of_logits
        # The library's own sees through a softmax to its logits.
        return lambda labels, outputs: _of_probabilities(
            library.losses, labels, outputs
        )

    def compiled(
        self, library: ModuleType, num_units: int, activation: str | None
    ) -> object:
        """Returns the library's own loss: a saved model loads without this package.

        Args:
            library: module `keras` or `tf_keras`.
            num_units: last size of the output.
            activation: as of `of_each`.
        """
        from_logits = activation is None
        if num_units == 1:
            return library.losses.BinaryCrossentropy(from_logits=from_logits)
        return library.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


@dataclasses.dataclass(frozen=True)
class MeanSquaredError:
    """Mean of the squared errors of an example's numbers."""

    name = "mean_squared_error"

    def of_each(self, library: ModuleType, activation: str | None) -> Callable:
        """Returns the loss of each example, as of `CrossEntropy.of_each`."""
        del library, activation
        return _squared_error

    def compiled(
        self, library: ModuleType, num_units: int, activation: str | None
    ) -> object:
        """Returns the library's own loss."""
        del num_units, activation
        return library.losses.MeanSquaredError()


def _of_logits(labels, logits):
    import tensorflow as tf

    labels = tf.reshape(labels, [-1])
    logits = tf.cast(logits, tf.float32)
    if logits.shape[-1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(
            tf.cast(labels, tf.float32), logits[:, 0]
        )
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.cast(labels, tf.int32), logits
    )


def _of_probabilities(losses, labels, outputs):
    import tensorflow as tf

    labels = tf.reshape(labels, [-1])
    if outputs.shape[-1] == 1:
        labels = tf.cast(labels[:, None], outputs.dtype)
        return tf.cast(losses.binary_crossentropy(labels, outputs), tf.float32)
    found = losses.sparse_categorical_crossentropy(labels, outputs)
    return tf.cast(found, tf.float32)


def _squared_error(targets, outputs):
    import tensorflow as tf

    outputs = tf.cast(outputs, tf.float32)
    targets = tf.reshape(tf.cast(targets, tf.float32), tf.shape(outputs))
    errors = tf.square(targets - outputs)
    return tf.reduce_mean(tf.reshape(errors, [tf.shape(errors)[0], -1]), axis=1)
