"""Runs the steps of a recipe one after the other, and checks that all hold in the end.

Who trains is said in one place, `steps_of`. A step is planned before anything is
trained, so that a mistake in the last one is found then; the later ones are planned
again on what those before them made.
"""

import dataclasses

from tfcompress.compression_report import measure_weight, merge_reports
from tfcompress.methods import method_of
from tfcompress.methods.layer_weights import weight_place
from tfcompress.methods.method import ZEROS, Fitting, Step
from tfcompress.methods.zero_keeping import ZeroKeepingTraining, lost_zeros


def steps_of(configs, training, *, finetune):
    """Decides who trains.

    The last step fits the training, keeping what those before made; before that only a
    step does that makes what it makes during training, such as gradual pruning.

    Args:
        configs: of the steps, in their order.
        training: `Training` or `None`.
        finetune: whether anything is fitted.
    Returns:
        Tuple of `Step`.
    """
    return tuple(
        Step(
            method_of(config),
            config,
            Fitting(
                training,
                training is not None
                and finetune
                and config.finetune
                and (config is configs[-1] or method_of(config).trains(config)),
            ),
        )
        for config in configs
    )


def run_steps(model, steps, plan):
    """Runs a recipe.

    Args:
        model: flat tf_keras model; it is left as it was.
        steps: tuple of `Step`, not empty.
        plan: `Plan` of the first step on `model`.
    Returns:
        `(model, report)`: the compressed tf_keras model and a `CompressionReport`.
    Raises:
        InvalidValueError: if a step moves zeros that one before it made.
    """
    reports, num_zeros = {}, {}
    for number, step in enumerate(steps):
        if number:
            plan = step.plan(model)
        if num_zeros:
            step = _keeping(step, num_zeros)
        model, report = step.run(model, plan)
        reports[step.method.name] = report
        if ZEROS in step.method.made_by(step.config):
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


def _keeping(step, num_zeros):
    """Returns the step with a training that keeps zeros, where there is a training."""
    training = step.fitting.training
    if training is None:
        return step
    training = ZeroKeepingTraining(training, num_zeros)
    fitting = dataclasses.replace(step.fitting, training=training)
    return dataclasses.replace(step, fitting=fitting)


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
