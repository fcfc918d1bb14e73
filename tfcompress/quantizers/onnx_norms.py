"""BatchNormalization behind an ONNX convolution, taken into its scales and its bias.

Not into its weights, as ONNX Runtime does on loading: weights that lie on a grid stay
the integers that they were.
"""

import dataclasses

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.onnx_weights import CONVOLUTION

_EPSILON = 1e-5  # the standard's


@dataclasses.dataclass(frozen=True, eq=False)
class Norm:
    """output = factors * input + shifts, by channel.

    Attributes:
        index: the node's place in the main graph.
        output: name of what it puts out.
        factors, shifts: float32, shape `(channels,)`; factors are positive.
    """

    index: int
    output: str
    factors: np.ndarray
    shifts: np.ndarray


def find_norms(model, weights):
    """Finds the normalizations that convolutions can take in.

    Args:
        model: `OnnxModel`.
        weights: list of `Weight`.
    Returns:
        Dict of the index of a convolution in the main graph to its `Norm`.
    """
    uses, readers = model.count_uses(), {}
    for index, node in enumerate(model.main.nodes):
        if node.op_type == "BatchNormalization":
            readers[node.input[0]] = index
    norms = {}
    for weight in weights:
        for use in weight.uses:
            if use.kind != CONVOLUTION or use.scope is not model.main:
                continue
            output, node = use.node.output[0], use.node
            has_constant_bias = len(node.input) < 3 or (
                model.constant(model.main, node.input[2]) is not None
            )
            if output in readers and uses[output] == 1 and has_constant_bias:
                norm = _read(model, readers[output])
                if norm is not None:
                    norms[use.index] = norm
    return norms


def _read(model, index):
    """Returns the `Norm` of a node; None if it is not of constants that let it be."""
    onnx = require("onnx", extra="quantizers")
    node = model.main.nodes[index]
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    outputs = [name for name in node.output if name]
    arrays = [model.constant(model.main, name) for name in node.input[1:]]
    if found.get("training_mode") or len(outputs) > 1:
        return None
    if any(array is None for array in arrays):
        return None
    gamma, beta, mean, variance = (array.astype(np.float64) for array in arrays)
    factors = gamma / np.sqrt(variance + found.get("epsilon", _EPSILON))
    shifts = (beta - mean * factors).astype(np.float32)
    factors = factors.astype(np.float32)
    is_usable = np.isfinite([factors, shifts]).all() and (factors > 0).all()
    return Norm(index, node.output[0], factors, shifts) if is_usable else None
