"""A constant of a model file, as every format's reader gives it."""

import dataclasses

import numpy as np

from tfcompress.formats.quantized_constants import Quantization


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """One constant of a model file.

    Attributes:
        name: its name in the file.
        shape: its shape in the file.
        dtype: such as "float32", "bfloat16", "int4" or "nf4"; another text for types
            that no weight has.
        data: uint8 array, shape `(bytes,)`: the elements in the order of C, two of 4
            bits to the byte, the first one low.
        quantization: `Quantization` of integers that stand for real numbers, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: np.ndarray
    quantization: Quantization | None = None


def to_bytes(array):
    """Returns the elements of an array as a uint8 array, in the order of C."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def pack_halves(elements):
    """Packs 4-bit elements, each in a byte, two to the byte, the first one low.

    >>> pack_halves(np.uint8([1, 2, 3])).tolist()
    [33, 3]
    """
    padded = np.append(elements & 15, np.zeros(len(elements) % 2, np.uint8))
    return padded[0::2] | padded[1::2] << 4
