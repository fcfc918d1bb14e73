"""The task of telling which of some classes an example is."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.tasks.accuracy import Accuracy
from tfcompress.tasks.head import ClassHead
from tfcompress.tasks.losses import CrossEntropy
from tfcompress.tasks.macro_f1 import MacroF1
from tfcompress.tasks.metric import Metric
from tfcompress.tasks.output_activation import output_activation
from tfcompress.tasks.task import Output, Task

LABELS = "labels"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassOutput(Output):
    """An output of classes: logits or probabilities, one unit for two classes.

    Args:
        class_names: name of each class, by label.
    """

    class_names: tuple[str, ...]

    def head(self, model, index):
        """Returns the `ClassHead`, which knows what the model ends in."""
        activation = "none"
        if output_activation(model, index) is None:
            num_units = model.outputs[index].shape[-1]
            activation = "sigmoid" if num_units == 1 else "softmax"
        return ClassHead(name=self.name, labels=self.class_names, activation=activation)

    def check(self, model, shape, target):
        """Raises `UnsupportedModelError` if the units are not those of the classes."""
        count = len(self.class_names)
        if len(shape) == 2 and (shape[-1] == count or (shape[-1], count) == (1, 2)):
            _check_labels(self.name, target, count)
            return
        raise UnsupportedModelError(
            f"Model {model.name!r} puts out {shape}, and the data has {count} classes: "
            f"{', '.join(self.class_names[:5])}. Give the data it was trained for, or "
            f"a last layer of {1 if count == 2 else count} units."
        )

    def as_trained(self, target):
        """Returns int32 labels."""
        return np.asarray(target, np.int32)


def _check_labels(name, target, count):
    """Raises `InvalidValueError` if a target holds what is no label of a class."""
    if target is None or not np.size(target):
        return
    target = np.asarray(target)
    if target.ndim != 1 or target.dtype.kind not in "iu":
        raise InvalidValueError(
            f"The target {name!r} of classes needs whole numbers of shape (examples,), "
            f"got {target.dtype} of shape {target.shape}."
        )
    if target.min() < 0 or target.max() >= count:
        raise InvalidValueError(
            f"The target {name!r} holds labels from {target.min()} to {target.max()}, "
            f"and the task has {count} classes, from 0 to {count - 1}."
        )


def classification(
    class_names: Sequence[str],
    *,
    name: str = LABELS,
    metrics: tuple[Metric, ...] | None = None,
) -> Task:
    """Returns the task of a classifier.

    Args:
        class_names: name of each class, by label.
        name: of the target in the dataset: int labels, shape `(n,)`.
        metrics: by default accuracy, which leads, and macro F1.
    Raises:
        InvalidValueError: if there are not two classes.
    """
    class_names = tuple(map(str, class_names))
    if len(class_names) < 2:
        raise InvalidValueError(
            f"Classification needs at least two classes, got {len(class_names)}."
        )
    output = ClassOutput(
        name=name,
        loss=CrossEntropy(),
        metrics=(Accuracy(), MacroF1()) if metrics is None else tuple(metrics),
        class_names=class_names,
    )
    return Task((output,))
