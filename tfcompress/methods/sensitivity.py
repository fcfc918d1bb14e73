"""How much the loss depends on each weight: the diagonal of the Fisher information.

Moving a weight by d changes the loss of a trained model by about F d^2 / 2, with F the
mean over examples of the squared gradient. As importance of values in k-means it puts
centroids where the weights are that matter; times the squared weight it is what zeroing
the weight costs. Neither takes fine-tuning.

A few hundred examples say little of a single weight, and nothing of an embedding's rows
that do not occur in them. `fisher_information` therefore adds a share of the mean of
the weight's tensor, the damping, to each (docs/decisions/clustering.md and pruning.md
have what different ones gave).

Source: LeCun et al., Optimal Brain Damage (NIPS 1989), for pruning; Choi et al.,
Towards the Limit of Network Quantization (arXiv:1612.01543), section 3, for k-means;
Kunstner et al. (arXiv:1905.12558) for what the empirical Fisher, with the labels of the
data, is and is not.
"""

from collections.abc import Mapping

import numpy as np

from tfcompress.errors import InvalidValueError
from tfcompress.methods.layer_weights import weight_place

SENSITIVITIES = ("fisher",)
# Where no gradient reaches a tensor all its weights have this, the least there is.
_LEAST = 1e-20


def fisher_information(model, weights, training, num_examples, *, damping):
    """Measures the importance of weights on training examples.

    Args:
        model: tf_keras model; it is left as it was.
        weights: list of `(layer name, weight name)`, names as of `layer_weights`.
        training: `Training` whose `batches` and `loss` are used (its `loss_for(model)`
            where it has one); nothing is fitted.
        num_examples: examples to measure on, the first of its batches; fewer where
            there are fewer.
        damping: what is added to each, in means of its tensor; at least 0.
    Returns:
        Dict of `(layer name, weight name)` to float32 array of the weight's shape:
        mean over the examples of the squared gradient, damped; above 0.
    Raises:
        InvalidValueError: if a gradient is not finite.
    """
    variables = [
        getattr(*weight_place(model.get_layer(layer), name)) for layer, name in weights
    ]
    sums, count = _squared_gradients(model, variables, training, num_examples)
    return {
        key: _damped(total.numpy() / np.float32(max(count, 1)), damping, key)
        for key, total in zip(weights, sums, strict=True)
    }


def _damped(squares, damping, key):
    mean = squares.mean(dtype=np.float64)
    if not np.isfinite(mean):
        raise InvalidValueError(
            f"The gradient of weight {key[1]!r} of layer {key[0]!r} is not finite on "
            "the training examples. Check the model's weights and the data, or do "
            "without sensitivity."
        )
    return np.maximum(squares + np.float32(damping * mean), np.float32(_LEAST))


def _squared_gradients(model, variables, training, num_examples):
    """Returns variables with the sums of squared gradients, and of how many."""
    import tensorflow as tf

    loss_for = getattr(training, "loss_for", None)
    loss_of = training.loss if loss_for is None else loss_for(model)
    sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]

    # Batches differ in length; one trace has to serve them all.
    @tf.function(reduce_retracing=True)
    def add(inputs, targets):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = loss_of(targets, model(inputs, training=False))
        for total, gradient in zip(sums, tape.gradient(loss, variables), strict=True):
            _add_square(total, gradient)

    done = 0
    for inputs, targets in training.batches(num_examples):
        size = len(next(iter(inputs.values())))
        for index in range(min(size, num_examples - done)):
            example = slice(index, index + 1)
            one = {name: tf.constant(array[example]) for name, array in inputs.items()}
            truth = _map(lambda array, at=example: tf.constant(array[at]), targets)
            add(arrange_inputs(model, one), truth)
            done += 1
        if done == num_examples:
            break
    return sums, done


def _map(function, targets):
    """Applies a function to the one array of targets, or to each by name."""
    if isinstance(targets, Mapping):
        return {name: function(array) for name, array in targets.items()}
    return function(targets)


def _add_square(total, gradient):
    import tensorflow as tf

    if gradient is None:  # the loss does not depend on it
        return
    if isinstance(gradient, tf.IndexedSlices):
        # A row that occurs twice in an example has one gradient, the sum of two.
        rows, places = tf.unique(gradient.indices)
        values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
        total.scatter_add(tf.IndexedSlices(tf.square(values), rows))
    else:
        total.assign_add(tf.square(gradient))


def arrange_inputs(model, inputs):
    """Arranges inputs by name as a tf_keras model takes its inputs."""
    if len(model.inputs) == 1 and len(inputs) == 1:
        return next(iter(inputs.values()))
    return {name: inputs[name] for name in model.input_names}
