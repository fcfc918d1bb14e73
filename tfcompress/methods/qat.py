"""Quantization-aware training: the weights come to lie on an integer grid.

Use it where the file is to hold integers: a tool that quantizes the trained model by
the same rule (symmetric, by output channel, largest magnitude) writes the very integers
that were trained, of which the loss has seen every rounding. With `"static_range"` the
activations are rounded too, within ranges that are found before training, follow it and
are frozen at its end. Biases and normalizations stay float, as they do in the runtimes'
kernels; so do masks, token ids and the model's output.

Zeros and clusters that the model comes with are kept: `prune(0.5)+cluster(16)+qat`.

Source: Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference (arXiv:1712.05877), section 3.
"""

import dataclasses
import math

from tfcompress.compression_report import CompressionReport, measure_weight
from tfcompress.methods.calibration import calibrate, check_range
from tfcompress.methods.centroids import output_axis
from tfcompress.methods.codebooks import TensorCodebook
from tfcompress.methods.constrained import constrain, strip
from tfcompress.methods.layer_weights import compressible_weights, weight_place
from tfcompress.methods.output_range import OutputRange
from tfcompress.methods.quantized_weights import grid_constraint, keeping_constraint
from tfcompress.methods.schedules import step_callback

# Share of the way to a batch's range that a range goes in a step: it follows some 100
# steps, of an epoch of hundreds.
_RATE = 0.01


def run_quantization(model, plan, fitting):
    """Quantizes the weights of a copy of `model`, and trains it so.

    Args:
        model: flat functional tf_keras model; it is left as it was.
        plan: `Plan` of `plan_quantization`.
        fitting: `Fitting`: the training to fit and to find ranges with. Not fitted:
            weights are put on their grids, once.
    Returns:
        `(quantized, report)`: a tf_keras model of the same layers, stripped of every
        wrapper, whose quantized weights are whole numbers times a scale, and a
        `CompressionReport` with a row for every layer. Its structures have `"scale"`
        (float32, `()` or `(channels,)`) and `"bits"` of each weight, the codebook where
        it is clustered, and for `(layer name, "output")` the range of the output,
        `"minimum"` and `"maximum"`, float32 `()`.
    Raises:
        InvalidValueError: if a range is not finite.
    """
    import tensorflow as tf

    config, training = plan.config, fitting.training
    constraints = _constraints(model, plan)
    rate = tf.Variable(_RATE, trainable=False, dtype="float32")
    ranges = {name: OutputRange(rate) for name in plan.work.ranges}
    wrapped = constrain(model, constraints, ranges)
    if ranges:
        calibrate(wrapped, ranges, training, config)
    is_frozen_late = ranges and fitting.is_fitted
    callbacks = [_freezing(rate, config, training)] if is_frozen_late else []
    training_log = fitting.fit(wrapped, callbacks)
    quantized = strip(wrapped, model)
    rows, structures = _measure(quantized, plan, constraints)
    for name, output_range in ranges.items():
        low, high = output_range.minimum.numpy(), output_range.maximum.numpy()
        check_range(name, float(low), float(high))
        structures[name, "output"] = {"minimum": low, "maximum": high}
    report = CompressionReport(
        rows=rows, structures=structures, training_log=training_log
    )
    return quantized, report


def _constraints(model, plan):
    """Returns layer name -> weight name -> the constraint of the weight.

    A layer that stays float keeps what steps before made of its weights.
    """
    constraints = {}
    for layer in model.layers:
        of_layer = {
            weight: grid_constraint(_variable(model, layer.name, weight).numpy(), grid)
            for weight, grid in plan.work.grids.get(layer.name, {}).items()
        } or _keeping_constraints(layer)
        if of_layer:
            constraints[layer.name] = of_layer
    return constraints


def _keeping_constraints(layer):
    """Returns weight name -> what keeps its zeros and clusters, where it has such."""
    kind = type(layer).__name__
    found = {}
    for weight, variable in compressible_weights(layer).items():
        axis = output_axis(kind, variable.shape.rank)
        constraint = keeping_constraint(variable.numpy(), axis)
        if constraint is not None:
            found[weight] = constraint
    return found


def _freezing(rate, config, training):
    """Returns the callback that stops the ranges near the training's end."""
    if config.freeze in (0, 1):  # whatever the number of steps
        last = 0 if config.freeze else math.inf
    else:
        last = round((1 - config.freeze) * training.num_steps)
    return step_callback(lambda step: rate.assign(_RATE if step < last else 0.0))


def _measure(quantized, plan, constraints):
    """Returns the rows with what was measured, and the structures of weights."""
    rows, structures = [], {}
    for row in plan.rows:
        name, stripped = row.name, {}
        for weight, constraint in constraints.get(name, {}).items():
            if weight not in plan.work.grids.get(name, {}):
                if isinstance(constraint, TensorCodebook):
                    structures[name, weight] = constraint.structure()
                continue
            values = _variable(quantized, name, weight).numpy()
            structure = constraint.structure(values)
            stripped[weight] = measure_weight(values)
            if "codebook" in structure:
                stripped[weight]["clusters_used"] = constraint.num_used()
            structures[name, weight] = structure
        rows.append(dataclasses.replace(row, stripped=stripped))
    return tuple(rows), structures


def _variable(model, layer, weight):
    return getattr(*weight_place(model.get_layer(layer), weight))
