"""How far the results of a file may lie from its source's, by its precision.

The bounds part the errors that rounding makes from those of a file that is wrong. They
are held to `python -m experiments check_random_models`, whose table in
docs/verification.md has the errors of right files beside each of them. What a
precision costs in quality is for the user's own data to say.
"""

from tfcompress.formats import Precision

# Errors are relative: see `Verification.error`.
_FLOAT_BOUNDS = {
    "float32": 1e-3,
    # Weights lose 13 of 24 bits.
    "float16": 2e-2,
    # Weights, activations and products have 8 bits of significand.
    "bfloat16": 1e-1,
}
# By scheme, of weights of 8 bits.
_INT8_BOUNDS = {
    "weight_only": 1e-1,
    "dynamic_range": 2e-1,
    # One range for all activations of a tensor. MiniLM before any fine-tuning is off by
    # 0.36 in TFLite, and loses nothing on tweets and news.
    "static_range": 5e-1,
}
# 16 values a channel or group: a random layer is off by a tenth, a chain by more.
_BOUND_OF_4_BITS = 7e-1

# Keras rounds to its policy's dtype in places where a file, in float32, does not.
ROUNDING_BOUNDS = {"float16": 5e-2, "bfloat16": 1e-1}


def bound_of(precision):
    """Returns the bound of a precision.

    Args:
        precision: as the exporters and quantizers name it.
    Returns:
        The largest error, a float; see `Verification.error`.

    >>> bound_of("dynamic_range_wi8_efp32")
    0.2
    """
    precision = Precision(precision)
    if precision.is_float:
        return _FLOAT_BOUNDS[precision.weights]
    if precision.weight_bits == 4:
        return _BOUND_OF_4_BITS
    return _INT8_BOUNDS[precision.scheme]
