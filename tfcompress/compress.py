"""Compresses a Keras 3 model: across the bridge, through a recipe's steps, and back."""

import dataclasses
import logging
from collections.abc import Mapping

from tfcompress import bridge, folding
from tfcompress.compression_report import LEFT_ALONE, CompressionReport, LayerRow
from tfcompress.errors import InvalidValueError, require
from tfcompress.methods import method_of
from tfcompress.methods.steps import run_steps, steps_of
from tfcompress.recipe import parse_recipe
from tfcompress.training import fit_model

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionResult:
    """What `compress` returns.

    Args:
        model: Keras 3 model, a copy of the caller's with the compressed weights, and
            without the BatchNormalization layers that were folded.
        structures: `(layer name, weight name)` -> dict of plain arrays; hints for
            export and coding.
        report: `CompressionReport` with a row for every layer of the bridged model.
    """

    model: object
    structures: Mapping
    report: CompressionReport


def compress(
    model, recipe, training=None, *, finetune=True, rules=None, fold_batch_norm="auto"
):
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
    steps = steps_of(parse_recipe(recipe), training, finetune=finetune)
    _check_arguments(training, steps, fold_batch_norm)  # the crossing takes seconds
    for module in ("keras", "tf_keras", "tensorflow_model_optimization"):
        require(module, extra="compress")
    bridge.check_crossing(model, rules=rules)
    flat = bridge.to_tf_keras(model, rules=rules)
    bridge.warn_of_kept(flat)
    if steps:
        model, flat, report = _fold_and_run(
            (model, flat), steps, rules, fold_batch_norm
        )
    else:
        report = _control(flat, training if finetune else None)
    return CompressionResult(
        model=bridge.to_keras3(model, flat, rules=rules),
        structures=report.structures,
        report=bridge.explain_kept(report, flat),
    )


def check_recipe(model, recipe, *, rules=None):
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
            method_of(config).engine(config).plan(flat, config)


def _check_arguments(training, steps, fold_batch_norm):
    """Raises what is wrong whatever the model is."""
    folding.check_choice(fold_batch_norm)
    if training is not None and not callable(getattr(training, "fit", None)):
        raise InvalidValueError(
            f"training must be None or have a fit(model, callbacks), such as "
            f"ArrayTraining(dataset, TrainingConfig(epochs=1)); got "
            f"{type(training).__name__}."
        )
    for step in steps:
        step.check_training()


def _fold_and_run(models, steps, rules, fold_batch_norm):
    """Folds what is to be folded, and runs the steps.

    Args:
        models: the Keras 3 model and its bridged model.
    Returns:
        `(model, flat, report)`: the Keras 3 model that was compressed, folded or not,
        the compressed tf_keras model and the report.
    """
    model, flat = models
    names = [layer.name for layer in flat.layers]
    plans = [step.plan(flat) for step in steps]
    fold = folding.plan_folding(
        model,
        flat,
        [plan.rows for plan in plans],
        is_trained=any(step.fitting.is_fitted for step in steps),
        choice=fold_batch_norm,
    )
    if fold.warning:
        _log.warning("%s", fold.warning)
    first = plans[0]
    if fold.into:
        configs = tuple(step.config for step in steps)
        model, flat, configs = folding.apply_folding(fold, model, configs, rules=rules)
        steps = tuple(
            dataclasses.replace(step, config=config)
            for step, config in zip(steps, configs, strict=True)
        )
        first = steps[0].plan(flat)
    flat, report = run_steps(flat, steps, first)
    return model, flat, folding.report_folding(fold, report, names)


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
