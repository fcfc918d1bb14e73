"""A metric: a score of each example, an estimate with its interval, the difference.

The score of an example is a row of numbers. They are what is kept of a file, because
everything else follows: the metric of any set of examples, its interval, and how much
two files differ on the same examples.
"""

import dataclasses
from types import ModuleType

import numpy as np

from tfcompress.errors import InvalidValueError

_NUM_RESAMPLES, _SEED = 1000, 0
_ENDS = (2.5, 97.5)  # percentiles of a 95% interval
# Up to this share of distinct rows it is cheaper to draw their counts at once.
_FEW_ROWS = 0.1


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval.

    Attributes:
        value: of the metric, or a difference of two.
        low, high: ends of the interval, in the same unit.
    """

    value: float
    low: float
    high: float


class Metric:
    """What a task is scored by. A metric of one's own defines the first two methods.

    Attributes:
        name: short, of letters, digits and `_`, such as `"rmse"`.
        title: what tables call it.
        unit: `"share"` of what lies in [0, 1] and is compared in points of a hundredth;
            else the unit of the figure, empty where it has none.
        higher_is_better: the direction.
    """

    name = title = unit = ""
    higher_is_better = True

    def score(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Scores each example.

        Args:
            prediction: array, the examples leading: what a head decided.
            target: array of as many examples: the truth.
        Returns:
            float64 array, shape `(examples, k)`: what `value` is computed from. Of a
            ratio these are the numerator and the denominator.
        """
        raise NotImplementedError

    def value(self, scores: np.ndarray, counts: np.ndarray) -> float:
        """Computes the metric of a set of examples.

        Args:
            scores: float64 array, shape `(n, k)`.
            counts: float64 array, shape `(n,)`: how often each row is in the set.
        Returns:
            float. Of a ratio: the sum of the numerators over that of the denominators.
        """
        numerator, denominator = counts @ scores
        return float(numerator / denominator)

    def each(self, scores: np.ndarray) -> np.ndarray:
        """Returns float64 `(n,)`: how good each example is, as the metric counts."""
        return scores[:, 0] / scores[:, 1]

    def compiled(
        self, library: ModuleType, num_units: int, activation: str | None
    ) -> object:
        """Returns a metric of Keras for the training's progress, or `None`.

        Args:
            library: module `keras` or `tf_keras`.
            num_units: last size of the output.
            activation: what the model ends in, as of `output_activation`.
        """
        del library, num_units, activation
        return

    def estimate(self, scores: np.ndarray) -> Estimate:
        """Returns the `Estimate` of scored examples.

        Raises:
            InvalidValueError: if there is no example, or a score is not finite.
        """
        (scores,) = self._checked(scores)
        rows, counts = np.unique(scores, axis=0, return_counts=True)
        found = [self.value(rows, drawn) for drawn in _resamples(counts)]
        return _estimate(self._plain(scores), found)

    def paired(self, first: np.ndarray, second: np.ndarray) -> Estimate:
        """Compares two files on the same examples: first minus second.

        Args:
            first, second: scores of both, of the same examples in one order.
        Returns:
            `Estimate` of the difference, by a paired bootstrap: examples are drawn with
            replacement, the two scores of one always together. Percentiles of 1,000
            draws of a fixed seed.
        Raises:
            InvalidValueError: as `estimate`, or if the examples are not as many.
        Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
        13; Koehn, "Statistical significance tests for machine translation evaluation",
        EMNLP 2004, for pairs.
        """
        first, second = self._checked(first, second)
        both = np.concatenate([first, second], axis=1)
        rows, counts = np.unique(both, axis=0, return_counts=True)
        one, other = rows[:, : first.shape[1]], rows[:, first.shape[1] :]
        found = [
            self.value(one, drawn) - self.value(other, drawn)
            for drawn in _resamples(counts)
        ]
        return _estimate(self._plain(first) - self._plain(second), found)

    def worse_and_better(
        self, reference: np.ndarray, scores: np.ndarray
    ) -> tuple[int, int]:
        """Counts the examples that are scored worse, and better, than a reference's.

        Args:
            reference, scores: scores of the same examples in one order.
        Returns:
            `(num_worse, num_better)`.
        Raises:
            InvalidValueError: as `paired`.
        """
        before, now = map(self.each, self._checked(reference, scores))
        if not self.higher_is_better:
            before, now = -before, -now
        return int(np.count_nonzero(now < before)), int(np.count_nonzero(now > before))

    def _plain(self, scores):
        return self.value(scores, np.ones(len(scores)))

    def _checked(self, *scores):
        """Returns scores as float64 arrays, or says what is wrong with them."""
        scores = [np.asarray(each, np.float64) for each in scores]
        for each in scores:
            if each.ndim != 2 or not each.size:
                raise InvalidValueError(
                    f"Metric {self.name!r} has no scores: it needs an array of shape "
                    f"(examples, k) with at least one example, got {each.shape}."
                )
            if not np.isfinite(each).all():
                raise InvalidValueError(
                    f"Metric {self.name!r} has a score that is NaN or infinity, first "
                    f"for example {int((~np.isfinite(each)).any(axis=1).argmax())}."
                )
        if len({each.shape for each in scores}) > 1:
            raise InvalidValueError(
                f"Metric {self.name!r} compares two files on the same examples; got "
                f"scores of shapes {' and '.join(str(e.shape) for e in scores)}."
            )
        return scores


def check_scores(metric, scores, num_examples):
    """Returns what `metric.score` gave as float64, or refuses it.

    Args:
        metric: `Metric`.
        scores: what it returned.
        num_examples: examples that it was given.
    Raises:
        InvalidValueError: if it is not a row of numbers for each example.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or len(scores) != num_examples:
        raise InvalidValueError(
            f"Metric {metric.name!r} must give a score for each of {num_examples} "
            f"examples, an array of shape ({num_examples}, k); got {scores.shape}."
        )
    return scores


def ratio_scores(numerator, denominator):
    """Returns the scores of a ratio: float64 array, shape `(n, 2)`.

    Args:
        numerator, denominator: arrays, shape `(n,)`.
    """
    return np.stack([numerator, denominator], axis=1).astype(np.float64)


def same_shape(metric, prediction, target):
    """Returns a prediction and its target as float64 arrays of one shape `(n, k)`.

    Raises:
        InvalidValueError: if they have not as many numbers for each example.
    """
    prediction = np.asarray(prediction, np.float64)
    target = np.asarray(target, np.float64)
    if len(prediction) != len(target) or prediction.size != target.size:
        raise InvalidValueError(
            f"Metric {metric.name!r} compares arrays of as many numbers; got "
            f"predictions of shape {prediction.shape} and targets of {target.shape}."
        )
    shape = (len(target), target[0].size if len(target) else 1)
    return prediction.reshape(shape), target.reshape(shape)


def _resamples(counts):
    """Yields how often each distinct row is in a resample, float64 `(rows,)`.

    Args:
        counts: int array: how often each distinct row is in the data.
    """
    # RandomState's stream is frozen for good, that of Generator may change.
    random = np.random.RandomState(_SEED)
    num_examples = int(counts.sum())
    if len(counts) <= _FEW_ROWS * num_examples:
        # The counts of an i.i.d. resample are multinomial: no example is drawn.
        for drawn in random.multinomial(
            num_examples, counts / num_examples, _NUM_RESAMPLES
        ):
            yield drawn.astype(np.float64)
        return
    row_of = np.repeat(np.arange(len(counts)), counts)
    for _ in range(_NUM_RESAMPLES):
        drawn = row_of[random.randint(0, num_examples, num_examples)]
        yield np.bincount(drawn, minlength=len(counts)).astype(np.float64)


def _estimate(value, found):
    low, high = np.percentile(found, _ENDS)
    return Estimate(float(value), float(low), float(high))
