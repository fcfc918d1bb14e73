"""tf_keras layers without weights, for what tf_keras has no layer of its own for.

This module imports TensorFlow when it is loaded, because a layer class needs its base:
import it inside functions only.
"""

import tensorflow as tf
import tf_keras


def _get_item(inputs, key):
    return inputs[tuple(_decode_index(index) for index in key)]


def _decode_index(index):
    if isinstance(index, dict):
        return slice(*index["slice"])
    return {"...": Ellipsis, "newaxis": None}.get(index, index)


def _masked(inputs, mask):
    return inputs * tf.cast(mask[..., tf.newaxis], inputs.dtype)


# Every argument besides the tensors is a JSON value, so that a layer's config is JSON.
FUNCTIONS = {
    "absolute": tf.abs,
    "add": tf.add,
    "any": tf.reduce_any,
    "cast": tf.cast,
    "divide": tf.divide,
    "equal": tf.equal,
    "exp": tf.exp,
    "expand_dims": tf.expand_dims,
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "get_item": _get_item,
    "greater": tf.greater,
    "greater_equal": tf.greater_equal,
    "hard_sigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,
    "hard_silu": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "identity": tf.identity,
    "less": tf.less,
    "less_equal": tf.less_equal,
    "log": tf.math.log,
    "log_sigmoid": tf.math.log_sigmoid,
    # Found anew in each call: writers of files replace it.
    "log_softmax": lambda x, axis=-1: tf.nn.log_softmax(x, axis),
    "logical_and": tf.logical_and,
    "logical_not": tf.logical_not,
    "logical_or": tf.logical_or,
    "masked": _masked,
    "matmul": tf.matmul,
    "max": tf.reduce_max,
    "maximum": tf.maximum,
    "mean": tf.reduce_mean,
    "min": tf.reduce_min,
    "minimum": tf.minimum,
    "multiply": tf.multiply,
    "negative": tf.negative,
    "not_equal": tf.not_equal,
    "power": tf.pow,
    "reshape": tf.reshape,
    "rsqrt": tf.math.rsqrt,
    "sqrt": tf.sqrt,
    "square": tf.square,
    "squeeze": tf.squeeze,
    "subtract": tf.subtract,
    "sum": tf.reduce_sum,
    "transpose": lambda x, axes: tf.transpose(x, axes),
    "where": tf.where,
}


class LeafLayer(tf_keras.layers.Layer):
    """Base of our own layers without weights: TFMOT's wrappers take them as they are.

    Token ids and masks must not be cast to the layer's dtype, so nothing is.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def get_prunable_weights(self):
        """Tells TFMOT's pruning that there is nothing to prune."""
        return []


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class TensorFunction(LeafLayer):
    """Computes one of `FUNCTIONS`; a mask does not pass through it.

    Args:
        function: a name of `FUNCTIONS`.
        operands: the function's arguments in order, `None` for each tensor that the
            layer is called with; numbers and nested lists are constants and take the
            last tensor's dtype.
        options: the function's keyword arguments.
    """

    def __init__(self, function, operands=(None,), options=None, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self.operands = list(operands)
        self.options = dict(options or {})

    def call(self, inputs):
        """Applies the function to a tensor or to a list of tensors."""
        tensors = iter(tf.nest.flatten(inputs))
        dtype = tf.nest.flatten(inputs)[-1].dtype
        arguments = [
            next(tensors) if operand is None else tf.constant(operand, dtype)
            for operand in self.operands
        ]
        return FUNCTIONS[self.function](*arguments, **self.options)

    def get_config(self):
        """Gives the constructor's arguments."""
        return {
            **super().get_config(),
            "function": self.function,
            "operands": self.operands,
            "options": self.options,
        }


@tf_keras.utils.register_keras_serializable(package="tfcompress")
class AttachMask(LeafLayer):
    """Returns the first of two tensors, with the second as its mask.

    The bridge carries masks as plain tensors, since wrappers of TFMOT lose implicit
    ones; only a model's output needs one, for the loss.
    """

    def call(self, inputs):
        """Returns `inputs[0]` of the pair (tensor, bool mask)."""
        return tf.identity(inputs[0])

    def compute_mask(self, inputs, mask=None):
        """Gives `inputs[1]`."""
        return inputs[1]
