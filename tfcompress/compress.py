"""Compresses a Keras 3 model: across the bridge, through a recipe's steps, and back."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tfcompress import bridge, folding
from tfcompress.compression_report import (
    LEFT_ALONE,
    CompressionReport,
    LayerRow,
    measure_weight,
    merge_reports,
)
from tfcompress.compression_result import CompressionResult
from tfcompress.errors import InvalidValueError, require
from tfcompress.methods import METHODS, PruneConfig, planned_rows
from tfcompress.methods.layer_weights import weight_place
from tfcompress.methods.training_needs import check_dtypes, check_training
from tfcompress.methods.zero_keeping import ZeroKeepingTraining, lost_zeros
from tfcompress.recipe import parse_recipe
from tfcompress.training import Training, fit_model

if TYPE_CHECKING:
    import keras

_log = logging.getLogger(__name__)


def compress(
    model: "keras.Model",
    recipe: object,
    training: Training | None = None,
    *,
    finetune: bool = True,
    rules: Mapping[type, Callable] | None = None,
    fold_batch_norm: bool | str = "auto",
) -> CompressionResult:
    """Compresses a copy of a Keras 3 model.

    Args:
        model: functional or Sequential Keras 3 model; it is left as it was.
        recipe: text such as `"cluster(16)"`, configs, or a list of dicts; see
            `tfcompress.recipe`. Empty: the control, which crosses the bridge and is
            trained in the same way, without a method.
        training: `Training` to fine-tune with, or `None` for one-shot compression. The
            last step fits it, keeping what the steps before made; before that only a
            step that works during training does, such as gradual pruning. The log adds
            up what was spent.
        finetune: whether `training` is fitted. False: one-shot compression that may
            look at training examples, as `sensitivity="fisher"` does.
        rules: layer class -> bridge rule, for layers of the user's own.
        fold_batch_norm: whether a BatchNormalization is folded into a layer that the
            recipe treats before the first step, as exporting would do after the last
            and thereby undo it. `"auto"`: where it is not trained; `True`: always;
            `False`: never. What exporting will undo is logged before anything is
            trained and stands in `report.warnings`. A folded model is Sequential where
            `model` is, else functional.
    Returns:
        `CompressionResult`.
    Raises:
        UnsupportedModelError: if the model is subclassed, or holds what can cross in no
            way, or not come back; one line names all of it. A layer without a rule
            crosses as it is, with its weights, as the report says.
        InvalidValueError: if the recipe or a layer rule cannot be followed, or the
            training lacks what a step needs.

    Example: `small = compress(model, "cluster(16)", training).model`
    """
    turns = _turns(parse_recipe(recipe), training, finetune)
    _check_arguments(training, turns, fold_batch_norm)  # the crossing takes seconds
    for module in ("keras", "tf_keras", "tensorflow_model_optimization"):
        require(module, extra="compress")
    bridge.check_crossing(model, rules=rules)
    flat = bridge.to_tf_keras(model, rules=rules)
    bridge.warn_of_kept(flat)
    if turns:
        model, flat, report = _fold_and_run(
            (model, flat), turns, training, rules, fold_batch_norm
        )
    else:
        report = _control(flat, training if finetune else None)
    return CompressionResult(
        model=bridge.to_keras3(model, flat, rules=rules),
        structures=report.structures,
        report=bridge.explain_kept(report, flat),
    )


def check_recipe(
    model: "keras.Model",
    recipe: object,
    *,
    rules: Mapping[type, Callable] | None = None,
) -> None:
    """Checks that a recipe can be followed on a model, in seconds; changes nothing.

    Args:
        model, recipe, rules: as of `compress`.
    Raises:
        UnsupportedModelError: as of `compress`.
        InvalidValueError: if a layer rule matches no layer, or names one that a step
            cannot work on.
    """
    steps = parse_recipe(recipe)
    if steps:
        require("tf_keras", extra="compress")
        bridge.check_crossing(model, rules=rules)
        flat = bridge.to_tf_keras(model, rules=rules)
        for config in steps:
            planned_rows(flat, config)


@dataclasses.dataclass(frozen=True)
class _Turn:
    """A step, and whether it fits the training when it is its turn."""

    config: object
    is_fitted: bool


def _turns(steps, training, finetune):
    """Returns the `_Turn`s of a recipe: the last step fits, and gradual ones."""
    return tuple(
        _Turn(
            config,
            training is not None
            and finetune
            and config.finetune
            and (config is steps[-1] or getattr(config, "is_gradual", False)),
        )
        for config in steps
    )


def _check_arguments(training, turns, fold_batch_norm):
    """Raises what is wrong whatever the model is."""
    folding.check_choice(fold_batch_norm)
    if training is not None and not callable(getattr(training, "fit", None)):
        raise InvalidValueError(
            f"training must be None or have a fit(model, callbacks), such as "
            f"ArrayTraining(dataset, TrainingConfig(epochs=1)); got "
            f"{type(training).__name__}."
        )
    for turn in turns:
        check_training(turn.config, training, turn.is_fitted)


def _fold_and_run(models, turns, training, rules, fold_batch_norm):
    """Folds what is to be folded, and runs the steps.

    Args:
        models: the Keras 3 model and its bridged model.
    Returns:
        `(model, flat, report)`: the Keras 3 model that was compressed, folded or not,
        the compressed tf_keras model and the report.
    """
    model, flat = models
    names = [layer.name for layer in flat.layers]
    rows = [planned_rows(flat, turn.config) for turn in turns]
    for turn, of_step in zip(turns, rows, strict=True):
        if turn.is_fitted:
            check_dtypes(flat, of_step)
    is_trained = any(turn.is_fitted for turn in turns)
    plan = folding.plan_folding(
        model, flat, rows, is_trained=is_trained, choice=fold_batch_norm
    )
    if plan.warning:
        _log.warning("%s", plan.warning)
    if plan.into:
        configs = tuple(turn.config for turn in turns)
        model, flat, configs = folding.apply_folding(plan, model, configs, rules=rules)
        turns = tuple(
            dataclasses.replace(turn, config=config)
            for turn, config in zip(turns, configs, strict=True)
        )
    flat, report = _run_steps(flat, turns, training)
    return model, flat, folding.report_folding(plan, report, names)


def _run_steps(model, turns, training):
    """Runs the steps one after the other and checks that all hold in the end."""
    reports, num_zeros = {}, {}
    for turn in turns:
        method = METHODS[type(turn.config)]
        of_step = training
        if training is not None and num_zeros:
            of_step = ZeroKeepingTraining(training, num_zeros)
        model, report = method(model, turn.config, of_step, finetune=turn.is_fitted)
        reports[method.__name__] = report
        if isinstance(turn.config, PruneConfig):
            num_zeros = _count_zeros(report)
    if len(reports) == 1:
        _check_clusters(report)
        return model, report
    measured = _measure(model, reports.values())
    _check_kept(reports.values(), num_zeros, measured)
    logs = [report.training_log for report in reports.values()]
    merged = merge_reports(reports, measured)
    _check_clusters(merged)
    return model, dataclasses.replace(merged, training_log=_add_logs(logs))


def _count_zeros(report):
    """Returns the zeros of each weight, by `(layer name, weight name)`."""
    return {
        (row.name, weight): found["num_weights"] - found["num_nonzero"]
        for row in report.rows
        for weight, found in row.stripped.items()
    }


def _measure(model, reports):
    """Measures every weight that a step treated as the last one left it."""
    measured = {}
    for report in reports:
        for row in report.rows:
            for weight, found in row.stripped.items():
                holder, name = weight_place(model.get_layer(row.name), weight)
                # What a step measures beside, such as its error, stays.
                measured.setdefault((row.name, weight), {}).update(found)
                value = measure_weight(getattr(holder, name).numpy())
                measured[row.name, weight].update(value)
    return measured


def _check_kept(reports, num_zeros, measured):
    """Raises if a step has undone what one before it made."""
    for (layer, weight), count in num_zeros.items():
        found = measured[layer, weight]
        if found["num_weights"] - found["num_nonzero"] < count:
            raise lost_zeros(layer, weight, count)
    for report in reports:
        for row in report.rows:
            for weight, before in row.stripped.items():
                if "codebook" not in report.structures.get((row.name, weight), {}):
                    continue  # other weights may take any values
                found = measured[row.name, weight]["distinct_values"]
                if found > before["distinct_values"]:
                    raise RuntimeError(
                        f"Layer {row.name!r}: {weight} has {found} values after the "
                        f"last step and had {before['distinct_values']} before."
                    )


def _check_clusters(report):
    """Raises if a weight, or a channel or its blocks, has more values than asked."""
    for row in report.rows:
        for weight, found in row.stripped.items():
            structure = report.structures.get((row.name, weight), {})
            if "codebook" not in structure or "num_clusters" not in row.requested:
                continue
            is_plain = structure["codebook"].ndim == 1 and "scales" not in structure
            count = found["distinct_values" if is_plain else "clusters_used"]
            if count > row.requested["num_clusters"]:
                raise RuntimeError(
                    f"Layer {row.name!r}: {weight} has {count} values, and "
                    f"{row.requested['num_clusters']} were asked for."
                )


def _add_logs(logs):
    """Returns the log of several fits: time added up, the score of the last."""
    logs = [log for log in logs if log is not None]
    if len(logs) < 2:
        return logs[0] if logs else None
    epochs = sum(log.epochs for log in logs)
    weighted = sum(log.seconds_per_epoch * log.epochs for log in logs)
    return dataclasses.replace(
        logs[-1],
        epochs=epochs,
        seconds=sum(log.seconds for log in logs),
        seconds_per_epoch=weighted / max(epochs, 1),
    )


def _control(model, training):
    """Trains `model`, the crossing's own copy, without a method."""
    rows = tuple(
        LayerRow(
            name=layer.name,
            kind=type(layer).__name__,
            status=LEFT_ALONE,
            reason="the recipe has no step",
        )
        for layer in model.layers
    )
    log = fit_model(training, model) if training is not None else None
    return CompressionReport(rows=rows, training_log=log)
