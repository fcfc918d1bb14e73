"""Folds BatchNormalization before a recipe's steps, and says what stays unfolded.

Exporting multiplies a BatchNormalization into the layer before it, so that the few
values that a step gave the layer's weights become many. Where it is folded first the
steps see the weights as the file has them.
"""

import dataclasses
from collections.abc import Mapping

from tfcompress import bridge
from tfcompress.compression_report import COMPRESSED, FOLDED, LayerRow
from tfcompress.errors import InvalidValueError

FOLD_BATCH_NORM = ("auto", True, False)
_NUM_EXAMPLES = 3
_TRAINED, _UNWANTED = "training goes through it", "fold_batch_norm is False"


@dataclasses.dataclass(frozen=True)
class Folding:
    """What becomes of the BatchNormalization layers of a model.

    Attributes:
        into: name of each that is folded -> name of the layer that takes it in, as the
            layers of the bridged model are named.
        keep: names of those that stay, as `bridge.fold_batch_norm` takes them.
        lost: name of a layer whose values exporting will take -> the name of the
            BatchNormalization, and why it stays.
        warning: a line about `lost`, or `None`.
    """

    into: Mapping
    keep: frozenset
    lost: Mapping
    warning: str | None


def check_choice(fold_batch_norm):
    """Raises `InvalidValueError` if a choice is not of `FOLD_BATCH_NORM`."""
    if not any(fold_batch_norm is choice for choice in (True, False)) and (
        fold_batch_norm != "auto"
    ):
        raise InvalidValueError(
            "fold_batch_norm must be 'auto' (where nothing is trained through it), "
            f"True or False, got {fold_batch_norm!r}."
        )


def plan_folding(model, flat, rows, *, is_trained, choice):
    """Decides which BatchNormalization layers are folded before the steps.

    Args:
        model: Keras 3 model.
        flat: its bridged model.
        rows: list with the planned `LayerRow`s of each step.
        is_trained: whether a step is fitted.
        choice: one of `FOLD_BATCH_NORM`.
    Returns:
        `Folding`.
    """
    layers = {layer.name: layer for layer in flat.layers}
    if not any(type(x).__name__ == "BatchNormalization" for x in flat.layers):
        return Folding({}, frozenset(), {}, None)
    treated = [row for of_step in rows for row in of_step if row.status == COMPRESSED]
    names = {row.name for row in treated}
    # Grids and codebooks of a channel each stay such when the channel is multiplied.
    has_one_table = {
        row.name for row in treated if row.requested.get("granularity") == "per_tensor"
    }
    into, keep, lost = {}, set(), {}
    for fold in bridge.batch_norm_folds(model):
        name = bridge.scope_name(fold.name)
        layer = bridge.scope_name(fold.into or fold.spoils or "none")
        is_frozen = name in layers and not layers[name].trainable
        is_wanted = choice is True or (
            choice == "auto" and (is_frozen or not is_trained)
        )
        if fold.into and is_wanted and layer in names and name not in names:
            into[name] = layer
            continue
        keep.add(fold.name)
        if layer in has_one_table:
            lost[layer] = (fold.name, _reason(fold, name in names, choice))
    return Folding(into, frozenset(keep), lost, _warning(lost, has_one_table, layers))


def apply_folding(folding, model, steps, *, rules):
    """Folds what a `Folding` says.

    Args:
        folding: `Folding`.
        model: Keras 3 model; it is left as it was.
        steps: tuple of configs.
        rules: of the bridge.
    Returns:
        `(model, flat, steps)`: the folded Keras 3 model, its bridged model, and the
        steps without the layer rules that spoke of folded layers alone.
    """
    folded = bridge.fold_batch_norm(model, keep=folding.keep)
    flat = bridge.to_tf_keras(folded, rules=rules)
    kinds = {layer.name: type(layer).__name__ for layer in flat.layers}
    steps = tuple(
        dataclasses.replace(config, layers=config.layers.matching(kinds))
        for config in steps
    )
    return folded, flat, steps


def report_folding(folding, report, names):
    """Adds to a report what was folded, and what exporting will undo.

    Args:
        folding: `Folding`.
        report: `CompressionReport` of the steps.
        names: names of the layers before anything was folded, in model order.
    Returns:
        `CompressionReport` with a row for each of them.
    """
    rows = {row.name: row for row in report.rows}
    for layer, (norm, reason) in folding.lost.items():
        text = (
            f"exporting multiplies the BatchNormalization {norm!r} into it, which is "
            f"not folded before, because {reason}"
        )
        own = rows[layer].reason
        rows[layer] = dataclasses.replace(
            rows[layer], reason=f"{own}; {text}" if own else text
        )
    for name, layer in folding.into.items():
        rows[name] = LayerRow(
            name=name,
            kind="BatchNormalization",
            status=FOLDED,
            reason=f"it was folded into {layer!r} before the first step",
        )
    order = [name for name in names if name in rows]
    warnings = report.warnings + ((folding.warning,) if folding.warning else ())
    return dataclasses.replace(
        report,
        rows=tuple(rows[name] for name in dict.fromkeys([*order, *rows])),
        warnings=warnings,
    )


def _reason(fold, is_treated, choice):
    """Says why a BatchNormalization that spoils a layer is not folded."""
    if fold.reason is not None:
        return fold.reason
    if is_treated:
        return "a rule has its own weights treated"
    return _TRAINED if choice == "auto" else _UNWANTED


def _warning(lost, treated, layers):
    """Returns the line about layers that exporting spoils, or `None`."""
    if not lost:
        return None
    share = _num_weights(lost, layers) / _num_weights(treated, layers)
    shown = ", ".join(repr(name) for name in list(lost)[:_NUM_EXAMPLES])
    more = len(lost) - _NUM_EXAMPLES
    shown += f" and {more} more" if more > 0 else ""
    reasons = list(dict.fromkeys(reason for _, reason in lost.values()))
    if set(reasons) <= {_TRAINED, _UNWANTED}:
        advice = (
            "Fold them first: fold_batch_norm=True of compress(), or "
            "tfcompress.fold_batch_norm(model)"
        )
    else:
        advice = "Take granularity='per_channel' there, or leave the layers alone"
    return (
        f"Exporting multiplies a BatchNormalization into {len(lost)} of the "
        f"{len(treated)} layers that the recipe treats ({shown}; {share:.0%} of their "
        "weights): what the recipe makes of them is lost in the files. None is folded "
        f"before, because {', '.join(reasons[:_NUM_EXAMPLES])}. {advice}."
    )


def _num_weights(names, layers):
    return sum(layers[name].count_params() for name in names if name in layers)
