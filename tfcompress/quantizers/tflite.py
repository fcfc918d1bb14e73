"""ai-edge-quantizer on .tflite files. It leaves embedding tables float.

A whole BERT in int8 is twice as slow as in float32 and of no use (the mask shares a
range with the scores, and many operators are slow as integers), so that
`static_range_wi8_ai8` quantizes the dense layers alone, and what lies between stays
float. `static_range_wi8_ai8_full` is for models without attention, tables, inputs and
outputs included: for boards that compute in integers.
"""

import contextlib
import io
import re

from tfcompress.errors import InvalidValueError, UnsupportedModelError, require
from tfcompress.quantizers.grids import find_grid
from tfcompress.quantizers.tflite_graph import DENSE, TfliteGraph
from tfcompress.quantizers.tflite_ranges import measure_ranges

FULL = "static_range_wi8_ai8_full"

# Precision -> bits of the weights, and how many of them share a scale.
_WEIGHTS = {
    "dynamic_range_wi8_efp32": (8, "CHANNELWISE"),
    "dynamic_range_wi4": (4, "CHANNELWISE"),
    "dynamic_range_wi4b32": (4, "BLOCKWISE_32"),
    "static_range_wi8_ai8": (8, "CHANNELWISE"),
    FULL: (8, "CHANNELWISE"),
}
PRECISIONS = tuple(_WEIGHTS)
_ACTIVATION_BITS = 8
SETTINGS = ("num_bits",)


def write(source, target, precision, calibration, layers):
    """Quantizes the weights of what has integer kernels.

    Args:
        source, target: `pathlib.Path` of the files.
        precision: of `PRECISIONS`.
        calibration: `CalibrationData` for a static precision, else None.
        layers: `LayerRules` over the dense layers; a setting is `num_bits`, 4 or 8.
    Raises:
        InvalidValueError: if a rule or a setting does not fit.
        UnsupportedModelError: if a model with attention is to be integer throughout.
    """
    quantizer = require("ai_edge_quantizer.quantizer", extra="quantizers")
    graph = TfliteGraph(source)
    if precision == FULL:
        _check_has_no_attention(graph, source)
    recipe = _recipe(graph, precision, layers)
    ranges = None
    if calibration is not None:
        ranges = measure_ranges(source, calibration, dense_only=precision != FULL)
    tool = quantizer.Quantizer(str(source))
    with contextlib.ExitStack() as stack:  # it prints a report and bars of its own
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        tool.load_quantization_recipe(recipe)
        tool.quantize(ranges).export_model(str(target))


def _check_has_no_attention(graph, path):
    if any(name == "BATCH_MATMUL" for name, _ in graph.operators()):
        raise UnsupportedModelError(
            f"{str(path)!r} multiplies activations (BATCH_MATMUL), as attention does; "
            f"with {FULL} it would be slower than in float32 and its mask would ruin "
            "the ranges. Use precision='static_range_wi8_ai8'."
        )


def _recipe(graph, precision, layers):
    """Makes ai-edge-quantizer's recipe: a general rule, then one for each layer.

    The last rule that matches is the one that it takes.
    """
    managers = require("ai_edge_quantizer.recipe_manager", extra="quantizers")
    manager = managers.RecipeManager()
    num_bits, granularity = _WEIGHTS[precision]
    is_static = precision.startswith("static")
    general = DENSE if precision == "static_range_wi8_ai8" else "*"
    _add(manager, ".*", general, num_bits, granularity, is_static)
    dense_layers = graph.dense_layers()
    plan = layers.plan({layer.name: DENSE for layer in dense_layers})
    for layer in dense_layers:
        scope = f"^{re.escape(layer.scope)}$"
        settings = plan[layer.name]
        if settings is None:
            manager.add_quantization_config(scope, DENSE, None, "no_quantize")
            continue
        bits, share = _weights(layer, settings, num_bits, granularity, is_static)
        if (bits, share) != (num_bits, granularity):
            _add(manager, scope, DENSE, bits, share, is_static)
    return manager.get_quantization_recipe()


def _add(manager, regex, operator, num_bits, granularity, is_static):
    typing = require("ai_edge_quantizer.qtyping", extra="quantizers")
    operator = typing.TFLOperationName(operator)
    granularity = typing.QuantGranularity(granularity)
    if is_static:
        manager.add_static_config(
            regex, operator, _ACTIVATION_BITS, num_bits, granularity
        )
    else:
        manager.add_dynamic_config(regex, operator, num_bits, granularity)


def _weights(layer, settings, num_bits, granularity, is_static):
    """Returns the bits and the granularity of a layer's weights.

    Weights that lie on a grid keep it: on one of 8 bits they are never rounded to 4,
    and with one scale for all they get one.
    """
    bits = _num_bits(layer, settings, num_bits, is_static)
    grid = find_grid(layer.weights, 0)
    if grid is not None:
        bits = bits if settings else max(bits, grid.num_bits)
        return bits, "TENSORWISE" if grid.is_per_tensor else "CHANNELWISE"
    return bits, granularity if bits == num_bits else "CHANNELWISE"


def _num_bits(layer, settings, num_bits, is_static):
    bits = settings.get("num_bits", num_bits)
    choices = (8,) if is_static else (4, 8)
    if bits not in choices:
        raise InvalidValueError(
            f"num_bits of layer {layer.name!r} must be {' or '.join(map(str, choices))}"
            f" here, got {bits!r}."
        )
    return bits
