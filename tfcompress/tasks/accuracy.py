"""Accuracy: the share of examples that are right, its interval and its difference."""

import math
from types import ModuleType

import numpy as np

from tfcompress.errors import InvalidValueError
from tfcompress.tasks.metric import Estimate, Metric, ratio_scores

_Z95 = 1.959963984540054  # two-sided 95% quantile of the normal distribution


class Accuracy(Metric):
    """Share of examples whose class is right, in [0, 1].

    Its interval is Wilson's, that of a difference Agresti and Min's: both hold on few
    examples and near 0 and 1, where a bootstrap does not.

    >>> metric = Accuracy()
    >>> metric.estimate(metric.score([0, 1, 1, 1], [0, 1, 1, 0])).value
    0.75
    """

    name = title = "accuracy"
    unit = "share"

    def score(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Returns 1 where the class is right, else 0, over 1: float64 `(n, 2)`."""
        predicted, expected = as_labels(self, prediction, target)
        return ratio_scores(predicted == expected, np.ones(len(expected)))

    def compiled(
        self, library: ModuleType, num_units: int, activation: str | None
    ) -> object:
        """Returns the metric of Keras."""
        if num_units == 1:
            threshold = 0.0 if activation is None else 0.5
            return library.metrics.BinaryAccuracy(self.name, threshold=threshold)
        return library.metrics.SparseCategoricalAccuracy(self.name)

    def estimate(self, scores: np.ndarray) -> Estimate:
        """Returns the `Estimate` with the 95% Wilson interval."""
        (scores,) = self._checked(scores)
        num_correct = int(scores[:, 0].sum())
        low, high = wilson_interval(num_correct, len(scores))
        return Estimate(num_correct / len(scores), low, high)

    def paired(self, first: np.ndarray, second: np.ndarray) -> Estimate:
        """Returns the difference as an `Estimate`, with half an example in each cell.

        With b examples that the first model alone has right, c that the second alone
        has, and half an example added to each of the four cells (b' = b + 1/2, c' =
        c + 1/2, n' = n + 2), the interval is

            (b' - c') / n' +- 1.96 sqrt(b' + c' - (b' - c')^2 / n') / n'.

        Unlike the plain (Wald) interval it is not empty when no example flips. The
        difference itself is the plain one, (b - c) / n.

        Source: Agresti and Min, "Simple improved confidence intervals for comparing
        matched proportions", Statistics in Medicine 24, 2005.

        >>> metric, truth = Accuracy(), [1, 1, 1, 1]
        >>> first, second = (
        ...     metric.score(found, truth) for found in ([1, 1, 1, 0], [1, 0, 1, 0])
        ... )
        >>> metric.paired(first, second).value
        0.25
        """
        only_first, only_second = self.worse_and_better(first, second)
        adjusted = len(first) + 2
        centre = (only_first - only_second) / adjusted
        variance = only_first + only_second + 1 - centre**2 * adjusted
        spread = _Z95 * math.sqrt(variance) / adjusted
        return Estimate(
            (only_first - only_second) / len(first),
            max(-1.0, centre - spread),
            min(1.0, centre + spread),
        )


def wilson_interval(num_correct: int, num_examples: int) -> tuple[float, float]:
    """Returns the 95% score interval (low, high) of a share.

    With p = num_correct / n and z = 1.96:
    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    Args:
        num_correct: int, from 0 to `num_examples`.
        num_examples: int, positive.
    Raises:
        InvalidValueError: if the counts are not possible.
    Source: Wilson, "Probable inference, the law of succession, and statistical
    inference", JASA 22, 1927.

    >>> [round(bound, 4) for bound in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    if not 0 <= num_correct <= num_examples or num_examples < 1:
        raise InvalidValueError(
            f"{num_correct!r} of {num_examples!r} examples cannot be correct; give "
            "0 <= num_correct <= num_examples, at least one example."
        )
    share = num_correct / num_examples
    ratio = _Z95**2 / num_examples
    centre = share + ratio / 2
    spread = _Z95 * math.sqrt(
        share * (1 - share) / num_examples + ratio**2 / _Z95**2 / 4
    )
    # Rounding must not put the bound of a share beyond the share.
    low = 0.0 if num_correct == 0 else (centre - spread) / (1 + ratio)
    high = 1.0 if num_correct == num_examples else (centre + spread) / (1 + ratio)
    return low, high


def as_labels(metric, prediction, target):
    """Returns numbers of classes predicted and expected, as int64 arrays `(n,)`.

    Raises:
        InvalidValueError: if they are not two arrays of one length.
    """
    found, expected = np.asarray(prediction), np.asarray(target)
    if found.shape != expected.shape or found.ndim != 1:
        raise InvalidValueError(
            f"Metric {metric.name!r} compares two arrays of one length; got shapes "
            f"{found.shape} and {expected.shape}."
        )
    return found.astype(np.int64), expected.astype(np.int64)
