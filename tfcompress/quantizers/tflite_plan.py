"""How each layer of a .tflite file is quantized, as ai-edge-quantizer takes it."""

import dataclasses
import re

import numpy as np

from tfcompress.errors import InvalidValueError, require
from tfcompress.quantizers.grids import Grid, find_grid
from tfcompress.quantizers.tflite_graph import (
    CONVOLUTIONS,
    DENSE,
    LOOKUP,
    WeightedLayer,
)


@dataclasses.dataclass(frozen=True)
class _Weights:
    """How weights are stored: their bits, and which of them share a scale."""

    num_bits: int
    granularity: str  # as ai-edge-quantizer calls it
    is_static: bool = False  # whether activations have ranges from calibration
    is_symmetric: bool = False  # whether activations have their zero at 0


_CHANNELS_OF_8_BITS = _Weights(8, "CHANNELWISE")
_CHANNELS_OF_4_BITS = _Weights(4, "CHANNELWISE")
_BLOCKS_OF_4_BITS = _Weights(4, "BLOCKWISE_32")
_STATIC = _Weights(8, "CHANNELWISE", is_static=True)
# Rows stay as they are stored, which for the tool is a static range.
_TABLE = _Weights(8, "TENSORWISE", is_static=True)
# The same integers as those of a dense layer, which holds the table's buffer too.
_TIED_TABLE = dataclasses.replace(_TABLE, is_symmetric=True)
_BLOCK_SIZE = 32

_ACTIVATION_BITS = 8

# Where ai-edge-quantizer has another name for an operator.
_TOOL_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
_HAVE_4_BITS = (DENSE, "CONV_2D")
_HAVE_STATIC_RANGES = (DENSE, *CONVOLUTIONS)


@dataclasses.dataclass(frozen=True, eq=False)
class PlanRow:
    """What is done with one layer.

    Attributes:
        layer: `WeightedLayer`.
        weights: how they are stored; None leaves them in float.
        grid: `Grid` that they lie on, None if on none.
    """

    layer: WeightedLayer
    weights: _Weights | None
    grid: Grid | None


def has_integer_tables(precision):
    """Returns whether embedding tables become int8."""
    return precision.embeddings == "int8" or precision.needs_calibration


def _weights_of(precision):
    """Returns how the weights of dense layers are stored."""
    if precision.needs_calibration:
        return _STATIC
    if precision.block_size == _BLOCK_SIZE:
        return _BLOCKS_OF_4_BITS
    return _CHANNELS_OF_4_BITS if precision.weight_bits == 4 else _CHANNELS_OF_8_BITS


def make_plan(graph, precision, layers, tables):
    """Yields a `PlanRow` for each layer with weights.

    Weights that lie on a grid keep it: on one of 8 bits they are never rounded to 4
    but where a rule says so, and with one scale for all they get one. Weights that are
    a table, too, get the table's scale, so that they are written once.

    Args:
        graph: `TfliteGraph`.
        precision: of `formats.TFLITE.quantizer`.
        layers: `LayerRules`.
        tables: the `Table`s that become int8.
    Raises:
        InvalidValueError: if a rule or a setting does not fit.
    """
    found = graph.weighted_layers()
    scales = {table.buffer: _table_scale(table) for table in tables}
    plan = layers.plan({layer.name: layer.kind for layer in found})
    for layer in found:
        settings = plan[layer.name]
        if settings is None:
            yield PlanRow(layer, None, None)
            continue
        default = _default(layer, precision)
        is_static = _is_static(layer, settings, default)
        num_bits = _num_bits(layer, settings, default, is_static)
        granularity = default.granularity
        grid = find_grid(layer.weights, layer.channel_axis)
        if grid is None and layer.kind == DENSE and layer.buffer in scales:
            grid = Grid(8, scales[layer.buffer])
        if grid is not None:
            if "num_bits" not in settings:
                num_bits = max(num_bits, grid.num_bits)
            is_dense = layer.kind == DENSE
            one_scale = is_dense and grid.is_per_tensor
            granularity = "TENSORWISE" if one_scale else "CHANNELWISE"
        elif num_bits != default.num_bits:
            granularity = "CHANNELWISE"
        yield PlanRow(layer, _Weights(num_bits, granularity, is_static), grid)


def _table_scale(table):
    """Returns the one scale of a table: its grid's, if it lies on one."""
    grid = find_grid(table.values, 0)
    if grid is not None and grid.is_per_tensor:
        return grid.scale
    return np.asarray(np.abs(table.values).max() / 127)


def _default(layer, precision):
    """Returns how the weights of a kind of layer are stored, unless a rule says else.

    Loops and branches have no ranges of activations, and some kinds no kernels for
    them; int4 is for dense layers and plain convolutions.
    """
    default = _weights_of(precision)
    has_ranges = layer.is_main and layer.kind in _HAVE_STATIC_RANGES
    if default.is_static and not has_ranges:
        return _CHANNELS_OF_8_BITS
    if default.num_bits == 4 and layer.kind not in _HAVE_4_BITS:
        return _CHANNELS_OF_8_BITS
    if default == _BLOCKS_OF_4_BITS and (
        layer.kind != DENSE or layer.weights.shape[-1] % _BLOCK_SIZE
    ):
        return _CHANNELS_OF_8_BITS
    return default


def _is_static(layer, settings, default):
    choices = ("dynamic_range", "static_range")[: 1 + default.is_static]
    scheme = settings.get("scheme", choices[-1])
    if scheme not in choices:
        raise InvalidValueError(
            f"scheme of layer {layer.name!r} must be {' or '.join(choices)} here, got "
            f"{scheme!r}."
        )
    return scheme == "static_range"


def _num_bits(layer, settings, default, is_static):
    choices = (8,) if is_static or layer.kind not in _HAVE_4_BITS else (4, 8)
    num_bits = settings.get("num_bits", default.num_bits)
    if num_bits not in choices:
        raise InvalidValueError(
            f"num_bits of layer {layer.name!r} must be {' or '.join(map(str, choices))}"
            f" here, got {num_bits!r}."
        )
    return num_bits


def make_recipe(plan, tables, precision):
    """Makes ai-edge-quantizer's recipe, a rule for each operator.

    Where all operators are to be integer a general rule stands in front: the last one
    that matches is the one that it takes.

    Args:
        plan: the `PlanRow`s.
        tables: the `Table`s that become int8.
        precision: of `formats.TFLITE.quantizer`.
    Returns:
        List of dicts, empty where nothing is to be quantized.
    """
    managers = require("ai_edge_quantizer.recipe_manager", extra="quantizers")
    manager = managers.RecipeManager()
    default = _weights_of(precision)
    if precision.is_full:
        _add(manager, ".*", "*", default)
    tied = _tied_buffers(plan)
    for table in tables:
        weights = _TIED_TABLE if table.buffer in tied else _TABLE
        _add(manager, _exactly(table.scope), LOOKUP, weights)
    for row in plan:
        scope = _exactly(row.layer.scope)
        kind = _TOOL_NAMES.get(row.layer.kind, row.layer.kind)
        if row.weights is not None:
            _add(manager, scope, kind, row.weights)
        elif precision.is_full:
            manager.add_quantization_config(scope, kind, None, "no_quantize")
    return manager.get_quantization_recipe()


def _tied_buffers(plan):
    """Returns the buffers of dense layers whose int8 weights have one scale."""
    return {
        row.layer.buffer
        for row in plan
        if row.weights is not None
        and row.weights.num_bits == 8
        and row.weights.granularity == "TENSORWISE"
    }


def _exactly(scope):
    return f"^{re.escape(scope)}$"


def make_ranges(plan, tables):
    """Returns ranges of weights and tables by which their own grid is found again.

    The quantizer divides the greatest magnitude by the largest integer; a table's range
    by 255 steps, of which one more lies below zero.

    Args:
        plan: the `PlanRow`s.
        tables: the `Table`s that become int8; each gets a symmetric scale.
    Returns:
        Dict of tensor name to `{"min": array, "max": array}`.
    """
    ranges, tied = {}, _tied_buffers(plan)
    for row in plan:
        grid, weights = row.grid, row.weights
        if grid is not None and weights.num_bits >= grid.num_bits:
            shape = [1] * row.layer.weights.ndim
            scale = grid.scale
            if weights.granularity == "CHANNELWISE":
                shape[row.layer.channel_axis] = -1
                scale = grid.scales(row.layer.weights.shape[row.layer.channel_axis])
            bound = scale.reshape(shape) * (2 ** (weights.num_bits - 1) - 1)
            ranges[row.layer.weights_name] = {"min": -bound, "max": bound}
    for table in tables:
        scale = _table_scale(table)
        shape = (1,) * table.values.ndim
        lowest = -127 if table.buffer in tied else -128
        least, greatest = np.full(shape, scale * lowest), np.full(shape, scale * 127)
        ranges[table.name] = {"min": least, "max": greatest}
        ranges[table.output] = {"min": least[0], "max": greatest[0]}
    return ranges


def _add(manager, regex, operator, weights):
    typing = require("ai_edge_quantizer.qtyping", extra="quantizers")
    operator = typing.TFLOperationName(operator)
    granularity = typing.QuantGranularity(weights.granularity)
    bits = weights.num_bits
    if not weights.is_static:
        manager.add_dynamic_config(regex, operator, bits, granularity)
        return
    activations = typing.TensorQuantizationConfig(
        num_bits=_ACTIVATION_BITS, symmetric=weights.is_symmetric
    )
    config = typing.OpQuantizationConfig(
        activation_tensor_config=activations,
        weight_tensor_config=typing.TensorQuantizationConfig(
            num_bits=bits, symmetric=True, granularity=granularity
        ),
        compute_precision=typing.ComputePrecision.INTEGER,
        explicit_dequantize=False,
    )
    manager.add_quantization_config(regex, operator, op_config=config)
