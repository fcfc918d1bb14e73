"""Which weights to keep: scores in, masks with exact counts out. Pure numpy.

A mask is a bool array of the weight's shape, true where the weight is kept. The lowest
scores go first; among equal ones the first in the array's order.
"""

import numpy as np


def magnitude_scores(weight):
    """Returns the magnitudes of a weight as float32.

    Args:
        weight: float array of any shape.
    """
    return np.abs(weight, dtype=np.float32)


def fisher_scores(weight, importance):
    """Returns what zeroing each weight adds to the loss, up to a factor.

    Args:
        weight: float array of any shape.
        importance: float32 array of that shape, as of `fisher_information`.
    Returns:
        float32 array of that shape.

    >>> fisher_scores(np.float32([1, -2]), np.float32([3, 0.5]))
    array([3., 2.], dtype=float32)
    """
    return np.square(weight, dtype=np.float32) * importance


def random_scores(weight, seed):
    """Draws a score for each weight; zeros that are there already come first.

    Args:
        weight: float array of any shape.
        seed: non-negative integer, or a sequence of them.
    Returns:
        float32 array of the weight's shape, in [0, 1), and -1 where the weight is zero.
    """
    scores = np.random.default_rng(seed).random(weight.shape, np.float32)
    scores[np.asarray(weight) == 0] = -1
    return scores


def keep_largest(scores, num_zeros):
    """Masks the `num_zeros` lowest scores of several arrays taken together.

    Args:
        scores: list of float32 arrays of any shapes, without NaN.
        num_zeros: how many to mask in all, from 0 to all of them.
    Returns:
        List of masks.

    >>> keep_largest([np.float32([3, 1, 1]), np.float32([1, 2])], 2)
    [array([ True, False, False]), array([ True,  True])]
    """
    total = sum(array.size for array in scores)
    if num_zeros in (0, total):
        return [np.full(array.shape, num_zeros == 0) for array in scores]
    together = np.concatenate([array.ravel() for array in scores])
    together.partition(num_zeros - 1)
    threshold = together[num_zeros - 1]
    del together  # as large as all weights
    masks = [array > threshold for array in scores]
    # More weights may lie on the threshold than there is room for.
    num_kept = total - num_zeros - sum(np.count_nonzero(mask) for mask in masks)
    for array, mask in zip(reversed(scores), reversed(masks), strict=True):
        if num_kept == 0:
            break
        ties = np.flatnonzero(array == threshold)[-num_kept:]
        mask.ravel()[ties] = True
        num_kept -= ties.size
    return masks


def keep_m_by_n(scores, m_by_n, axis):
    """Masks the `m` lowest scores of every `n` in a row along an axis.

    Args:
        scores: float32 array; `n` divides its length along `axis`.
        m_by_n: `(m, n)`, zeros first, as TFMOT counts: `(2, 4)`.
        axis: axis along which the groups lie.
    Returns:
        Mask.

    >>> keep_m_by_n(np.float32([4, 1, 2, 3]), (2, 4), axis=0)
    array([ True, False, False,  True])
    """
    m, n = m_by_n
    rows = np.moveaxis(scores, axis, -1)
    groups = rows.reshape(-1, n)
    lowest = np.argsort(groups, axis=1, kind="stable")[:, :m]
    mask = np.ones(groups.shape, bool)
    np.put_along_axis(mask, lowest, False, axis=1)
    return np.moveaxis(mask.reshape(rows.shape), -1, axis)


def block_means(scores, block_shape):
    """Averages scores over blocks.

    Args:
        scores: float32 array, seen as a matrix of shape `(-1, scores.shape[-1])`.
        block_shape: rows and columns of a block; they divide the matrix's.
    Returns:
        float32 array, shape `(block rows, block columns)`.

    >>> block_means(np.float32([[1, 3], [5, 7]]), (2, 1))
    array([[3., 5.]], dtype=float32)
    """
    rows, columns = block_shape
    matrix = scores.reshape(-1, scores.shape[-1])
    blocks = matrix.reshape(
        matrix.shape[0] // rows, rows, matrix.shape[1] // columns, columns
    )
    return blocks.mean(axis=(1, 3))


def spread_blocks(mask, block_shape, shape):
    """Turns a mask of blocks into one of weights.

    Args:
        mask: bool array, shape `(block rows, block columns)`.
        block_shape: rows and columns of a block.
        shape: the weight's shape.
    Returns:
        Mask of that shape.
    """
    rows, columns = block_shape
    return mask.repeat(rows, axis=0).repeat(columns, axis=1).reshape(shape)
