"""The objective: what a training lowers, in each form that somebody needs it in."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tfcompress.tasks.metric import Metric
from tfcompress.tasks.output_activation import output_activation

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Objective:
    """The weighted sum of the losses of a task's outputs.

    Args:
        losses: name of an output -> its loss, in the order of the model's outputs.
        weights: name of an output -> the weight of its loss.
        monitored: name of the output and its `Metric` that validation shows.
    """

    losses: Mapping[str, Any]
    weights: Mapping[str, float]
    monitored: tuple[str, Metric]

    def of_each(self, model: "keras.Model", library: ModuleType) -> Callable:
        """Returns the loss of each example, what `compiled` trains the model by.

        Args:
            model: Keras 3 (on TensorFlow) or tf_keras model; `None` stands for one
                that puts out no probabilities.
            library: module `keras` or `tf_keras`, the model's own.
        Returns:
            Function of targets and of what the model puts out (for several outputs a
            dict by name and a list) to a float32 tensor, shape `(batch,)`.
        """
        losses = [
            loss.of_each(library, output_activation(model, index))
            for index, loss in enumerate(self.losses.values())
        ]
        if len(losses) == 1:
            return losses[0]
        return lambda targets, outputs: sum(
            self.weights[name] * loss(targets[name], output)
            for name, loss, output in zip(
                self.losses, losses, _in_order(outputs), strict=True
            )
        )

    def compiled(self, model: "keras.Model", library: ModuleType) -> object:
        """Returns arguments of `model.compile`: `loss`, `loss_weights`, `metrics`."""
        parts = {
            name: (
                index,
                model.outputs[index].shape[-1],
                output_activation(model, index),
            )
            for index, name in enumerate(self.losses)
        }
        losses = {
            name: loss.compiled(library, *parts[name][1:])
            for name, loss in self.losses.items()
        }
        name, metric = self.monitored
        shown = metric.compiled(library, *parts[name][1:])
        metrics = [] if shown is None else [shown]
        if len(losses) == 1:
            return {"loss": losses[name], "metrics": metrics}
        return {
            "loss": arrange_outputs(model, losses.values()),
            "loss_weights": arrange_outputs(model, self.weights.values()),
            "metrics": arrange_outputs(
                model, [metrics if each == name else [] for each in losses]
            ),
        }

    def logged(self, model: "keras.Model", library: ModuleType) -> object:
        """Returns the name that validation logs the metric under, or `None`."""
        name, metric = self.monitored
        index = list(self.losses).index(name)
        if metric.compiled(library, 2, None) is None:
            return None
        if len(self.losses) == 1:
            return f"val_{metric.name}"
        return f"val_{model.output_names[index]}_{metric.name}"

    def to_json(self) -> dict:
        """Returns what of it decides the weights, for records."""
        return {
            name: {"loss": loss.name, **dataclasses.asdict(loss)}
            | {"weight": self.weights[name]}
            for name, loss in self.losses.items()
        }

    def key(self) -> str:
        """Returns text that another objective does not have, for checkpoints."""
        return json.dumps([self.to_json(), self.monitored[1].name], sort_keys=True)


def arrange_outputs(model: "keras.Model", values: object) -> object:
    """Arranges a value for each output as a model arranges its outputs.

    Args:
        model: Keras 3 or tf_keras model.
        values: in the order of `model.outputs`.
    Returns:
        The one value, a list, or a dict where the model puts out a dict.
    """
    values = list(values)
    structure = getattr(model, "output", None)
    if isinstance(structure, Mapping):
        return dict(zip(sorted(structure), values, strict=True))
    return values[0] if len(values) == 1 else values


def _in_order(outputs):
    """Returns what a model put out as a list, in the order of `model.outputs`."""
    if isinstance(outputs, Mapping):
        return [outputs[key] for key in sorted(outputs)]
    return list(outputs)
