"""The leaf that runs a Keras 3 layer or operation inside the tf_keras graph.

On the TensorFlow backend Keras 3 computes on the tensors of any graph. The leaf hands
the values of its own weights to the Keras 3 object (`keras.StatelessScope`), which
stays as it is, and takes over what training changes beside the gradients: statistics,
and the states of random numbers.

This module imports TensorFlow when it is loaded, as `leaf_layers` does: import it
inside functions only.
"""

import warnings

import tensorflow as tf
import tf_keras

from tfcompress.bridge.kept import Slot, find_kept
from tfcompress.bridge.leaf_layers import LeafLayer
from tfcompress.bridge.reasons import IDENTITIES, keras_name
from tfcompress.errors import UnsupportedModelError


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class KeptLayer(LeafLayer):
    """Computes what a Keras 3 object computes, on weights of its own.

    Called with a list: the tensors of one of the object's calls, and their masks. It
    returns a tensor or a list: the outputs, and their masks.

    Args:
        key: of the `Kept` that holds the object; it lives in this process only.

    Attributes:
        hands_on: whether it is the identity at inference, as an augmentation is.
    """

    def __init__(self, key, **kwargs):
        super().__init__(**kwargs)
        self.kept = find_kept(key)
        self.hands_on = keras_name(self.kept.source) in IDENTITIES
        self._held = []
        self._states = None

    def build(self, input_shape):
        """Makes the weights; `to_tf_keras` gives them their values."""
        self._held = [
            self.add_weight(
                name=f"{variable.name}_{number}",
                shape=variable.shape,
                dtype=variable.dtype,
                initializer="zeros",
                trainable=variable.trainable,
                experimental_autocast=False,
            )
            for number, variable in enumerate(self.kept.weights)
        ]
        with tf.init_scope():
            states = [tf.Variable(x.value, trainable=False) for x in self.kept.states]
        # In a function tf_keras does not see them: they are no weights.
        self._states = lambda: states
        super().build(input_shape)

    def call(self, inputs, call=0, training=None):
        """Runs the object.

        Args:
            inputs: list of the call's tensors and of their masks.
            call: number of the call in `Kept.calls`.
            training: whether the object shall do what it does in training.
        """
        return _run(self, tf.nest.flatten(inputs), self.kept.calls[call], training)

    @classmethod
    def from_config(cls, config):
        """Makes a leaf of the same object; tf_keras would wrap the error."""
        return cls(**config)

    def get_config(self):
        """Gives the constructor's arguments."""
        return {**super().get_config(), "key": self.kept.key}


# Keras 3 does not have its layers' Python rewritten by AutoGraph either.
@tf.autograph.experimental.do_not_convert
def _run(leaf, inputs, call, training):
    import keras

    # While tf_keras builds the graph, `training` is a tensor, and only shapes count.
    training = not tf.is_tensor(training) and bool(training)
    tensors = [_without_mask(tensor) for tensor in inputs]
    for number, mask in call.masks.items():
        tensors[number]._keras_mask = tensors[mask]
    args, kwargs = keras.tree.map_structure(
        lambda x: tensors[x.number] if isinstance(x, Slot) else x, call.arguments
    )
    if isinstance(leaf.kept.source, keras.layers.Layer):
        kwargs = {**kwargs, "training": training}
    held = [*leaf._held, *leaf._states()]
    variables = [*leaf.kept.weights, *leaf.kept.states]
    mapping = list(zip(variables, map(tf.convert_to_tensor, held), strict=True))
    with (
        warnings.catch_warnings(),
        keras.StatelessScope(mapping, collect_losses=True) as scope,
    ):
        # Keras says when a layer drops a mask; it did so when the model was made.
        warnings.simplefilter("ignore")
        results = leaf.kept.source(*args, **kwargs)
    if training:
        _take_over(leaf, scope, mapping, held)
    call.removed = [n for n in call.masks if _mask_of(tensors[n]) is None]
    return _outputs(leaf.kept, call, results)


def _take_over(leaf, scope, mapping, held):
    """Assigns what the call has changed, and adds the losses that it has made."""
    for (variable, before), target in zip(mapping, held, strict=True):
        after = scope.get_current_value(variable)
        if after is not before:
            target.assign(tf.cast(after, target.dtype))
    for loss in scope.losses:
        leaf.add_loss(loss)


def _outputs(kept, call, results):
    """Gives the outputs and their masks in one list, and notes which is which."""
    import keras

    flat = keras.tree.flatten(results)
    if any(isinstance(x, (tf.SparseTensor, tf.RaggedTensor)) for x in flat):
        raise UnsupportedModelError(
            f"{kept.path!r} ({type(kept.source).__name__}) gives a sparse or ragged "
            "tensor, which cannot cross to tf_keras: let it give a dense one."
        )
    call.structure = keras.tree.map_structure(lambda _: 0, results)
    masks = [_mask_of(tensor) for tensor in flat]
    outputs = [_without_mask(tf.convert_to_tensor(tensor)) for tensor in flat]
    for tensor, expected in zip(outputs, call.expected or [], strict=False):
        if tensor.shape.is_compatible_with(expected):
            tensor.set_shape(expected)
    call.output_masks = {}
    for number, mask in enumerate(masks):
        if mask is not None:
            call.output_masks[number] = len(outputs)
            outputs.append(tf.identity(mask))
    return outputs if len(outputs) > 1 else outputs[0]


def _mask_of(tensor):
    return getattr(tensor, "_keras_mask", None)


def _without_mask(tensor):
    """Gives the tensor under another name; TensorFlow would pass its mask on."""
    tensor = tf.identity(tensor)
    tensor._keras_mask = None
    return tensor
