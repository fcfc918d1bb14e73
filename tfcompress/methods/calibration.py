"""Finds the ranges of activations on training examples, before training."""

import functools
import math

import numpy as np

from tfcompress.activation_ranges import Ranges
from tfcompress.errors import InvalidValueError
from tfcompress.methods.sensitivity import arrange_inputs

_PERCENTILE = 99.99


def calibrate(model, ranges, training, config):
    """Sets the ranges of a quantized model from what flows through it.

    Args:
        model: what `constrain` made with these ranges; its weights are quantized
            already.
        ranges: layer name -> `OutputRange`.
        training: `Training` whose `batches` are used; nothing is fitted.
        config: `QatConfig`.
    Raises:
        InvalidValueError: if there is no example, all are the same, or an output is
            not finite.
    """
    examples = config.calibration_examples
    _check_examples(training, examples)
    is_clipped = config.range_estimator == "percentile"
    found = Ranges(1 - _PERCENTILE / 100 if is_clipped else 0.0)
    _observe(model, ranges, found, training, examples)
    for name, output_range in ranges.items():
        low, high = found[name]
        least, greatest = found.limits(name)
        if is_clipped:
            output_range.set(low, high, (_share(low, least), _share(high, greatest)))
        else:
            output_range.set(low, high)


def check_range(name, low, high):
    """Raises if the range of a layer's output is not finite.

    Args:
        name: layer name.
        low: the range's lower end.
        high: its upper end.
    Raises:
        InvalidValueError: that names the layer.
    """
    if math.isfinite(low) and math.isfinite(high):
        return
    raise InvalidValueError(
        f"The output of layer {name!r} ranges from {low} to {high} on the training "
        "examples: it cannot be quantized. Check the data and the weights, or leave "
        f"the layer alone with layers={{{name!r}: None}}."
    )


def _share(end, full):
    """Returns which share of a full range's end is taken; 1 where both are 0."""
    return end / full if full else 1.0


def _observe(model, ranges, found, training, num_examples):
    """Runs examples through the model and adds its layers' outputs to `found`."""
    import tensorflow as tf

    def add(name, values):
        values = np.asarray(values, np.float32)
        check_range(name, float(values.min()), float(values.max()))
        found.add(name, values)

    try:
        for name, output_range in ranges.items():
            output_range.observe = functools.partial(add, name)
        for inputs in _examples(training, num_examples):
            batch = {name: tf.constant(array) for name, array in inputs.items()}
            model(arrange_inputs(model, batch), training=False)
    finally:
        for output_range in ranges.values():
            output_range.observe = None


def _examples(training, num_examples):
    """Yields the inputs of the first examples of the training, by batches."""
    left = num_examples
    for inputs, _ in training.batches(num_examples):
        yield {name: array[:left] for name, array in inputs.items()}
        left -= len(next(iter(inputs.values())))
        if left <= 0:
            break


def _check_examples(training, num_examples):
    """Refuses examples that say nothing of a range."""
    count, distinct = 0, set()
    for inputs in _examples(training, num_examples):
        for example in zip(*inputs.values(), strict=True):
            count += 1
            distinct.add(b"".join(array.tobytes() for array in example))
    if count == 0:
        problem = "has no example"
    elif len(distinct) == 1 and num_examples > 1:
        problem = f"has {count} examples that are all the same,"
    else:
        return
    raise InvalidValueError(
        f"The training {problem} to find the ranges of activations with. Give it the "
        "training split, or take scheme='dynamic_range'."
    )
