"""ai-edge-quantizer on .tflite files.

A whole BERT in int8 is twice as slow as in float32 and of no use (the mask shares a
range with the scores, and many operators are slow as integers), so that
`static_range_wi8_ai8` quantizes dense layers and embedding tables, and what lies
between stays float. `static_range_wi8_ai8_full` is for models without attention, down
to integer outputs: for boards that compute in integers.
"""

import contextlib
import dataclasses
import io
import re
import warnings

import numpy as np

from tfcompress.errors import InvalidValueError, UnsupportedModelError, require
from tfcompress.quantizers.grids import find_grid
from tfcompress.quantizers.operators import quantized_operators
from tfcompress.quantizers.tflite_graph import DENSE, LOOKUP, TfliteGraph
from tfcompress.quantizers.tflite_ranges import measure_ranges

FULL = "static_range_wi8_ai8_full"


@dataclasses.dataclass(frozen=True)
class _Weights:
    """How weights are stored: their bits, and which of them share a scale."""

    num_bits: int
    granularity: str  # as ai-edge-quantizer calls it
    is_static: bool = False  # whether activations have ranges from calibration


_CHANNELS_OF_8_BITS = _Weights(8, "CHANNELWISE")
_CHANNELS_OF_4_BITS = _Weights(4, "CHANNELWISE")
_BLOCKS_OF_4_BITS = _Weights(4, "BLOCKWISE_32")
_STATIC = _Weights(8, "CHANNELWISE", is_static=True)
# Rows stay as they are stored, which for the tool is a static range.
_TABLE = _Weights(8, "TENSORWISE", is_static=True)

# Precision -> weights of dense layers, whether tables are int8.
_SCHEMES = {
    "dynamic_range_wi8_ei8": (_CHANNELS_OF_8_BITS, True),
    "dynamic_range_wi8_efp32": (_CHANNELS_OF_8_BITS, False),
    "dynamic_range_wi4_ei8": (_CHANNELS_OF_4_BITS, True),
    "dynamic_range_wi4": (_CHANNELS_OF_4_BITS, False),
    "dynamic_range_wi4b32": (_BLOCKS_OF_4_BITS, False),
    "static_range_wi8_ai8": (_STATIC, True),
    FULL: (_STATIC, True),
}
PRECISIONS = tuple(_SCHEMES)
SETTINGS = ("num_bits", "scheme")
_ACTIVATION_BITS = 8


def write(source, target, precision, calibration, layers):
    """Quantizes the weights of what has integer kernels.

    Args:
        source, target: `pathlib.Path` of the files.
        precision: of `PRECISIONS`.
        calibration: `CalibrationData` for a static precision, else None.
        layers: `LayerRules` over the dense layers; settings are `num_bits`, 4 or 8,
            and `scheme`, which in a static file may be `"dynamic_range"`.
    Raises:
        InvalidValueError: if a rule or a setting does not fit.
        UnsupportedModelError: if a model is to be integer throughout that has attention
            or operators without integer kernels.
    """
    quantizer = require("ai_edge_quantizer.quantizer", extra="quantizers")
    graph = TfliteGraph(source)
    if precision == FULL:
        _check_has_no_attention(graph, source)
    plan = list(_plan(graph, precision, layers))
    tables = graph.tables() if _SCHEMES[precision][1] else []
    ranges = _grid_ranges(plan) | _table_ranges(tables)
    if calibration is not None:
        dense_only = precision != FULL
        ranges |= measure_ranges(source, calibration, dense_only=dense_only)
    tool = quantizer.Quantizer(str(source))
    with contextlib.ExitStack() as stack:  # it has a report and bars of its own
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        tool.load_quantization_recipe(_recipe(plan, tables, precision))
        tool.quantize(ranges).export_model(str(target))
    target.chmod(target.stat().st_mode & ~0o111)  # the tool makes it executable
    if precision == FULL:
        _check_is_integer(target, source)


def _check_has_no_attention(graph, path):
    if any(name == "BATCH_MATMUL" for name, _ in graph.operators()):
        raise UnsupportedModelError(
            f"{str(path)!r} multiplies activations (BATCH_MATMUL), as attention does; "
            f"with {FULL} it would be slower than in float32 and its mask would ruin "
            "the ranges. Use precision='static_range_wi8_ai8'."
        )


def _check_is_integer(path, source):
    floating = quantized_operators(path).floating
    if floating:
        raise UnsupportedModelError(
            f"{str(source)!r} holds operators without int8 kernels in TFLite: "
            f"{', '.join(floating)}. Use precision='static_range_wi8_ai8', which "
            "leaves them in float."
        )


def _plan(graph, precision, layers):
    """Yields each dense layer, its `_Weights` (None leaves it float) and its `Grid`.

    Weights that lie on a grid keep it: on one of 8 bits they are never rounded to 4
    but where a rule says so, and with one scale for all they get one.
    """
    dense_layers = graph.dense_layers()
    plan = layers.plan({layer.name: DENSE for layer in dense_layers})
    default, _ = _SCHEMES[precision]
    for layer in dense_layers:
        settings = plan[layer.name]
        if settings is None:
            yield layer, None, None
            continue
        is_static = _is_static(layer, settings, default)
        num_bits = _num_bits(layer, settings, default, is_static)
        granularity = default.granularity
        grid = find_grid(layer.weights, 0)
        if grid is not None:
            if "num_bits" not in settings:
                num_bits = max(num_bits, grid.num_bits)
            granularity = "TENSORWISE" if grid.is_per_tensor else "CHANNELWISE"
        elif num_bits != default.num_bits:
            granularity = "CHANNELWISE"
        yield layer, _Weights(num_bits, granularity, is_static), grid


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
    choices = (8,) if is_static else (4, 8)
    num_bits = settings.get("num_bits", default.num_bits)
    if num_bits not in choices:
        raise InvalidValueError(
            f"num_bits of layer {layer.name!r} must be {' or '.join(map(str, choices))}"
            f" here, got {num_bits!r}."
        )
    return num_bits


def _recipe(plan, tables, precision):
    """Makes ai-edge-quantizer's recipe: a general rule, then one for each operator.

    The last rule that matches is the one that it takes.
    """
    managers = require("ai_edge_quantizer.recipe_manager", extra="quantizers")
    manager = managers.RecipeManager()
    default, _ = _SCHEMES[precision]
    general = DENSE if precision == "static_range_wi8_ai8" else "*"
    _add(manager, ".*", general, default)
    for table in tables:
        _add(manager, _exactly(table.scope), LOOKUP, _TABLE)
    for layer, weights, _ in plan:
        scope = _exactly(layer.scope)
        if weights is None:
            manager.add_quantization_config(scope, DENSE, None, "no_quantize")
        elif weights != default:
            _add(manager, scope, DENSE, weights)
    return manager.get_quantization_recipe()


def _exactly(scope):
    return f"^{re.escape(scope)}$"


def _grid_ranges(plan):
    """Returns ranges of weights by which the quantizer finds their own grid again.

    It divides the greatest magnitude by the largest integer.
    """
    ranges = {}
    for layer, weights, grid in plan:
        if grid is not None and weights.num_bits >= grid.num_bits:
            bound = grid.scale.reshape(-1, 1) * (2 ** (weights.num_bits - 1) - 1)
            ranges[layer.weights_name] = {"min": -bound, "max": bound}
    return ranges


def _table_ranges(tables):
    """Returns ranges by which tables get a symmetric scale, their own if on a grid.

    The quantizer divides a range by 255 steps, of which one more lies below zero.
    """
    ranges = {}
    for table in tables:
        grid = find_grid(table.values, 0)
        if grid is not None and grid.is_per_tensor:
            scale = grid.scale
        else:
            scale = np.abs(table.values).max() / 127
        shape = (1,) * table.values.ndim
        least, greatest = np.full(shape, scale * -128), np.full(shape, scale * 127)
        ranges[table.name] = {"min": least, "max": greatest}
        ranges[table.output] = {"min": least[0], "max": greatest[0]}
    return ranges


def _add(manager, regex, operator, weights):
    typing = require("ai_edge_quantizer.qtyping", extra="quantizers")
    operator = typing.TFLOperationName(operator)
    granularity = typing.QuantGranularity(weights.granularity)
    bits = weights.num_bits
    if weights.is_static:
        manager.add_static_config(regex, operator, _ACTIVATION_BITS, bits, granularity)
    else:
        manager.add_dynamic_config(regex, operator, bits, granularity)
