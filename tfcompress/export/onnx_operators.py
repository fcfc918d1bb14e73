"""Operators of TensorFlow that tf2onnx does not know, by those that ONNX has."""

import numpy as np


def _write_erfc(context, node, name, args):
    """Writes 1 - erf(x); TensorFlow computes the exact GELU by Erfc."""
    del args
    _write_with_one(context, node, name, "Erf", is_one_first=True)


def _write_expm1(context, node, name, args):
    """Writes exp(x) - 1, which is the CELU's."""
    del args
    _write_with_one(context, node, name, "Exp", is_one_first=False)


def _write_with_one(context, node, name, op_type, *, is_one_first):
    """Writes f(x) - 1, or 1 - f(x), in the place of a node; a part of two handlers."""
    outputs, shapes, dtypes = node.output, node.output_shapes, node.output_dtypes
    inputs, dtype = node.input, np.dtype(_NAMES[dtypes[0]])
    context.remove_node(name)
    one = context.make_const(f"{name}/one", np.ones([], dtype)).output[0]
    function = context.make_node(
        op_type, inputs, name=f"{name}/{op_type}", shapes=shapes, dtypes=dtypes
    ).output[0]
    terms = [one, function] if is_one_first else [function, one]
    context.make_node(
        "Sub", terms, name=name, outputs=outputs, shapes=shapes, dtypes=dtypes
    )


# ONNX's numbers of the float types.
_NAMES = {1: "float32", 10: "float16", 11: "float64"}

OPERATORS = {"Erfc": (_write_erfc, []), "Expm1": (_write_expm1, [])}
"""What tf2onnx takes as `custom_op_handlers`."""
