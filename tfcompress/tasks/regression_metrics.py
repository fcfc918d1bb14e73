"""What numbers are scored by: root mean squared and mean absolute error, and R2."""

from types import ModuleType

import numpy as np

from tfcompress.tasks.metric import Metric, ratio_scores, same_shape


class _Error(Metric):
    """A mean error in the unit of the target.

    Args:
        unit: of the target, such as `"EUR"`; empty where it has none.
    """

    higher_is_better = False

    def __init__(self, unit=""):
        self.unit = unit


class RootMeanSquaredError(_Error):
    """Square root of the mean squared error, over all numbers of all examples.

    >>> metric = RootMeanSquaredError()
    >>> metric.estimate(metric.score(np.float32([1, 2]), np.float32([4, 6]))).value ** 2
    12.500000000000002
    """

    name, title = "rmse", "RMSE"

    def score(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Returns the sum of squared errors and the count of numbers."""
        prediction, target = same_shape(self, prediction, target)
        squares = ((prediction - target) ** 2).sum(axis=1)
        return ratio_scores(squares, np.full(len(squares), target.shape[1]))

    def value(self, scores: np.ndarray, counts: np.ndarray) -> float:
        """Returns the root of the mean squared error."""
        return float(np.sqrt(super().value(scores, counts)))

    def each(self, scores: np.ndarray) -> np.ndarray:
        """Returns the root mean squared error of each example."""
        return np.sqrt(super().each(scores))

    def compiled(
        self, library: ModuleType, num_units: int, activation: str | None
    ) -> object:
        """Returns the metric of Keras."""
        return library.metrics.RootMeanSquaredError(self.name)


class MeanAbsoluteError(_Error):
    """Mean absolute error, over all numbers of all examples."""

    name, title = "mae", "MAE"

    def score(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Returns the sum of absolute errors and the count of numbers."""
        prediction, target = same_shape(self, prediction, target)
        errors = np.abs(prediction - target).sum(axis=1)
        return ratio_scores(errors, np.full(len(errors), target.shape[1]))

    def compiled(
        self, library: ModuleType, num_units: int, activation: str | None
    ) -> object:
        """Returns the metric of Keras."""
        return library.metrics.MeanAbsoluteError(self.name)


class R2(Metric):
    """Coefficient of determination: 1 - residual / total sum of squares.

    The mean of the R2 of each number of a target. A target that is the same in all
    examples gives 1 where it is met and else 0, as scikit-learn's `r2_score` does.
    """

    name, title = "r2", "R2"

    def score(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Returns the squared errors and the targets, float64 `(n, 2k)`."""
        prediction, target = same_shape(self, prediction, target)
        return np.concatenate([(prediction - target) ** 2, target], axis=1)

    def value(self, scores: np.ndarray, counts: np.ndarray) -> float:
        """Returns the mean R2; the targets' mean is that of the set."""
        residual, sums = np.split(counts @ scores, 2)
        deviations = scores[:, len(sums) :] - sums / counts.sum()
        # Not `counts @`: for one column BLAS takes a hundred times as long.
        total = np.einsum("n,nk->k", counts, deviations**2)
        found = 1 - residual / np.where(total > 0, total, 1)
        return float(np.where(total > 0, found, residual == 0).mean())

    def each(self, scores: np.ndarray) -> np.ndarray:
        """Returns minus the sum of squared errors of each example."""
        return -np.split(scores, 2, axis=1)[0].sum(axis=1)
