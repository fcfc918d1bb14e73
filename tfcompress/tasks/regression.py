"""The task of estimating numbers."""

import dataclasses
import math

import numpy as np

from tfcompress.errors import UnsupportedModelError
from tfcompress.tasks.head import ValueHead
from tfcompress.tasks.losses import MeanSquaredError
from tfcompress.tasks.metric import Metric
from tfcompress.tasks.regression_metrics import (
    R2,
    MeanAbsoluteError,
    RootMeanSquaredError,
)
from tfcompress.tasks.task import Output, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueOutput(Output):
    """An output of numbers, which are the prediction."""

    def head(self, model, index):
        """Returns the `ValueHead`."""
        return ValueHead(name=self.name)

    def check(self, model, shape, target):
        """Raises `UnsupportedModelError` if the sizes are not those of the target."""
        if target is None or None in shape[1:]:
            return
        wanted = tuple(np.shape(target)[1:])
        if math.prod(shape[1:]) != math.prod(wanted):
            raise UnsupportedModelError(
                f"Model {model.name!r} puts out {shape}, and the target {self.name!r} "
                f"has {math.prod(wanted)} numbers for each example, shape "
                f"{(None, *wanted)}. Give a last layer of as many units."
            )

    def as_trained(self, target):
        """Returns float32; a number for each example as shape `(n, 1)`."""
        target = np.asarray(target, np.float32)
        return target[:, None] if target.ndim == 1 else target


def regression(
    *, name: str = "values", unit: str = "", metrics: tuple[Metric, ...] | None = None
) -> Task:
    """Returns the task of a model that puts out numbers.

    Args:
        name: of the target in the dataset: numbers, shape `(n,)` or `(n, ...)`.
        unit: of the target, such as `"EUR"`.
        metrics: by default RMSE, which leads, MAE and R2.
    """
    if metrics is None:
        metrics = (RootMeanSquaredError(unit), MeanAbsoluteError(unit), R2())
    output = ValueOutput(name=name, loss=MeanSquaredError(), metrics=tuple(metrics))
    return Task((output,))
