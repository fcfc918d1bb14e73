"""Compresses a Keras 3 model: across the bridge, through a recipe's steps, and back."""

import dataclasses
from collections.abc import Mapping

from tfcompress import bridge
from tfcompress.compression_report import LEFT_ALONE, CompressionReport, LayerRow
from tfcompress.errors import InvalidValueError, require
from tfcompress.methods import METHODS
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


def compress(model, recipe, training=None, *, rules=None):
    """Compresses a copy of a Keras 3 model.

    Args:
        model: functional or Sequential Keras 3 model; it is left as it was.
        recipe: text such as `"cluster(16)"`, configs, or a list of dicts; see
            `tfcompress.recipe`. Empty: the control, which crosses the bridge and is
            trained in the same way, without a method.
        training: `Training` to fine-tune with, or `None` for one-shot compression.
        rules: layer class -> bridge rule, for layers of the user's own.
    Returns:
        `CompressionResult`.
    Raises:
        UnsupportedModelError: if the model holds a layer without a rule.
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
    compressed = bridge.to_tf_keras(model, rules=rules)
    report = _control(compressed, training) if not steps else None
    for config in steps:
        compressed, report = METHODS[type(config)](compressed, config, training)
    return CompressionResult(
        model=bridge.to_keras3(model, compressed, rules=rules),
        structures=report.structures,
        report=report,
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
