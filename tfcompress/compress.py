"""Compresses a Keras 3 model: across the bridge, through a recipe's steps, and back."""

import dataclasses
from collections.abc import Mapping

from tfcompress import bridge
from tfcompress.compression_report import (
    LEFT_ALONE,
    CompressionReport,
    LayerRow,
    measure_weight,
    merge_reports,
)
from tfcompress.errors import InvalidValueError, require
from tfcompress.methods import METHODS, PLANS, PruneConfig
from tfcompress.methods.layer_weights import weight_place
from tfcompress.methods.zero_keeping import ZeroKeepingTraining, lost_zeros
from tfcompress.recipe import parse_recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionResult:
    """What `compress` returns.

    Args:
        model: Keras 3 model, a copy of the caller's with the compressed weights.
        structures: `(layer name, weight name)` -> dict of plain arrays; hints for
            export and coding.
        report: `CompressionReport` with a row for every layer of the bridged model.
    """

    model: object
    structures: Mapping
    report: CompressionReport


def compress(model, recipe, training=None, *, finetune=True, rules=None):
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
    Returns:
        `CompressionResult`.
    Raises:
        UnsupportedModelError: if the model is subclassed, or holds what can cross in no
            way, or not come back; one line names all of it. A layer without a rule
            crosses as it is, with its weights, as the report says.
        InvalidValueError: if the recipe or a layer rule cannot be followed.

    Example: `small = compress(model, "cluster(16)", training).model`
    """
    steps = parse_recipe(recipe)  # before the crossing, which takes seconds
    if training is not None and not callable(getattr(training, "fit", None)):
        raise InvalidValueError(
            f"training must be None or have a fit(model, callbacks), such as "
            f"ArrayTraining(dataset, TrainingConfig(epochs=1)); got "
            f"{type(training).__name__}."
        )
    for module in ("keras", "tf_keras", "tensorflow_model_optimization"):
        require(module, extra="compress")
    bridge.check_crossing(model, rules=rules)
    compressed = bridge.to_tf_keras(model, rules=rules)
    bridge.warn_of_kept(compressed)
    if steps:
        compressed, report = _run_steps(compressed, steps, training, finetune)
    else:
        report = _control(compressed, training if finetune else None)
    return CompressionResult(
        model=bridge.to_keras3(model, compressed, rules=rules),
        structures=report.structures,
        report=bridge.explain_kept(report, compressed),
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
        _check_steps(bridge.to_tf_keras(model, rules=rules), steps)


def _check_steps(model, steps):
    """Raises what is wrong with a step before those in front of it are trained."""
    for config in steps:
        PLANS[type(config)](model, config)


def _run_steps(model, steps, training, finetune):
    """Runs the steps one after the other and checks that all hold in the end."""
    _check_steps(model, steps)
    reports, num_zeros = {}, {}
    for config in steps:
        method = METHODS[type(config)]
        of_step = training
        if training is not None and num_zeros:
            of_step = ZeroKeepingTraining(training, num_zeros)
        is_its_turn = config is steps[-1] or getattr(config, "is_gradual", False)
        model, report = method(
            model, config, of_step, finetune=finetune and is_its_turn
        )
        reports[method.__name__] = report
        if isinstance(config, PruneConfig):
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
    """Returns the log of several fits: time added up, accuracy of the last."""
    logs = [log for log in logs if log is not None]
    if len(logs) < 2:
        return logs[0] if logs else None
    epochs = sum(log.epochs for log in logs)
    weighted = sum(log.seconds_per_epoch * log.epochs for log in logs)
    return dataclasses.replace(
        logs[-1],
        epochs=epochs,
        seconds=sum(log.seconds for log in logs),
        seconds_per_epoch=weighted / epochs,
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
    log = training.fit(model) if training is not None else None
    return CompressionReport(rows=rows, training_log=log)
