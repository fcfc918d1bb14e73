"""How much two files agree, against numbers that were computed by hand."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.tasks import (
    ClassHead,
    ValueHead,
    agreement,
    is_constant,
    output_error,
)

KIND = ClassHead(name="kind", labels=("a", "b", "c"), activation="softmax")
SIDE = ClassHead(name="side", labels=("left", "right"), activation="sigmoid")
PRICE = ValueHead(name="price")


def test_agreement_counts_examples_that_are_the_same_in_every_class():
    first = {"kind": np.int32([0, 1, 2, 2, 1]), "side": np.int32([0, 0, 1, 1, 1])}
    second = {"kind": np.int32([0, 1, 2, 1, 2]), "side": np.int32([0, 1, 1, 1, 1])}
    assert agreement([KIND], first, second) == 0.6
    assert agreement([KIND, SIDE], first, second) == 0.4


def test_agreement_of_numbers_alone_is_not_known():
    first, second = {"price": np.ones((2, 1))}, {"price": np.ones((2, 1))}
    assert agreement([PRICE], first, second) is None


def test_is_constant_where_every_output_is_the_same():
    kind, price = np.int32([1, 1]), np.float32([[2], [3]])
    assert is_constant([KIND], {"kind": kind})
    assert not is_constant([KIND, PRICE], {"kind": kind, "price": price})


def test_output_error_is_of_the_largest_output():
    reference = [[1.0, -4.0], [0.5, 2.0]]
    assert output_error(reference, reference) == 0
    assert output_error([[1.0, -4.0], [0.5, 2.5]], reference) == 0.125
    assert output_error([[0.25]], [[0.0]]) == 0.25
    # The same label twice, and outputs that are far apart.
    assert output_error([[0.0, 6.48]], [[0.003, 0.997]]) > 5


@pytest.mark.parametrize("shapes", [((1, 2), (2, 1)), ((0, 2), (0, 2))])
def test_output_error_of_other_shapes_or_nothing_raises(shapes):
    arrays = [np.zeros(shape) for shape in shapes]
    with pytest.raises(InvalidValueError, match="Two arrays of one shape are compared"):
        output_error(*arrays)
