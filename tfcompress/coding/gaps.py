"""Which weights are there, told by the gaps between them.

An *entry* stands for one weight; its gap is the distance from the entry before it, so
that the running sum of the gaps gives the places: 3, 2, 4 are the weights 3, 5 and 9 of
the flattened tensor. A gap that its bits cannot hold is bridged by *fillers*: entries
of the largest gap whose value is the zero. They stand where zeros are.

Source: Deep Compression, Han et al. 2016, section 2 (arXiv:1510.00149): the same
fillers, for gaps of 5 bits; we take 4 or 8, whichever makes the tensor smaller.
"""

import numpy as np

GAP_BITS = (4, 8)


def largest_gap(num_bits):
    """Returns the largest gap that so many bits hold: 15 or 255."""
    return (1 << num_bits) - 1


def num_fillers(places, num_bits):
    """Counts the fillers that gaps of so many bits need.

    Args:
        places: places of the weights that are there, ascending, shape `(n,)`.
        num_bits: one of `GAP_BITS`.

    >>> num_fillers(np.array([0, 15, 31, 100]), 4)
    5
    """
    return int(_fillers(places, num_bits).sum())


def make_gaps(places, num_bits):
    """Turns places into gaps.

    Args:
        places: places of the weights that are there, ascending, shape `(n,)`.
        num_bits: one of `GAP_BITS`.
    Returns:
        uint8 array, shape `(entries,)`, fillers included.

    >>> gaps = make_gaps(np.array([3, 5, 40]), 4)
    >>> gaps.tolist(), gaps.cumsum().tolist()
    ([3, 2, 15, 15, 5], [3, 5, 20, 35, 40])
    """
    largest = largest_gap(num_bits)
    fillers = _fillers(places, num_bits)
    gaps = np.full(places.size + int(fillers.sum()), largest, np.uint8)
    gaps[np.cumsum(fillers + 1) - 1] = np.diff(places, prepend=0) - largest * fillers
    return gaps


def _fillers(places, num_bits):
    """Returns the number of fillers in front of each weight."""
    distances = np.diff(places, prepend=0)
    return np.maximum(distances - 1, 0) // largest_gap(num_bits)
