"""Pruning by stock TFMOT: `prune_low_magnitude` on the layers of a bridged model."""

import dataclasses

from tfcompress.compression_report import CompressionReport, measure_weight
from tfcompress.methods.layer_weights import ONLY_WHEN_NAMED, weight_place
from tfcompress.methods.method import Plan
from tfcompress.methods.prune_plan import plan_pruning
from tfcompress.methods.stock.wrapping import (
    fresh_copy,
    obstacle,
    one_line_refusals,
    restrict,
    wrap,
)


def plan_stock_pruning(model, config):
    """Decides what TFMOT prunes; arguments and result are as of `plan_pruning`."""
    plan = plan_pruning(model, config)
    ranks = {target.layer: len(target.shape) for target in plan.work}

    def takes(row):
        layer = model.get_layer(row.name)
        if reason := obstacle(layer):
            return reason
        if row.kind in ONLY_WHEN_NAMED or not _is_prunable(layer):
            return f"TFMOT prunes nothing in layers of type {row.kind}"
        if "block_shape" in row.requested and ranks[row.name] != 2:
            return f"TFMOT prunes blocks of matrices, not of rank {ranks[row.name]}"
        if "sparsity_m_by_n" in row.requested and ranks[row.name] not in (2, 4):
            return f"TFMOT prunes m by n in rank 2 and 4, not {ranks[row.name]}"
        return None

    rows, left = restrict(plan, takes)
    work = tuple(target for target in plan.work if target.layer not in left)
    return Plan(config, rows, work)


def run_stock_pruning(model, plan, fitting):
    """Prunes a copy of `model` during training, as TFMOT does.

    Arguments and result are as of `run_pruning`. The number of zeros is what TFMOT's
    thresholds make it; where a training ends before the schedule does, so do they.
    """
    import tensorflow_model_optimization as tfmot

    stock = tfmot.sparsity.keras
    settings = {target.layer: target.settings for target in plan.work}

    def wrapper(layer):
        of_layer = settings[layer.name]
        return stock.prune_low_magnitude(
            layer,
            _schedule(of_layer, fitting.training),
            block_size=of_layer.block_shape,
            sparsity_m_by_n=of_layer.sparsity_m_by_n,
        )

    with one_line_refusals("prune"):
        wrapped = wrap(model, settings.keys(), wrapper)
    log = fitting.fit(wrapped, [stock.UpdatePruningStep()])
    with one_line_refusals("prune"):
        for layer in wrapped.layers:
            if hasattr(layer, "pruning_obj"):
                # The last optimizer step has moved what was masked before it.
                layer.pruning_obj.weight_mask_op()
        stripped = stock.strip_pruning(wrapped)
    pruned = fresh_copy(model, lambda name: stripped.get_layer(name).get_weights())
    return pruned, CompressionReport(rows=_measure(pruned, plan), training_log=log)


def _schedule(settings, training):
    """Returns TFMOT's schedule of a layer. TFMOT counts steps from 1."""
    import tensorflow_model_optimization as tfmot

    schedules = tfmot.sparsity.keras
    if not settings.is_gradual:  # once, before the first step
        return schedules.ConstantSparsity(
            settings.sparsity, begin_step=1, end_step=2, frequency=2
        )
    begin = round(settings.begin * training.num_steps) + 1
    end = max(round(settings.end * training.num_steps), begin + 1)
    frequency = min(settings.frequency, end - begin)
    # TFMOT prunes to the end's sparsity only where the frequency meets the end.
    end = begin + (end - begin) // frequency * frequency
    steps = {"begin_step": begin, "end_step": end, "frequency": frequency}
    if settings.schedule == "constant":
        return schedules.ConstantSparsity(settings.sparsity, **steps)
    return schedules.PolynomialDecay(0.0, settings.sparsity, **steps)


def _measure(pruned, plan):
    """Returns the rows with what was measured, and where zeros are missing."""
    found, missing = {}, {}
    for target in plan.work:
        holder, name = weight_place(pruned.get_layer(target.layer), target.weight)
        measured = measure_weight(getattr(holder, name).numpy())
        found.setdefault(target.layer, {})[target.weight] = measured
        zeros = measured["num_weights"] - measured["num_nonzero"]
        asked = target.num_zeros(target.settings.sparsity)
        if zeros < asked:
            missing[target.layer] = f"{target.weight}: {zeros} zeros instead of {asked}"
    return tuple(
        dataclasses.replace(
            row,
            stripped=found.get(row.name, {}),
            reason="; ".join(x for x in (row.reason, missing.get(row.name)) if x)
            or None,
        )
        for row in plan.rows
    )


def _is_prunable(layer):
    """Whether TFMOT takes a layer; it says so by raising."""
    import tensorflow_model_optimization as tfmot

    try:
        tfmot.sparsity.keras.prune_low_magnitude(
            layer.__class__.from_config(layer.get_config())
        )
    except ValueError:
        return False
    return True
