"""The arithmetic of training: bfloat16 without a change of the model."""

import contextlib

from tfcompress.errors import InvalidValueError

_OPTION = "auto_mixed_precision_onednn_bfloat16"


@contextlib.contextmanager
def arithmetic(precision):
    """Lets TensorFlow compute in `precision` inside the block.

    TensorFlow's graph optimizer then has oneDNN do the matrix products, and what comes
    between them, in bfloat16, with sums in float32. Weights, gradients of weights and
    the optimizer stay in float32, so neither the model nor its file differs.

    Args:
        precision: `"float32"`: nothing is changed; or `"bfloat16"`.
    Raises:
        InvalidValueError: if bfloat16 has no effect on this machine.
    """
    if precision == "float32":
        yield
        return
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options().get(_OPTION, False)
    try:
        exact = _products()
        tf.config.optimizer.set_experimental_options({_OPTION: True})
        if _products() == exact:
            raise InvalidValueError(
                f"TrainingConfig.precision {precision!r} has no effect here: "
                "TensorFlow computes in it through oneDNN, on x86 processors with "
                "AVX-512 and not on a GPU. Set precision='float32'."
            )
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_OPTION: before})


def _products():
    """Returns a sum of products that bfloat16 rounds otherwise than float32."""
    import tensorflow as tf

    @tf.function
    def multiply(matrix):
        for _ in range(3):
            matrix = tf.nn.relu(tf.matmul(matrix, matrix))
        return tf.reduce_sum(matrix)

    return float(multiply(tf.fill([32, 32], 0.123456)))
