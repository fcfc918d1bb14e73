"""Products whose activations ONNX Runtime rounds in blocks: MatMulNBits.

A product of `MatMulIntegerToFloat` has one scale for all activations of a batch, so
that one outlier takes the digits of all others. MatMulNBits, an operator of ONNX
Runtime, gives each block of 128 of them its own as it runs, and multiplies integers all
the same: the output is some four times nearer to float32's.

Source: ONNX Runtime's contributed operators, `com.microsoft.MatMulNBits`. Its own
MatMulNBitsQuantizer divides weights by 128 and a block, not by 127 and a channel, which
takes trained weights off their grid.
"""

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.grids import Grid, find_grid

_DOMAIN = "com.microsoft"
_BLOCK_SIZE = 128
_MIN_BLOCK_SIZE = 16  # the operator's
_ZERO_POINT = 128
INTEGER_ACTIVATIONS = 4  # the operator's accuracy_level


def round_products(model, products):
    """Puts MatMulNBits in the place of products with constant weights.

    Args:
        model: `onnx.ModelProto`, changed in place.
        products: list of `Product`.
    """
    onnx = require("onnx", extra="quantizers")
    graph = model.graph
    blocks = {}
    for product in products:
        weights, scales = _to_blocks(product)
        names = [f"{product.weights_name}_{kind}" for kind in ("blocks", "scales")]
        for name, array in zip(names, (weights, scales), strict=True):
            graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        blocks[product.weights_name] = (product, names, weights.shape[2])
    for node in graph.node:
        if _is_plain(node) and node.input[1] in blocks:
            _replace(node, *blocks[node.input[1]])
    # What others read too (a tied table, a scaled product) stays as it was.
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    if all(each.domain != _DOMAIN for each in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))


def _to_blocks(product):
    """Returns uint8 `(channels, blocks, block size)`, and a scale for each block."""
    weights = np.moveaxis(product.weights, product.channel_axis, 0)
    grid = find_grid(weights, 0) or _grid_of_channels(weights)
    num_channels, num_inputs = weights.shape
    size = _BLOCK_SIZE
    while size // 2 >= max(num_inputs, _MIN_BLOCK_SIZE):
        size //= 2
    num_blocks = -(-num_inputs // size)
    blocks = np.full((num_channels, num_blocks * size), _ZERO_POINT, np.uint8)
    blocks[:, :num_inputs] = grid.integers(weights, 0).astype(np.int16) + _ZERO_POINT
    scales = grid.scales(num_channels).repeat(num_blocks)
    return blocks.reshape(num_channels, num_blocks, size), scales


def _grid_of_channels(weights):
    scale = np.abs(weights).max(axis=1) / np.float32(127)
    return Grid(8, np.where(scale > 0, scale, np.float32(1)))


def _is_plain(node):
    """Returns whether a node is inputs times weights, and a bias at most."""
    onnx = require("onnx", extra="quantizers")
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return node.op_type == "MatMul" or (
        node.op_type == "Gemm"
        and not found.get("transA")
        and found.get("alpha", 1) == found.get("beta", 1) == 1
    )


def _replace(node, product, names, block_size):
    """Makes a MatMul or Gemm node a MatMulNBits."""
    onnx = require("onnx", extra="quantizers")
    channels = product.weights.shape[product.channel_axis]
    bias = node.input[2:3]
    inputs = [node.input[0], *names]
    node.CopyFrom(
        onnx.helper.make_node(
            "MatMulNBits",
            # Between: zero points (128 where there are none) and an order of groups.
            [*inputs, "", "", *bias] if bias else inputs,
            list(node.output),
            name=node.name,
            domain=_DOMAIN,
            K=product.weights.size // channels,
            N=channels,
            bits=8,
            block_size=block_size,
            accuracy_level=INTEGER_ACTIVATIONS,
        )
    )
