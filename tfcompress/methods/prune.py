"""Pruning: a given share of the weights becomes zero and stays so.

Use it where zeros save something: a pruned weight costs one bit in a coded file, 2:4
and blocks are what hardware skips. Biases, normalizations and depthwise kernels are
left alone unless a rule names them: few weights that much depends on.

A masked weight computes as zero, keeps its value and gets no gradient. The gradient is
then that of the model as it computes, and a weight that was masked early in a gradual
schedule can come back with the value it had. TFMOT writes zeros into the weight instead
and lets the gradient move them, so that what comes back is one optimizer step's noise.

Source: Zhu and Gupta 2017, To prune, or not to prune (arXiv:1710.01878), section 3;
LeCun et al., Optimal Brain Damage (NIPS 1989), for the criterion "fisher".
"""

import dataclasses

import numpy as np

from tfcompress.compression_report import CompressionReport, measure_weight
from tfcompress.methods.constrained import WeightConstraint, constrain, strip
from tfcompress.methods.layer_weights import weight_place
from tfcompress.methods.prune_plan import find_masks
from tfcompress.methods.schedules import PruningSchedule, step_callback
from tfcompress.methods.sensitivity import fisher_information

# In means of the tensor; chosen on MiniLM (docs/decisions/pruning.md).
_FISHER_DAMPING = 0.1


def run_pruning(model, plan, fitting):
    """Prunes the weights of a copy of `model`.

    Zeros that the model has already are kept and count as asked for.

    Args:
        model: flat functional tf_keras model; it is left as it was.
        plan: `Plan` of `plan_pruning`.
        fitting: `Fitting`: the training to fine-tune with and to measure `"fisher"` on.
    Returns:
        `(pruned, report)`: a tf_keras model of the same layers and a
        `CompressionReport` with a row for every layer. Every weight, or all together
        with `scope="global"`, has exactly `round(sparsity * size)` zeros (of blocks:
        that share of the blocks), or more where it had more.
    """
    config, targets = plan.config, plan.work
    importance = _importance(model, targets, config, fitting.training)
    values = [_variable(model, target).numpy() for target in targets]
    if not fitting.is_fitted:
        kept = find_masks(targets, values, _final_sparsity, importance)
        pruned = _write(model, targets, values, kept)
        return pruned, _report(pruned, plan.rows, targets, {}, None)
    if config.is_gradual:
        kept = [value != 0 for value in values]
    else:
        kept = find_masks(targets, values, _final_sparsity, importance)
    constraints = [MaskedWeight(mask) for mask in kept]
    del values, kept
    by_layer = {}
    for target, constraint in zip(targets, constraints, strict=True):
        by_layer.setdefault(target.layer, {})[target.weight] = constraint
    wrapped = constrain(model, by_layer)
    chooser = _MaskChooser(targets, constraints, importance)
    callbacks = _callbacks(config, fitting.training, chooser)
    log = fitting.fit(wrapped, callbacks)
    reasons = _complete(chooser) if config.is_gradual else {}
    pruned = strip(wrapped, model)
    return pruned, _report(pruned, plan.rows, targets, reasons, log)


class MaskedWeight(WeightConstraint):
    """Computes with zero where a mask says so; the gradient is zero there too.

    Args:
        mask: bool array of the weight's shape, true where the weight counts.
    """

    def __init__(self, mask):
        self._first_mask = mask
        self.weight = self.mask = None  # variables, once built

    def build(self, name, weight, add_weight):
        """Makes the mask: one byte a weight."""
        self.weight = weight
        self.mask = add_weight(
            "mask",
            shape=weight.shape,
            dtype="bool",
            initializer="zeros",
            trainable=False,
        )
        self.mask.assign(self._first_mask)
        self._first_mask = None

    def __call__(self, weight, training):
        """Returns `weight` where the mask is true, else 0.0, never -0.0."""
        import tensorflow as tf

        mask = tf.identity(self.mask)

        @tf.custom_gradient
        def masked(weight):
            def gradient(upstream):
                if not isinstance(upstream, tf.IndexedSlices):
                    return _keep(upstream, mask)
                # An embedding's gradient stays one of the rows that were looked up.
                rows = tf.gather(mask, upstream.indices)
                return tf.IndexedSlices(
                    _keep(upstream.values, rows), upstream.indices, upstream.dense_shape
                )

            return _keep(weight, mask), gradient

        return masked(tf.convert_to_tensor(weight))


def _keep(values, mask):
    """Returns the values where the mask is true, else 0.0."""
    import tensorflow as tf

    # A third of the time of tf.where.
    return tf.math.multiply_no_nan(values, tf.cast(mask, values.dtype))


def _final_sparsity(settings):
    return settings.sparsity


def _importance(model, targets, config, training):
    """Returns the Fisher information of the targets where the criterion wants it."""
    if config.criterion != "fisher":
        return {}
    return fisher_information(
        model,
        [(target.layer, target.weight) for target in targets],
        training,
        config.sensitivity_examples,
        damping=_FISHER_DAMPING,
    )


class _MaskChooser:
    """Makes new masks of the weights as they are now.

    Args:
        targets: tuple of `Target`.
        constraints: their `MaskedWeight`s, built.
        importance: as `find_masks` takes it; it stays that of the unpruned model.
    """

    def __init__(self, targets, constraints, importance):
        self.targets = targets
        self.constraints = constraints
        self._importance = importance

    def choose(self, sparsity_of):
        """Sets the masks; `sparsity_of` is as of `find_masks`."""
        values = [constraint.weight.numpy() for constraint in self.constraints]
        kept = find_masks(self.targets, values, sparsity_of, self._importance)
        for constraint, mask in zip(self.constraints, kept, strict=True):
            constraint.mask.assign(mask)


def _callbacks(config, training, chooser):
    """Returns the callback that prunes during training, none of one-shot pruning."""
    if not config.is_gradual:
        return []
    schedule = PruningSchedule(config, training.num_steps)

    def on_step(step):
        # All layers share the steps, if not the sparsity.
        if schedule.sparsity_at(step, config.sparsity) is not None:
            chooser.choose(lambda s: schedule.sparsity_at(step, s.sparsity))

    return [step_callback(on_step)]


def _complete(chooser):
    """Prunes what a training that ended before the schedule did has left.

    Returns:
        Layer name -> reason for the report, empty where the schedule was complete.
    """
    zeros = sum(np.count_nonzero(~c.mask.numpy()) for c in chooser.constraints)
    if zeros >= _num_asked(chooser.targets):
        return {}
    chooser.choose(_final_sparsity)
    reason = (
        "the training ended, or went back to the weights of an epoch, before the "
        "schedule's end: the rest was pruned at once"
    )
    return {target.layer: reason for target in chooser.targets}


def _num_asked(targets):
    """Returns the zeros asked for in all targets together."""
    if targets and targets[0].settings.scope == "global":
        settings = targets[0].settings
        block = int(np.prod(settings.block_shape))
        num_blocks = sum(target.size for target in targets) // block
        return round(settings.sparsity * num_blocks) * block
    return sum(target.num_zeros(target.settings.sparsity) for target in targets)


def _variable(model, target):
    holder, attribute = weight_place(model.get_layer(target.layer), target.weight)
    return getattr(holder, attribute)


def _write(model, targets, values, kept):
    """Returns a copy of `model` with zeros outside of the masks."""
    import tf_keras

    pruned = tf_keras.models.clone_model(model)
    pruned.set_weights(model.get_weights())
    for target, value, mask in zip(targets, values, kept, strict=True):
        _variable(pruned, target).assign(np.where(mask, value, value.dtype.type(0)))
    return pruned


def _report(pruned, rows, targets, reasons, log):
    """Adds to the rows what was measured in the model, and checks it."""
    measured, zeros = {}, 0
    for target in targets:
        found = measure_weight(_variable(pruned, target).numpy())
        measured.setdefault(target.layer, {})[target.weight] = found
        zeros += found["num_weights"] - found["num_nonzero"]
    if zeros < _num_asked(targets):
        raise RuntimeError(f"{zeros} zeros where {_num_asked(targets)} were asked for")
    finished = []
    for row in rows:
        weights = measured.get(row.name, {})
        notes = [row.reason, reasons.get(row.name), *_remarks(weights, targets, row)]
        reason = "; ".join(note for note in notes if note) or None
        finished.append(dataclasses.replace(row, reason=reason, stripped=weights))
    return CompressionReport(rows=tuple(finished), training_log=log)


def _remarks(weights, targets, row):
    """Yields what a reader of the report has to know about a layer's zeros."""
    for target in targets:
        if target.layer != row.name:
            continue
        found = weights[target.weight]
        zeros = found["num_weights"] - found["num_nonzero"]
        if zeros == found["num_weights"]:
            yield f"all of {target.weight} is zero"
        elif target.settings.scope == "layer" and zeros > target.num_zeros(
            target.settings.sparsity
        ):
            yield (
                f"{target.weight} had zeros before: {zeros} instead of "
                f"{target.num_zeros(target.settings.sparsity)}"
            )
