"""tf_keras layers of image models that tf_keras lacks or that TFMOT does not know.

As `leaf_layers`, it imports TensorFlow when it is loaded: import it inside functions
only.
"""

import tf_keras


class _NothingToPrune:
    """Lets TFMOT's pruning wrap a layer that its registry has no row for."""

    def get_prunable_weights(self):
        """Tells TFMOT's pruning that there is nothing to prune."""
        return []


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class ChannelScale(_NothingToPrune, tf_keras.layers.Layer):
    """Multiplies every channel, the last axis, by a weight of its own.

    Its only weight is `gamma`, of shape `(channels,)`; it begins as ones.

    Source: the layer scale of Touvron et al. 2021, section 2.2 (arXiv:2103.17239).
    """

    def build(self, input_shape):
        """Makes `gamma`."""
        self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")
        super().build(input_shape)

    def call(self, inputs):
        """Returns `inputs * gamma`, in the shape of `inputs`."""
        return inputs * self.gamma


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class Normalization(_NothingToPrune, tf_keras.layers.Normalization):
    """tf_keras' own Normalization, in a model that TFMOT prunes as a whole."""


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class Rescaling(_NothingToPrune, tf_keras.layers.Rescaling):
    """tf_keras' own Rescaling, in a model that TFMOT prunes as a whole."""
