"""ai-edge-quantizer on .tflite files.

A whole BERT in int8 is twice as slow as in float32 and of no use (the mask shares a
range with the scores, and many operators are slow as integers), so that
`static_range_wi8_ai8` quantizes dense layers, convolutions and embedding tables, and
what lies between stays float. `static_range_wi8_ai8_full` is for models without
attention, down to integer outputs: for boards that compute in integers.
"""

import contextlib
import io
import warnings

from tfcompress.errors import UnsupportedModelError, require
from tfcompress.formats.tflite_trailer import append_trailer, read_trailer
from tfcompress.quantizers.operators import quantized_operators
from tfcompress.quantizers.refusals import reading, refusing
from tfcompress.quantizers.tflite_graph import CONTROL_FLOW, TfliteGraph
from tfcompress.quantizers.tflite_plan import (
    has_integer_tables,
    make_plan,
    make_ranges,
    make_recipe,
)
from tfcompress.quantizers.tflite_prepare import guard, prepare, restore
from tfcompress.quantizers.tflite_ranges import measure_ranges

# The precision that asks for the least.
_OTHER = "dynamic_range_wi8_ei8"


def write(source, target, precision, calibration, layers):
    """Quantizes the weights of what has integer kernels.

    Args:
        source, target: `pathlib.Path` of the files.
        precision: of `formats.TFLITE.quantizer`.
        calibration: `CalibrationData` for a static precision, else None.
        layers: `LayerRules` over dense layers and convolutions; settings are
            `num_bits`, 4 or 8, and `scheme`, which in a static file may be
            `"dynamic_range"`.
    Raises:
        InvalidValueError: if a rule or a setting does not fit.
        UnsupportedModelError: if there is nothing to quantize, or a model is to be
            integer throughout that has attention, loops or operators without integer
            kernels.
        ModelFileError: if the file is damaged.
    """
    require("ai_edge_quantizer.quantizer", extra="quantizers")
    trailer = read_trailer(source)
    with reading(source, "TensorFlow Lite model"):
        original = source.read_bytes()
        TfliteGraph(source, original)  # before another reader sees it
        content = prepare(original)
        graph = TfliteGraph(source, content)
        if precision.is_full:
            _check_can_be_integer(graph, source, precision)
        tables = graph.tables() if has_integer_tables(precision) else []
        plan = list(make_plan(graph, precision, layers, tables))
    if not plan and not tables:
        raise _nothing_to_quantize(graph, source, precision)
    ranges = make_ranges(plan, tables)
    if calibration is not None:
        if precision.is_full:
            wanted = graph.computed_tensors()
        else:
            static = [
                row.layer for row in plan if row.weights and row.weights.is_static
            ]
            wanted = sorted({end for layer in static for end in layer.ends})
        with refusing(
            source, "cannot be run by LiteRT on the calibration data", _OTHER
        ):
            ranges |= measure_ranges(content, graph, wanted, calibration)
    recipe = make_recipe(plan, tables, precision)
    with refusing(source, f"cannot be quantized to {precision}", _OTHER):
        quantized = _quantize(content, recipe, ranges) if recipe else content
        target.write_bytes(restore(quantized, original))
    append_trailer(target, trailer)
    if precision.is_full:
        _check_is_integer(target, source)


def _quantize(content, recipe, ranges):
    """Returns the bytes that ai-edge-quantizer makes."""
    quantizer = require("ai_edge_quantizer.quantizer", extra="quantizers")
    with contextlib.ExitStack() as stack:  # it has a report and bars of its own
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        tool = quantizer.Quantizer(guard(content))
        # It would open the file with XNNPACK to look for ranges that are empty, which
        # fails for images of any size and for operators that LiteRT lacks.
        tool._ensure_model_qsv_sufficient = lambda _: None
        tool.load_quantization_recipe(recipe)
        return bytes(tool.quantize(ranges).quantized_model)


def _check_can_be_integer(graph, path, precision):
    """Raises UnsupportedModelError for attention, and for loops and branches."""
    names = [name for name, _ in graph.operators()]
    if "BATCH_MATMUL" in names:
        raise UnsupportedModelError(
            f"{str(path)!r} multiplies activations (BATCH_MATMUL), as attention does; "
            f"with {precision} it would be slower than in float32 and its mask would "
            "ruin the ranges. Use precision='static_range_wi8_ai8'."
        )
    if len(graph.signatures()) > 1:
        raise UnsupportedModelError(
            f"{str(path)!r} holds several functions ({', '.join(graph.signatures())}), "
            f"of which calibration runs the first, so that it cannot be {precision}. "
            "Use precision='static_range_wi8_ai8'."
        )
    found = [name for name in CONTROL_FLOW if name in names]
    if found:
        raise UnsupportedModelError(
            f"{str(path)!r} holds loops, branches or variables ({', '.join(found)}), "
            f"whose inside has no ranges, so that it cannot be {precision}. Use "
            "precision='static_range_wi8_ai8', which leaves them in float."
        )


def _nothing_to_quantize(graph, path, precision):
    """Makes the error for a file without weights of the kinds that are quantized."""
    if graph.tables():
        return UnsupportedModelError(
            f"{str(path)!r} has no float32 weights but embedding tables, which "
            f"{precision} leaves in float. Use precision='dynamic_range_wi8_ei8'."
        )
    names = sorted({name for name, _ in graph.operators()})
    return UnsupportedModelError(
        f"{str(path)!r} has no layer with constant float32 weights that {precision} "
        f"quantizes; its operators are {', '.join(names)[:200]}. Leave it as it is."
    )


def _check_is_integer(path, source):
    floating = quantized_operators(path).floating
    if floating:
        raise UnsupportedModelError(
            f"{str(source)!r} holds operators without int8 kernels in TFLite: "
            f"{', '.join(floating)}. Use precision='static_range_wi8_ai8', which "
            "leaves them in float."
        )
