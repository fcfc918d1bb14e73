"""How good predictions are, and how much two models differ on the same examples."""

import dataclasses
import math

import numpy as np

from tfcompress.errors import InvalidValueError

_Z95 = 1.959963984540054  # two-sided 95% quantile of the normal distribution


@dataclasses.dataclass(frozen=True)
class Quality:
    """Quality of one model on one split.

    Attributes:
        accuracy: share of examples that are right, in [0, 1].
        accuracy_low, accuracy_high: its 95% Wilson interval.
        macro_f1: mean of the classes' F1, in [0, 1].
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """Accuracy of one model minus that of another on the same examples.

    Attributes:
        difference: in [-1, 1].
        low, high: its 95% interval.
        only_first: examples that the first model alone has right.
        only_second: examples that the second model alone has right.
    """

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int


def measure_quality(predicted, expected):
    """Measures predictions against the truth.

    Args:
        predicted: int array, shape `(n,)`: numbers of classes.
        expected: int array, shape `(n,)`: the true ones.
    Returns:
        `Quality`.
    Raises:
        InvalidValueError: if there is no example or the lengths differ.

    >>> measure_quality([0, 1, 1, 1], [0, 1, 1, 0]).accuracy
    0.75
    """
    predicted, expected = _pair(predicted, expected)
    num_correct = int(np.count_nonzero(predicted == expected))
    low, high = wilson_interval(num_correct, len(expected))
    return Quality(
        num_correct / len(expected), low, high, _macro_f1(predicted, expected)
    )


def wilson_interval(num_correct, num_examples):
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


def agreement(first, second):
    """Returns the share of examples with the same label, in [0, 1].

    Args:
        first, second: int arrays, shape `(n,)`: the labels that two models predict.
    Raises:
        InvalidValueError: if there is no example or the lengths differ.

    >>> agreement([0, 1, 1, 0], [0, 1, 0, 0])
    0.75
    """
    first, second = _pair(first, second)
    return float(np.mean(first == second))


def output_error(outputs, reference):
    """Returns how far outputs are from a reference's, whatever the labels say.

    Args:
        outputs, reference: float arrays of one shape, at least one element: what two
            models put out for the same examples.
    Returns:
        The largest absolute difference over the largest absolute value of the
        reference; the difference itself where that is 0.
    Raises:
        InvalidValueError: if the shapes differ or there is no element.

    >>> output_error([[1.0, -3.5]], [[1.0, -4.0]])
    0.125
    """
    outputs, reference = np.asarray(outputs), np.asarray(reference)
    if outputs.shape != reference.shape or not outputs.size:
        raise InvalidValueError(
            "Two arrays of one shape are compared; got shapes "
            f"{outputs.shape} and {reference.shape}."
        )
    difference = np.abs(outputs.astype(np.float64) - reference).max()
    largest = np.abs(reference).max()
    return float(difference / largest if largest else difference)


def count_flips(reference_correct, correct):
    """Counts the examples whose verdict changes from a reference to another model.

    Args:
        reference_correct: bool array, shape `(n,)`: where the reference is right.
        correct: bool array, shape `(n,)`: where the other model is right.
    Returns:
        `(to_wrong, to_right)`: examples right before and wrong now, and the reverse.
    Raises:
        InvalidValueError: if there is no example or the lengths differ.

    >>> count_flips([True, True, False], [False, True, True])
    (1, 1)
    """
    reference, other = _pair(reference_correct, correct)
    reference, other = reference.astype(bool), other.astype(bool)
    to_wrong = int(np.count_nonzero(reference & ~other))
    to_right = int(np.count_nonzero(~reference & other))
    return to_wrong, to_right


def paired_difference(first_correct, second_correct):
    """Compares the accuracy of two models on the same examples.

    With b examples that the first model alone has right, c that the second alone has,
    and half an example added to each of the four cells (b' = b + 1/2, c' = c + 1/2,
    n' = n + 2), the interval is

        (b' - c') / n' +- 1.96 sqrt(b' + c' - (b' - c')^2 / n') / n'.

    Unlike the plain (Wald) interval it is not empty when no example flips. The
    difference that is reported is the plain one, (b - c) / n.

    Args:
        first_correct: bool array, shape `(n,)`: where the first model is right.
        second_correct: bool array, shape `(n,)`: where the second one is.
    Returns:
        `PairedDifference`, first minus second.
    Raises:
        InvalidValueError: if there is no example or the lengths differ.
    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24, 2005.

    >>> paired_difference([True, True, True, False], [True, False, True, False])
    ... # doctest: +ELLIPSIS
    PairedDifference(difference=0.25, low=-0.2..., only_first=1, only_second=0)
    """
    only_first, only_second = count_flips(first_correct, second_correct)
    num_examples = len(first_correct)
    adjusted = num_examples + 2
    centre = (only_first - only_second) / adjusted
    variance = only_first + only_second + 1 - centre**2 * adjusted
    spread = _Z95 * math.sqrt(variance) / adjusted
    return PairedDifference(
        (only_first - only_second) / num_examples,
        max(-1.0, centre - spread),
        min(1.0, centre + spread),
        only_first,
        only_second,
    )


def _macro_f1(predicted, expected):
    """Mean F1 of the classes that are predicted or expected at least once."""
    scores = []
    for label in np.union1d(predicted, expected):
        both = np.count_nonzero((predicted == label) & (expected == label))
        either = np.count_nonzero(predicted == label) + np.count_nonzero(
            expected == label
        )
        scores.append(2 * both / either)
    return float(np.mean(scores))


def _pair(first, second):
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise InvalidValueError(
            "Two arrays of one length, at least 1, are compared; got shapes "
            f"{first.shape} and {second.shape}."
        )
    return first, second
