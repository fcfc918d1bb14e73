"""Rules of the layers that keras.applications defines for its own models.

Keras 3 does not export these classes, so they are taken from where it defines them.
"""

import functools


def application_rules():
    """Gives the rule of each layer class of keras.applications: class -> rule."""
    from keras.src.applications import convnext, inception_resnet_v2

    return {
        convnext.LayerScale: _layer_scale,
        convnext.StochasticDepth: _stochastic_depth,
        inception_resnet_v2.CustomScaleLayer: _scaled_residual,
    }


def _layer_scale(layer, leaves):
    from tfcompress.bridge.application_layers import ChannelScale

    return leaves.add(ChannelScale, weights=[layer.gamma])


def _stochastic_depth(layer, leaves):
    """Drops whole examples in training, and scales those that stay: a Dropout."""
    import tf_keras

    @functools.cache
    def dropout(ndim):
        noise_shape = (None,) + (1,) * (ndim - 1)
        return leaves.add(
            tf_keras.layers.Dropout, rate=layer.drop_path_rate, noise_shape=noise_shape
        )

    return lambda inputs: dropout(len(inputs.shape))(inputs)


def _scaled_residual(layer, leaves):
    """Adds a scaled branch to the shortcut, the first of the two inputs."""
    import tf_keras

    scale = leaves.compute("multiply", "scale", operands=[None, layer.scale])
    add = leaves.add(tf_keras.layers.Add)

    def call(inputs):
        shortcut, branch = inputs
        return add([shortcut, scale(branch)])

    return call
