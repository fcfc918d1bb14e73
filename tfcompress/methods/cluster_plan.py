"""What is to be clustered in a model, decided before anything is done."""

import dataclasses

import numpy as np

from tfcompress.compression_report import (
    COMPRESSED,
    LEFT_ALONE,
    SKIPPED,
    LayerRow,
    measure_weight,
)
from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import centroids
from tfcompress.methods.cluster_config import MIN_CLUSTERS, RULE_SETTINGS
from tfcompress.methods.layer_weights import ONLY_WHEN_NAMED, compressible_weights
from tfcompress.methods.method import Plan


def plan_clusters(model, config):
    """Decides what becomes of each layer.

    Args:
        model: flat tf_keras model.
        config: `ClusterConfig`.
    Returns:
        `Plan` whose work is a dict of `(layer name, weight name)` to `WeightPlan`, in
        model order.
    Raises:
        InvalidValueError: if a rule matches no layer, or a layer cannot be clustered
            although a rule names it.
    """
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    overrides = config.layers.plan(kinds)
    rows, work = [], {}
    for layer in model.layers:
        row, weights = _plan_layer(layer, config, overrides[layer.name])
        rows.append(row)
        work |= {(layer.name, weight): plan for weight, plan in weights.items()}
    return Plan(config, tuple(rows), work)


def _plan_layer(layer, config, override):
    """Returns a layer's row and its `WeightPlan`s; `override` is what its rule sets."""
    kind = type(layer).__name__
    named = config.layers.names(layer.name, kind)
    if reason := _reason_to_leave(layer, override, named):
        return _row(layer, LEFT_ALONE, reason), {}
    settings = dataclasses.replace(config, layers=LayerRules(), **override)
    requested = {
        name: getattr(settings, name)
        for name in RULE_SETTINGS
        if name != "block_size" or settings.block_size is not None
    }
    weights = compressible_weights(layer)
    arrays = {name: weight.numpy() for name, weight in weights.items()}
    _check_finite(layer, arrays)
    num_values = {
        name: measure_weight(array)["distinct_values"] for name, array in arrays.items()
    }
    if obstacle := _obstacle(arrays, num_values, kind, settings):
        if named and override.get("block_size"):
            raise _cannot_be_clustered(layer, obstacle)
        return _row(layer, SKIPPED, obstacle, requested), {}
    plans, remarks = {}, []
    for name, array in arrays.items():
        plans[name] = _plan_weight(array, num_values[name], kind, settings)
        if plans[name].num_clusters < settings.num_clusters:
            remarks.append(
                f"{plans[name].num_clusters} clusters instead of "
                f"{settings.num_clusters}: {name} has {num_values[name]} distinct "
                "values"
            )
    reason = "; ".join(remarks) or None
    return _row(layer, COMPRESSED, reason, requested), plans


def _reason_to_leave(layer, override, named):
    """Returns why a layer is not clustered, or `None`; a rule may insist and raise."""
    if override is None:
        return "a rule leaves it alone"
    if not layer.weights:
        return "it has no weights"
    if not compressible_weights(layer):
        reason = "it has no kernel that clustering knows"
        if named:
            raise _cannot_be_clustered(layer, reason)
        return reason
    if type(layer).__name__ in ONLY_WHEN_NAMED and not named:
        return "a depthwise kernel is clustered only when named"
    return None


def _row(layer, status, reason, requested=None):
    return LayerRow(
        name=layer.name,
        kind=type(layer).__name__,
        status=status,
        reason=reason,
        requested=requested or {},
    )


def _cannot_be_clustered(layer, obstacle):
    return InvalidValueError(
        f"Layer {layer.name!r} ({type(layer).__name__}) cannot be clustered: "
        f"{obstacle}. Leave it alone with layers={{{layer.name!r}: None}}, or take the "
        "rule that names it away."
    )


def _check_finite(layer, arrays):
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InvalidValueError(
                f"Weight {name!r} of layer {layer.name!r} ({type(layer).__name__}) has "
                "values that are not finite. Check the training that made it, or leave "
                f"the layer alone with layers={{{layer.name!r}: None}}."
            )


def _obstacle(arrays, num_values, kind, settings):
    """Returns why the weights of a layer cannot be clustered, or `None`."""
    for name, array in arrays.items():
        if num_values[name] < MIN_CLUSTERS:
            return f"all weights of {name} have one value"
        if settings.block_size is None:
            continue
        axis = centroids.input_axis(kind, array.ndim)
        if array.shape[axis] % settings.block_size:
            return (
                f"block_size {settings.block_size} does not divide axis {axis} of "
                f"{name}, shape {array.shape}"
            )
        if np.abs(array).max() > centroids.MAX_SCALE:
            return (
                f"{name} has magnitudes above {centroids.MAX_SCALE:.0f}, the largest "
                "float16 scale"
            )
    return None


def _plan_weight(array, num_values, kind, settings):
    """Returns the `WeightPlan` of a weight that has so many distinct values."""
    is_blocked = settings.block_size is not None
    is_per_channel = settings.granularity == "per_channel"
    return centroids.WeightPlan(
        num_clusters=min(settings.num_clusters, num_values),
        centroid_init=settings.centroid_init,
        keeps_zeros=settings.keep_zeros and centroids.has_zeros_to_keep(array),
        channel_axis=centroids.output_axis(kind, array.ndim)
        if is_per_channel
        else None,
        block_axis=centroids.input_axis(kind, array.ndim) if is_blocked else None,
        block_size=settings.block_size,
        refresh_steps=settings.refresh_steps,
    )
