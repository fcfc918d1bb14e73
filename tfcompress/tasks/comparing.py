"""How much two files agree, whatever their task."""

from collections.abc import Mapping, Sequence

import numpy as np

from tfcompress.errors import InvalidValueError


def agreement(
    heads: Sequence,
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
) -> float | None:
    """Returns the share of examples for which two files decide the same, in [0, 1].

    Args:
        heads: the heads of the outputs.
        first, second: name of an output -> what its head decided, of both files.
    Returns:
        The share of examples that are the same in every output of classes; `None`
        where there is none, because numbers are near or far and not the same.

    >>> from tfcompress.tasks import ClassHead
    >>> heads = [ClassHead(labels=("a", "b"), activation="softmax")]
    >>> one, other = {"labels": np.int32([0, 1])}, {"labels": np.int32([0, 0])}
    >>> agreement(heads, one, other)
    0.5
    """
    found = [head.agreement(first[head.name], second[head.name]) for head in heads]
    found = [same for same in found if same is not None]
    return float(np.mean(np.logical_and.reduce(found))) if found else None


def is_constant(heads: Sequence, decisions: Mapping[str, np.ndarray]) -> bool:
    """Whether every head decides the same for every example."""
    return all(len(np.unique(decisions[head.name], axis=0)) == 1 for head in heads)


def output_error(outputs: np.ndarray, reference: np.ndarray) -> float:
    """Returns how far outputs are from a reference's, whatever is decided by them.

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
