"""A task: what a model's outputs are for, and what it is trained and scored by."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.tasks.metric import Metric, check_scores
from tfcompress.tasks.objective import Objective

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """What one output of a model is for: of a kind, such as `ClassOutput`.

    Args:
        name: of the target in the dataset.
        loss: what it is trained by, such as `CrossEntropy()`.
        metrics: what it is scored by; the first one leads.
    """

    name: str
    loss: Any
    metrics: tuple[Metric, ...]

    def head(self, model, index):
        """Returns the head of output `index` of a Keras model."""
        raise NotImplementedError

    def check(self, model, shape, target):
        """Raises `UnsupportedModelError` if the output does not fit the target.

        Args:
            model: Keras model.
            shape: of the output, the batch leading.
            target: array of the dataset, or `None` where there is none at hand.
        """
        raise NotImplementedError

    def as_trained(self, target):
        """Returns a target as `fit` takes it."""
        return target


@dataclasses.dataclass(frozen=True)
class Task:
    """What the outputs of a model are for.

    Args:
        outputs: an `Output` for each of the model's, in their order. Of several each
            has the name of the model's output.
        weights: name of an output -> the weight of its loss; 1 where not given.
        primary: name of the metric that searches and bars go by; that of one output is
            its own, of several `"output.metric"`. By default the first.
    """

    outputs: tuple[Output, ...]
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    primary: str = ""

    def __post_init__(self):
        object.__setattr__(self, "outputs", tuple(self.outputs))
        names = [output.name for output in self.outputs]
        if not names or len(set(names)) < len(names):
            raise InvalidValueError(
                f"A task needs outputs of different names, got {names}."
            )
        for output in self.outputs:
            if not output.metrics:
                raise InvalidValueError(
                    f"Output {output.name!r} of the task has no metric to be scored by."
                )
        if odd := set(self.weights) - set(names):
            raise InvalidValueError(
                f"The loss weight of {min(odd)!r} is of no output; the outputs are "
                f"{', '.join(names)}."
            )
        weights = {name: float(self.weights.get(name, 1.0)) for name in names}
        object.__setattr__(self, "weights", weights)
        known = list(self.metrics)
        if not self.primary:
            object.__setattr__(self, "primary", known[0])
        elif self.primary not in known:
            raise InvalidValueError(
                f"The primary metric {self.primary!r} is none of the task's: "
                f"{', '.join(known)}."
            )

    @property
    def metrics(self) -> dict[str, Metric]:
        """Returns name -> `Metric`, in order."""
        is_one = len(self.outputs) == 1
        return {
            metric.name if is_one else f"{output.name}.{metric.name}": metric
            for output in self.outputs
            for metric in output.metrics
        }

    @property
    def objective(self) -> Objective:
        """Returns the `Objective`; validation shows the primary metric."""
        name = self.outputs[0].name
        if len(self.outputs) > 1:
            name = self.primary.rpartition(".")[0]
        return Objective(
            {output.name: output.loss for output in self.outputs},
            self.weights,
            (name, self.metrics[self.primary]),
        )

    def heads(self, model: "keras.Model") -> tuple:
        """Returns the head of each output of a Keras model, for its manifest."""
        self.check_model(model)
        return tuple(
            output.head(model, index) for index, output in enumerate(self.outputs)
        )

    def targets(self, split: object) -> dict[str, np.ndarray]:
        """Returns name -> array of the targets, in the order of the outputs.

        Args:
            split: `Split`.
        Raises:
            InvalidValueError: if a target is missing.
        """
        found = {}
        for output in self.outputs:
            if output.name not in split.targets:
                raise InvalidValueError(
                    f"The task has an output {output.name!r}, and the data gives the "
                    f"targets {', '.join(split.targets) or 'none'}. Give both one name."
                )
            found[output.name] = split.targets[output.name]
        return found

    def as_trained(self, split: object) -> dict[str, np.ndarray]:
        """Returns `targets`, each as `fit` takes it."""
        targets = self.targets(split)
        return {each.name: each.as_trained(targets[each.name]) for each in self.outputs}

    def check_model(
        self, model: "keras.Model", split: object = None, *, has_own_names: bool = True
    ) -> None:
        """Refuses a model whose outputs are not those of the task.

        Args:
            model: Keras 3 or tf_keras model.
            split: `Split` whose targets are to fit, or `None`.
            has_own_names: whether the outputs are to have the task's names; a method's
                wrappers have others, in the same order.
        Raises:
            UnsupportedModelError: that names the model, the output and what fits.
            InvalidValueError: if the split lacks a target.
        """
        targets = {} if split is None else self.targets(split)
        names = [output.name for output in self.outputs]
        own = list(getattr(model, "output_names", ()))
        if len(model.outputs) != len(names):
            raise UnsupportedModelError(
                f"Model {model.name!r} has {len(model.outputs)} outputs "
                f"({', '.join(own)}), and the task has {len(names)} "
                f"({', '.join(names)}). Give a task of all outputs: "
                "tfcompress.tasks.several_outputs."
            )
        if has_own_names and len(names) > 1 and names != own:
            raise UnsupportedModelError(
                f"Model {model.name!r} has the outputs {', '.join(own)}, and the task "
                f"{', '.join(names)}. Name them alike, in one order."
            )
        for output, tensor in zip(self.outputs, model.outputs, strict=True):
            output.check(model, tuple(tensor.shape), targets.get(output.name))

    def score(
        self, decisions: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Scores what was decided, for every metric.

        Args:
            decisions: name of an output -> what its head decided.
            targets: name of an output -> array of the truth.
        Returns:
            Dict of a metric's name to its scores, float64 `(n, k)`.
        """
        scores, names = {}, iter(self.metrics)
        for output in self.outputs:
            target = np.asarray(targets[output.name])
            for metric in output.metrics:
                found = metric.score(decisions[output.name], target)
                scores[next(names)] = check_scores(metric, found, len(target))
        return scores


def several_outputs(
    tasks: Mapping[str, "Task"],
    *,
    weights: Mapping[str, float] | None = None,
    primary: str = "",
) -> Task:
    """Returns the task of a model with several outputs.

    Args:
        tasks: name of a model's output -> `Task` of one output, in the model's order.
        weights: name of an output -> the weight of its loss; 1 where not given.
        primary: `"output.metric"` that searches and bars go by; by default the first.
    Raises:
        InvalidValueError: if there are no outputs, a task has several itself, or a
            weight or the primary metric is of no output.

    >>> from tfcompress.tasks import classification, regression
    >>> of_each = {"kind": classification(["a", "b"]), "price": regression()}
    >>> task = several_outputs(of_each, primary="price.mae")
    >>> list(task.metrics)
    ['kind.accuracy', 'kind.macro_f1', 'price.rmse', 'price.mae', 'price.r2']
    """
    outputs = []
    for name, task in tasks.items():
        if len(task.outputs) != 1:
            raise InvalidValueError(
                f"The task of output {name!r} has {len(task.outputs)} outputs itself; "
                "give a task of one."
            )
        outputs.append(dataclasses.replace(task.outputs[0], name=name))
    return Task(tuple(outputs), weights or {}, primary)
