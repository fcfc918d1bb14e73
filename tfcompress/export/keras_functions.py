"""Functions of Keras's backend and of TensorFlow, by operators that the formats have.

Keras computes some of them by operators that a format lacks, though others would do:
`argmax` looks at the bits of a float to tell 0.0 from -0.0, for which no format has an
operator. They are replaced while a model is traced, so that they are found wherever a
layer or an operation calls them: in nested models, loops, and layers of one's own.
"""

import contextlib
import importlib
import threading

from tfcompress.export import keras_loops

_lock = threading.RLock()


@contextlib.contextmanager
def replaced(functions):
    """Lets Keras use other functions meanwhile.

    Another thread that runs a model at the same time gets them too; they compute the
    same.

    Args:
        functions: mapping of "module:name" to the function of ours.
    """
    with _lock:
        originals = []
        try:
            for place, function in functions.items():
                module, _, name = place.partition(":")
                module = importlib.import_module(module)
                originals.append((module, name, getattr(module, name)))
                setattr(module, name, function)
            yield
        finally:
            for module, name, function in originals:
                setattr(module, name, function)


def argmax(x, axis=None, keepdims=False):
    """Computes `keras.ops.argmax`; of 0.0 and -0.0 the first is the larger."""
    import tensorflow as tf

    return _find(tf.argmax, x, axis, keepdims)


def argmin(x, axis=None, keepdims=False):
    """Computes `keras.ops.argmin`; of 0.0 and -0.0 the first is the smaller."""
    import tensorflow as tf

    return _find(tf.argmin, x, axis, keepdims)


def _find(function, x, axis, keepdims):
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if x.dtype == tf.bool:
        x = tf.cast(x, tf.int32)
    if axis is None:
        index = function(tf.reshape(x, [-1]), output_type=tf.int32)
        return tf.reshape(index, [1] * len(x.shape)) if keepdims else index
    index = function(x, axis=axis, output_type=tf.int32)
    return tf.expand_dims(index, axis) if keepdims else index


def erf(x):
    """Computes `keras.ops.erf` within 5e-7.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
    """
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    size = tf.abs(x)
    t = 1.0 / (1.0 + 0.3275911 * size)
    total = tf.ones_like(t) * 1.061405429
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        total = total * t + factor
    return tf.sign(x) * (1.0 - total * t * tf.exp(-size * size))


def digitize(x, bins):
    """Computes `keras.ops.digitize` by comparing with each of the bins."""
    import tensorflow as tf

    x = tf.expand_dims(tf.convert_to_tensor(x), -1)
    bins = tf.constant([float(edge) for edge in bins], tf.float32)
    reached = tf.greater_equal(tf.cast(x, tf.float32), bins)
    return tf.reduce_sum(tf.cast(reached, tf.int32), axis=-1)


def roll(x, shift, axis=None):
    """Computes `keras.ops.roll` by cutting in two and joining again."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if axis is None:
        return tf.reshape(roll(tf.reshape(x, [-1]), shift, 0), tf.shape(x))
    shifts, axes = (
        list(value) if isinstance(value, (list, tuple)) else [value]
        for value in (shift, axis)
    )
    for by, along in zip(shifts, axes, strict=True):
        size = x.shape[along] or tf.shape(x)[along]
        place = (size - by) % size
        head, tail = tf.split(x, [place, size - place], axis=along)
        x = tf.concat([tail, head], axis=along)
    return x


def log_softmax(logits, axis=-1, name=None):
    """Computes `tf.nn.log_softmax` by operators other than LogSoftmax.

    OpenVINO 2026.4 computes LogSoftmax over the channels of an image wrong.
    """
    import tensorflow as tf

    logits = tf.convert_to_tensor(logits)
    axis = -1 if axis is None else axis
    total = tf.reduce_logsumexp(logits, axis=axis, keepdims=True)
    return tf.subtract(logits, total, name=name)


def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Computes `keras.ops.conv`; grouped ones are not compiled by XLA.

    What is compiled stays a call of a function, which no format has an operator for.
    """
    import keras
    import tensorflow as tf

    is_last = (data_format or keras.config.image_data_format()) == "channels_last"
    axes = "DHW"[5 - len(inputs.shape) :]
    return tf.nn.convolution(
        inputs,
        kernel,
        strides,
        padding.upper(),
        data_format=f"N{axes}C" if is_last else f"NC{axes}",
        dilations=dilation_rate,
    )


def normalize(x, axis=-1, order=2, epsilon=None):
    """Computes `keras.ops.normalize`; of zeros it is zero.

    Keras takes the smaller of rsqrt(0) and 1 / epsilon; TFLite's rsqrt(0) is NaN.
    """
    import keras
    import tensorflow as tf

    least = keras.config.epsilon() if epsilon is None else epsilon
    if order != 2:
        norm = keras.ops.norm(x, ord=order, axis=axis, keepdims=True)
        return x / keras.ops.maximum(norm, least)
    x = tf.convert_to_tensor(x)
    total = tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)
    # No smaller than what float32 has at full precision.
    return x * tf.math.rsqrt(tf.maximum(total, max(least**2, 1e-37)))


def encode_by_bincount(*args, **kwargs):
    """Declines to encode categories by an operator that two formats lack.

    Raises:
        ValueError: always; Keras encodes them by `one_hot` then.
    """
    raise ValueError("no format but ONNX counts")


# What every format lacks, or most.
EVERYWHERE = {
    "keras.src.utils.tf_utils:tf_encode_categorical_inputs": encode_by_bincount,
    "keras.src.backend.tensorflow.numpy:argmax": argmax,
    "keras.src.backend.tensorflow.numpy:argmin": argmin,
    "keras.src.backend.tensorflow.nn:conv": conv,
}
TFLITE = EVERYWHERE | {
    "keras.src.backend:rnn": keras_loops.rnn,
    "tf_keras.src.backend:rnn": keras_loops.rnn,
    "keras.src.backend.tensorflow.math:erf": erf,
    "keras.src.ops.nn:_normalize": normalize,
    "keras.src.backend.tensorflow.numpy:roll": roll,
}
ONNX = EVERYWHERE | {"keras.src.backend.tensorflow.numpy:digitize": digitize}
OPENVINO = ONNX | {"tensorflow.nn:log_softmax": log_softmax}
