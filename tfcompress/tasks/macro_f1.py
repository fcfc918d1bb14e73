"""Macro F1: the mean of the classes' F1, each class counting alike."""

import numpy as np

from tfcompress.tasks.accuracy import as_labels
from tfcompress.tasks.metric import Metric, ratio_scores


class MacroF1(Metric):
    """Mean F1 of the classes that are predicted or expected at least once.

    It is no mean over examples, so an example's score is its cell of the confusion
    matrix: the class that was predicted and the one that was expected. The bootstrap
    draws the cells' counts.

    >>> metric = MacroF1()
    >>> scores = metric.score(np.int32([0, 1, 1]), np.int32([0, 1, 0]))
    >>> round(metric.estimate(scores).value, 4)
    0.6667
    """

    name, title, unit = "macro_f1", "macro F1", "share"

    def score(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Returns class predicted and class expected, float64 `(n, 2)`."""
        return ratio_scores(*as_labels(self, prediction, target))

    def value(self, scores: np.ndarray, counts: np.ndarray) -> float:
        """Returns the mean F1; a class that is in no example of the set is left out."""
        predicted, expected = scores.astype(np.int64).T
        size = int(scores.max()) + 1
        both = np.bincount(predicted, counts * (predicted == expected), size)
        either = np.bincount(predicted, counts, size)
        either += np.bincount(expected, counts, size)
        occurs = either > 0
        return float(np.mean(2 * both[occurs] / either[occurs]))

    def each(self, scores: np.ndarray) -> np.ndarray:
        """Returns 1 where the class is right, else 0."""
        return (scores[:, 0] == scores[:, 1]).astype(np.float64)
