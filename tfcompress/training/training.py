"""What a compression method needs of the caller's training."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np


@dataclasses.dataclass(frozen=True)
class TrainingLog:
    """What one `fit` did.

    Attributes:
        epochs: epochs that were run.
        seconds: wall-clock time of the whole fit, tracing and validation included.
        seconds_per_epoch: mean wall-clock time of a training step, without the first
            `WARM_UP_STEPS` steps (tracing, allocation), times the steps of an epoch.
            Validation is not in it, so that two methods can be compared.
        validation_accuracy: share of the validation split that the model labels right
            with the weights it was left with, in [0, 1].
    """

    epochs: int
    seconds: float
    seconds_per_epoch: float
    validation_accuracy: float


class Training(Protocol):
    """The caller's training, as `compress` and the methods use it.

    Anything with these members will do; `ArrayTraining` is ours. All steps of a recipe
    and their control share one, so that they differ in the method alone.

    Attributes:
        num_steps: optimizer steps of one `fit`, for schedules: the most there can be
            where training may stop early.
        loss: function of labels and of what the model puts out, both tensors, to the
            loss of each example, float32, shape `(batch,)`. It is TensorFlow, so it
            serves models of Keras 3 (on TensorFlow) and of tf_keras. Where the loss
            depends on the model, a method `loss_for(model)` may return it instead.
        teacher: Keras 3 model to learn from in distillation, or `None`.
    """

    num_steps: int
    teacher: Any | None

    def fit(self, model: Any, callbacks: Sequence[Any] = ()) -> TrainingLog:
        """Trains `model` in place.

        Args:
            model: Keras 3 or tf_keras model that puts out logits.
            callbacks: further callbacks of the model's own library.
        Returns:
            `TrainingLog`.
        Raises:
            TrainingError: if the loss is no longer a number.
        """

    def batches(self, n: int) -> Iterator[tuple[Mapping[str, np.ndarray], np.ndarray]]:
        """Yields the inputs and labels of at most `n` training batches."""

    def loss(self, labels: Any, logits: Any) -> Any:
        """Returns the loss of each example."""
