"""Which examples make a batch: drawn by seed, and of like length where asked for."""

import numpy as np

# Shapes are multiples of it: fewer of them, and whole vector registers.
LENGTH_MULTIPLE = 8
# Batches that are sorted together. The more, the less padding; the fewer, the more a
# batch is a random draw. With 64 batches of 32 tweets 16% of the positions are padding,
# what the multiple of 8 adds included; padded to 64 it is 68%.
POOL_BATCHES = 64


def example_lengths(padding_mask):
    """Returns the length of each example: the place of its last real position.

    Args:
        padding_mask: integer or bool array, shape `(n, length)`; 0 is padding.
    Returns:
        int64 array, shape `(n,)`, at least 1, so that no batch is empty.

    >>> example_lengths(np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])).tolist()
    [2, 1, 3]
    """
    is_real = np.asarray(padding_mask) != 0
    lengths = is_real.shape[1] - np.argmax(is_real[:, ::-1], axis=1)
    return np.where(is_real.any(axis=1), lengths, 1)


def padded_length(lengths, limit):
    """Returns the length to which a batch is trimmed.

    Args:
        lengths: lengths of its examples.
        limit: length of the arrays, which is never exceeded.
    Returns:
        The longest, rounded up to a multiple of `LENGTH_MULTIPLE`.

    >>> padded_length([3, 9], 64), padded_length([3, 9], 12)
    (16, 12)
    """
    longest = int(np.max(lengths))
    return min(-(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, limit)


def epoch_batches(seed, epoch, num_examples, batch_size, lengths=None):
    """Draws the batches of an epoch: every example once.

    Args:
        seed: non-negative integer.
        epoch: epoch from 0; each has its own order.
        num_examples: number of examples.
        batch_size: examples of a batch.
        lengths: integer array, shape `(num_examples,)`; batches are then made of
            examples of like length: the drawn order is sorted within pools of
            `POOL_BATCHES` batches, and the batches are shuffled. `None`: as drawn.
    Returns:
        List of int32 arrays of `batch_size` indices; one of them may be smaller, and is
        the last one without `lengths`. Its examples are not sorted: it would else be
        made of the longest.

    >>> batches = epoch_batches(0, 0, 5, 2, lengths=np.array([9, 1, 8, 2, 2]))
    >>> sorted(len(batch) for batch in batches)
    [1, 2, 2]
    """
    # RandomState's stream is frozen for good, that of Generator may change.
    random = np.random.RandomState([seed, epoch])
    order = random.permutation(num_examples).astype(np.int32)
    if lengths is None:
        return _cut(order, batch_size)
    num_whole = num_examples - num_examples % batch_size
    batches = []
    for pool in _cut(order[:num_whole], POOL_BATCHES * batch_size):
        by_length = np.argsort(lengths[pool], kind="stable")
        batches += _cut(pool[by_length], batch_size)
    if num_whole < num_examples:
        batches.append(order[num_whole:])
    return [batches[index] for index in random.permutation(len(batches))]


def sorted_batches(lengths, batch_size):
    """Cuts examples in the order of their length, for scoring.

    Args:
        lengths: integer array, shape `(n,)`.
        batch_size: examples of a batch; the last may be smaller.
    Returns:
        List of int32 arrays of indices.
    """
    return _cut(np.argsort(lengths, kind="stable").astype(np.int32), batch_size)


def _cut(indices, size):
    return [indices[start : start + size] for start in range(0, len(indices), size)]
