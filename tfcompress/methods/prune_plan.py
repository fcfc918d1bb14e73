"""What is to be pruned in a model, decided before anything is done, and its masks."""

import dataclasses
import difflib
import zlib
from typing import Any

import numpy as np

from tfcompress.compression_report import COMPRESSED, LEFT_ALONE, SKIPPED, LayerRow
from tfcompress.errors import InvalidValueError
from tfcompress.methods import masks
from tfcompress.methods.layer_weights import (
    ONLY_WHEN_NAMED,
    compressible_weights,
    trainable_weights,
)
from tfcompress.methods.method import Plan


@dataclasses.dataclass(frozen=True)
class Target:
    """One weight to prune.

    Args:
        layer: its layer's name.
        weight: its name in the layer, as `layer_weights` has it.
        shape: its shape.
        axis: axis along which groups of m by n lie.
        settings: `PruneConfig` of this layer.
    """

    layer: str
    weight: str
    shape: tuple[int, ...]
    axis: int
    settings: Any

    @property
    def size(self):
        """Number of weights."""
        return int(np.prod(self.shape))

    def num_zeros(self, sparsity):
        """Returns how many weights of this target are zero at a sparsity."""
        if self.settings.sparsity_m_by_n:  # whole groups
            return round(self.settings.sparsity * self.size) if sparsity else 0
        block = int(np.prod(self.settings.block_shape))
        return round(sparsity * (self.size // block)) * block


def plan_pruning(model, config):
    """Decides what becomes of each layer.

    Args:
        model: flat tf_keras model.
        config: `PruneConfig`.
    Returns:
        `Plan` whose work is a tuple of `Target`, in model order.
    Raises:
        InvalidValueError: if a rule cannot be followed, blocks do not divide a weight,
            or a weight holds what is no number.
    """
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    overrides = config.layers.plan(kinds)
    rows, targets = [], []
    for layer in model.layers:
        named = config.layers.names(layer.name, kinds[layer.name])
        row, of_layer = _plan_layer(layer, config, overrides[layer.name], named)
        rows.append(row)
        targets += of_layer
    return Plan(config, tuple(rows), tuple(targets))


def find_masks(targets, values, sparsity_of, importance):
    """Chooses the weights to keep; a weight that is zero already is never kept.

    Args:
        targets: sequence of `Target`, all of one scope.
        values: one float array for each.
        sparsity_of: function of a `PruneConfig` to the fraction of zeros.
        importance: `(layer name, weight name)` -> array of `fisher_information`; empty
            where the criterion is another.
    Returns:
        List of bool arrays, true where the weight is kept.
    """
    scores = [
        _scores(target, value, importance.get((target.layer, target.weight)))
        for target, value in zip(targets, values, strict=True)
    ]
    if targets and targets[0].settings.scope == "global":
        sparsity = sparsity_of(targets[0].settings)
        num_blocks = sum(array.size for array in scores)
        kept = masks.keep_largest(scores, round(sparsity * num_blocks))
    else:
        kept = [
            _keep(target, array, sparsity_of(target.settings))
            for target, array in zip(targets, scores, strict=True)
        ]
    return [
        _spread(target, mask) & (value != 0)
        for target, mask, value in zip(targets, kept, values, strict=True)
    ]


def _spread(target, mask):
    """Returns the mask of the weights; of blocks, that of the blocks is given."""
    if target.settings.structure == "block":
        return masks.spread_blocks(mask, target.settings.block_shape, target.shape)
    return mask


def _scores(target, value, importance):
    settings = target.settings
    if importance is not None:
        scores = masks.fisher_scores(value, importance)
    elif settings.criterion == "random":
        name = f"{target.layer}/{target.weight}".encode()
        scores = masks.random_scores(value, [settings.seed, zlib.crc32(name)])
    else:
        scores = masks.magnitude_scores(value)
    if settings.structure == "block":
        return masks.block_means(scores, settings.block_shape)
    return scores


def _keep(target, scores, sparsity):
    m_by_n = target.settings.sparsity_m_by_n
    if m_by_n and sparsity:
        return masks.keep_m_by_n(scores, m_by_n, target.axis)
    return masks.keep_largest([scores], round(sparsity * scores.size))[0]


def _plan_layer(layer, config, override, named):
    """Returns a layer's row and its targets."""
    kind = type(layer).__name__
    row = LayerRow(name=layer.name, kind=kind, status=LEFT_ALONE)
    if override is None:
        return dataclasses.replace(row, reason="a rule leaves it alone"), []
    weights = _chosen_weights(layer, override, named)
    if isinstance(weights, str):
        return dataclasses.replace(row, reason=weights), []
    settings = config.with_rule(override)
    row = dataclasses.replace(row, requested=_requested(settings))
    targets, reasons = [], []
    for name, weight in weights.items():
        shape = tuple(weight.shape)
        target = Target(layer.name, name, shape, _group_axis(kind, shape), settings)
        reason = _obstacle(target, kind, named)
        if not np.isfinite(weight.numpy()).all():
            raise InvalidValueError(
                f"Layer {layer.name!r} ({kind}) cannot be pruned: its {name} holds "
                "NaN or infinity. Train the model anew, or leave the layer alone with "
                f"layers={{{layer.name!r}: None}}."
            )
        if reason:
            reasons.append(reason)
        else:
            targets.append(target)
    status = COMPRESSED if targets else SKIPPED
    reason = "; ".join(reasons) or None
    return dataclasses.replace(row, status=status, reason=reason), targets


def _chosen_weights(layer, override, named):
    """Returns weight name -> variable, or why there is none."""
    kind = type(layer).__name__
    every = trainable_weights(layer)
    if "weights" in override:
        for name in override["weights"]:
            if name not in every:
                raise InvalidValueError(_no_weight_message(layer, name, every))
        return {name: every[name] for name in override["weights"]}
    weights = compressible_weights(layer)
    if not layer.weights:
        return "it has no weights"
    if not weights and named:
        choices = f" Name some of its weights: {', '.join(every)}." if every else ""
        raise InvalidValueError(
            f"Layer {layer.name!r} ({kind}) cannot be pruned: it has no kernel that "
            f"pruning knows.{choices} Or leave it alone with layers="
            f"{{{layer.name!r}: None}}."
        )
    if not weights:
        return "its weights are pruned only when named"
    if kind in ONLY_WHEN_NAMED and not named:
        return "a depthwise kernel is pruned only when named"
    return weights


def _no_weight_message(layer, name, every):
    close = difflib.get_close_matches(name, every, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"Layer {layer.name!r} ({type(layer).__name__}) has no trainable weight "
        f"{name!r}.{hint} Its weights: {', '.join(every) or 'none'}."
    )


def _requested(settings):
    """Returns the settings for the report, those without effect left out."""
    names = ["sparsity", "criterion", "scope", "schedule"]
    requested = {name: getattr(settings, name) for name in names}
    if settings.structure == "block":
        requested["block_shape"] = list(settings.block_shape)
    if settings.sparsity_m_by_n:
        requested["sparsity_m_by_n"] = list(settings.sparsity_m_by_n)
    return requested


def _group_axis(kind, shape):
    """Returns the axis of the inputs that are added up; an embedding's row."""
    if kind == "Embedding" or kind.endswith("Transpose") or len(shape) == 1:
        return -1
    return -2


def _obstacle(target, kind, named):
    """Returns why a weight is skipped, or `None`; raises where that cannot be meant."""
    settings = target.settings
    what = f"Layer {target.layer!r} ({kind}) cannot be pruned"
    advice = f"Leave the layer alone with layers={{{target.layer!r}: None}}, or ask "
    if settings.structure == "block":
        matrix = (target.size // target.shape[-1], target.shape[-1])
        if any(np.mod(matrix, settings.block_shape)):
            raise InvalidValueError(
                f"{what} in blocks of {settings.block_shape}: its {target.weight} has "
                f"shape {target.shape}, a matrix of {matrix}, which they do not "
                f"divide. {advice}for another block_shape there."
            )
    if settings.sparsity_m_by_n:
        m, n = settings.sparsity_m_by_n
        length = target.shape[target.axis]
        if length % n:
            axis = len(target.shape) + target.axis
            need = f"{m}:{n} needs a multiple of {n} along axis {axis}"
            if named:
                raise InvalidValueError(
                    f"{what} {m}:{n}: its {target.weight} has shape {target.shape}, "
                    f"and {need}, which is {length}. {advice}for unstructured sparsity."
                )
            return f"{target.weight} has shape {target.shape}, and {need}"
    if settings.scope == "layer" and not target.num_zeros(settings.sparsity):
        return (
            f"{target.weight} has {target.size} weights, too few for one zero at "
            f"{settings.sparsity:g}"
        )
    return None
