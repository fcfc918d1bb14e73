"""Finds the ranges of activations on training examples, before training."""

import math

import numpy as np

from tfcompress.errors import InvalidValueError
from tfcompress.methods.sensitivity import arrange_inputs

_PERCENTILE = 99.99
_NUM_BINS = 4096


def calibrate(model, ranges, training, config):
    """Sets the ranges of a quantized model from what flows through it.

    Args:
        model: what `qat_scheme.quantize` made; its weights are quantized already.
        ranges: layer name -> `RangeQuantizer`.
        training: `Training` whose `batches` are used; nothing is fitted.
        config: `QatConfig`.
    Raises:
        InvalidValueError: if there is no example, all are the same, or an output is
            not finite.
    """
    examples = config.calibration_examples
    _check_examples(training, examples)
    limits = {name: _Limits() for name in ranges}
    _observe(model, ranges, limits, training, examples)
    for name, found in limits.items():
        check_range(name, found.low, found.high)
    if config.range_estimator == "percentile":
        histograms = {name: _Histogram(limits[name]) for name in ranges}
        _observe(model, ranges, histograms, training, examples)
    for name, quantizer in ranges.items():
        full = limits[name]
        if config.range_estimator == "min_max":
            quantizer.set(min(full.low, 0.0), max(full.high, 0.0))
            continue
        low, high = histograms[name].percentiles()
        low, high = min(low, 0.0), max(high, 0.0)
        quantizer.set(low, high, (_share(low, full.low), _share(high, full.high)))


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


class _Limits:
    """The smallest and largest value of a tensor over all batches."""

    def __init__(self):
        self.low, self.high = math.inf, -math.inf

    def __call__(self, values):
        values = np.asarray(values, np.float32)
        # np.minimum passes NaN on, which min() may not.
        self.low = float(np.minimum(self.low, values.min()))
        self.high = float(np.maximum(self.high, values.max()))


class _Histogram:
    """Counts the values of a tensor in bins between its limits."""

    def __init__(self, limits):
        self._limits = (limits.low, limits.high)
        self._counts = np.zeros(_NUM_BINS, np.int64)

    def __call__(self, values):
        values = np.asarray(values, np.float32)
        self._counts += np.histogram(values, _NUM_BINS, self._limits)[0]

    def percentiles(self):
        """Returns the ends of bins below and above which the fewest values lie."""
        low, high = self._limits
        width = (high - low) / _NUM_BINS
        below = np.cumsum(self._counts)
        outside = (1 - _PERCENTILE / 100) * below[-1]
        first = int(np.searchsorted(below, outside, side="right"))
        last = int(np.searchsorted(below, below[-1] - outside, side="left"))
        return low + first * width, low + (last + 1) * width


def _share(end, full):
    """Returns which share of a full range's end is taken; 1 where both are 0."""
    return end / full if full else 1.0


def _observe(model, ranges, observers, training, num_examples):
    """Runs examples through the model and shows its outputs to observers."""
    import tensorflow as tf

    try:
        for name, quantizer in ranges.items():
            quantizer.observe = observers[name]
        for inputs in _examples(training, num_examples):
            batch = {name: tf.constant(array) for name, array in inputs.items()}
            model(arrange_inputs(model, batch), training=False)
    finally:
        for quantizer in ranges.values():
            quantizer.observe = None


def _examples(training, num_examples):
    """Yields the inputs of the first examples of the training, by batches."""
    left = num_examples
    for inputs, labels in training.batches(num_examples):
        yield {name: array[:left] for name, array in inputs.items()}
        left -= len(labels)
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
