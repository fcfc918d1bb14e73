"""What the weights and the activations of a file are stored and computed in.

A precision is its text, as flags, records and manifests have it, and knows its parts:

    float32, float16, bfloat16
    SCHEME_WEIGHTS[_ai8][_TABLES][_full]
        SCHEME    dynamic_range   integer weights; activations quantized as it runs
                  static_range    activations quantized by ranges of calibration
                  weight_only     integers, or few values, in the file alone
        WEIGHTS   wi8, wi4        integers of so many bits; wi4b32: blocks of 32
                  nf4             NormalFloat of 4 bits
                  cb4             indices of 4 bits into a fixed codebook
        _ai8      integer activations of 8 bits
        TABLES    ei8, efp32      embedding tables in int8 or float32; where it is left
                                  out the format's own choice
        _full     of all operators, those without weights and the outputs too

Names: ai-edge-quantizer's recipes (w, a, e for weights, activations, embeddings; i and
fp for integers and floats; bits).
"""

import re

from tfcompress.errors import InvalidValueError

_FLOAT = re.compile("(?P<weight_type>float|bfloat)(?P<weight_bits>32|16)")
_QUANTIZED = re.compile(
    "(?P<scheme>dynamic_range|static_range|weight_only)"
    "_(?P<weight_type>wi|nf|cb)(?P<weight_bits>8|4)"
    "(?:b(?P<block_size>[1-9][0-9]*))?"
    "(?:_ai(?P<activation_bits>8))?"
    "(?:_e(?P<embeddings>i8|fp32))?"
    "(?P<is_full>_full)?"
)
_WEIGHT_TYPES = {"wi": "int"}
_EMBEDDINGS = {"i8": "int8", "fp32": "float32"}


class Precision(str):
    """The text of a precision, which knows its parts.

    Attributes:
        scheme: "float", "dynamic_range", "static_range" or "weight_only".
        weight_type: "float" or "bfloat"; "int", "nf" or "cb" where it is quantized.
        weight_bits: bits of a weight.
        block_size: weights of one scale, where the text says so, else None.
        activation_bits: bits of integer activations with ranges, else None.
        embeddings: "int8" or "float32" where the text says what tables are stored in,
            else None.
        is_full: whether all operators are to be integer.

    Raises:
        InvalidValueError: if the text is no precision.

    >>> precision = Precision("static_range_wi8_ai8_full")
    >>> precision.scheme, precision.weight_bits, precision.is_full
    ('static_range', 8, True)
    >>> Precision("weight_only_nf4").weight_type, Precision("float16").is_float
    ('nf', True)
    """

    def __new__(cls, text):
        parts = _FLOAT.fullmatch(text) or _QUANTIZED.fullmatch(text)
        if parts is None:
            raise InvalidValueError(
                f"Unknown precision {text!r}: it is float32, float16 or bfloat16, or a "
                "scheme (dynamic_range, static_range, weight_only) and what its parts "
                "are stored in, such as weight_only_wi4 or static_range_wi8_ai8."
            )
        found = parts.groupdict()
        self = super().__new__(cls, text)
        self.scheme = found.get("scheme", "float")
        kind = found["weight_type"]
        self.weight_type = _WEIGHT_TYPES.get(kind, kind)
        self.weight_bits = int(found["weight_bits"])
        self.block_size = _number(found.get("block_size"))
        self.activation_bits = _number(found.get("activation_bits"))
        self.embeddings = _EMBEDDINGS.get(found.get("embeddings"))
        self.is_full = found.get("is_full") is not None
        return self

    @property
    def is_float(self):
        """Whether weights are floating-point numbers as a model has them."""
        return self.scheme == "float"

    @property
    def needs_calibration(self):
        """Whether activation ranges have to be measured for it."""
        return self.scheme == "static_range"

    @property
    def weights(self):
        """What weights are stored in, such as "float16", "int4" or "nf4"."""
        return f"{self.weight_type}{self.weight_bits}"


def precisions(*texts):
    """Returns the precisions of some texts, a tuple."""
    return tuple(map(Precision, texts))


def _number(text):
    return None if text is None else int(text)


FLOAT32 = Precision("float32")
