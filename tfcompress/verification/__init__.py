"""Runs a model file that was just written, beside its source, before it gets its name.

`verify_beside_keras` and `verify_beside_file` open the file in a fresh process on its
stock runtime: it loads, its inputs and outputs are the source's, and its results lie
within the bound of its precision (`bound_of`). A runtime that crashes or hangs ends
that process and not the caller's.
"""

from tfcompress.verification.bounds import bound_of
from tfcompress.verification.check import (
    Reference,
    verify_beside_file,
    verify_beside_keras,
)
from tfcompress.verification.exchange import ModelFiles
from tfcompress.verification.result import SKIPPED, Verification

__all__ = [
    "SKIPPED",
    "ModelFiles",
    "Reference",
    "Verification",
    "bound_of",
    "verify_beside_file",
    "verify_beside_keras",
]
