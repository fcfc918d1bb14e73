"""What a compression method needs of the caller's training."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tfcompress.training.keras3_objects import accept_keras3


@dataclasses.dataclass(frozen=True)
class TrainingLog:
    """What one `fit` did.

    Attributes:
        epochs: epochs that were run.
        seconds: wall-clock time of the whole fit, tracing and validation included.
        seconds_per_epoch: mean wall-clock time of a training step, without the first
            `WARM_UP_STEPS` steps (tracing, allocation), times the steps of an epoch.
            Validation is not in it, so that two methods can be compared.
        validation_score: of the validation split with the weights that the model was
            left with, by `metric`; `None` where nothing is known of it.
        metric: name of the metric.
    """

    epochs: int
    seconds: float
    seconds_per_epoch: float
    validation_score: float | None = None
    metric: str | None = None


class Training(Protocol):
    """The caller's training, as `compress` and the methods use it.

    Any object with this `fit` will do, whatever its loop. All steps of a recipe and
    their control share one, so that they differ in the method alone. Some steps need
    more of it, the members of `ExampleTraining`, and are refused before anything runs
    where it has them not:

    | step | members |
    |---|---|
    | `cluster(sensitivity="fisher")`, `prune(criterion="fisher")` | `batches`, `loss` |
    | `prune(schedule="polynomial")`, `prune(schedule="constant")` | `num_steps` |
    | `qat("static_range")` | `batches`, and `num_steps` where it is fitted |

    `ArrayTraining` has them all.
    """

    def fit(self, model: Any, callbacks: Sequence[Any]) -> TrainingLog | None:
        """Trains `model` in place.

        Args:
            model: tf_keras model, not compiled, with the inputs and outputs of the
                Keras 3 model that is compressed. Its `compile`, `fit` and `evaluate`
                take optimizers, losses, metrics and callbacks of Keras 3 too.
            callbacks: list of tf_keras callbacks, always given and often empty. They
                are to be called around each step, as `model.fit(callbacks=callbacks)`
                does; pruning during training and keeping the zeros of a step before
                happen in them.
        Returns:
            `TrainingLog` for the report. Anything else, such as `None` or the History
            of `model.fit`, leaves the report without a log.
        Raises:
            TrainingError: if the loss is no longer a number.
        """


class ExampleTraining(Training, Protocol):
    """A training that also gives examples, its loss and its length.

    Attributes:
        num_steps: optimizer steps of one `fit`, for schedules: the most there can be
            where training may stop early.
        loss: function of targets and of what the model puts out, tensors, to the loss
            of each example, float32, shape `(batch,)`. It is TensorFlow, so it serves
            models of Keras 3 (on TensorFlow) and of tf_keras. Where the loss depends
            on the model, a method `loss_for(model)` may return it instead. For several
            outputs it takes the targets by name, and what the model puts out.
    """

    num_steps: int

    def batches(self, n: int) -> Iterator[tuple[Mapping[str, np.ndarray], Any]]:
        """Yields the inputs, by name, and targets of at most `n` training batches.

        The targets are an array, or for several outputs a dict of arrays by name.
        """

    def loss(self, targets: Any, outputs: Any) -> Any:
        """Returns the loss of each example."""


def fit_model(training, model, callbacks=()):
    """Fits a tf_keras model by the caller's training.

    Args:
        training: `Training`.
        model: tf_keras model; it is trained in place.
        callbacks: sequence of tf_keras callbacks.
    Returns:
        `TrainingLog`, or `None` where `training` returns none.
    """
    accept_keras3(model)
    log = training.fit(model, list(callbacks))
    return log if isinstance(log, TrainingLog) else None
