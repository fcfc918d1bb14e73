"""ONNX Runtime's own quantizer, with activation ranges of ours.

Matrix products with constant weights and lookups become integer, and nothing else: what
lies between costs little, and attention's scores share their range with the mask. The
inputs of a product are quantized and its output stays float; ONNX Runtime makes one
operator of that (MatMulIntegerToFloat, or MatMulNBits where it is weights that are
quantized, and activations as it runs).
"""

import pathlib
import tempfile

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.grids import find_grid
from tfcompress.quantizers.onnx_blocks import round_products
from tfcompress.quantizers.onnx_graph import find_products, quantize_tables

WEIGHT_ONLY = "weight_only_wi8"
PRECISIONS = ("dynamic_range_wi8", WEIGHT_ONLY, "static_range_wi8_ai8")


def write(source, target, precision, calibration, layers):
    """Quantizes products by output channel and tables by tensor, symmetric int8.

    Args:
        source, target: `pathlib.Path` of the files.
        precision: of `PRECISIONS`.
        calibration: `CalibrationData` for a static precision, else None.
        layers: `LayerRules` over the products; they can only be left alone.
    """
    onnx = require("onnx", extra="quantizers")
    if precision == WEIGHT_ONLY:
        model = onnx.load(source)
        products, _ = find_products(model.graph, layers)
        round_products(model, products)
    else:
        _quantize_products(source, target, calibration, layers)
        model = onnx.load(target)
    quantize_tables(model)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _quantize_products(source, target, calibration, layers):
    """Writes a file whose products ONNX Runtime's quantizer made integer."""
    onnx = require("onnx", extra="quantizers")
    quantization = require("onnxruntime.quantization", extra="quantizers")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        prepared = pathlib.Path(folder, "prepared.onnx")
        # Symbolic shapes need sympy, and are for products of two activations.
        quantization.quant_pre_process(source, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        products, others = find_products(model.graph, layers)
        options = {
            "per_channel": True,
            "weight_type": quantization.QuantType.QInt8,
            "op_types_to_quantize": ["MatMul", "Gemm"],
            # The dynamic quantizer renames a Gemm before it looks.
            "nodes_to_exclude": others + [f"{name}_MatMul" for name in others],
        }
        extra = {"TensorQuantOverrides": _overrides(products, calibration is None)}
        if calibration is None:
            options["extra_options"] = extra
            quantization.quantize_dynamic(prepared, target, **options)
        else:
            ranges = prepared.with_name("ranges.json")
            _measure_ranges(model, products, calibration, ranges)
            _quantize_static(prepared, target, ranges, options, extra)


def _quantize_static(source, target, ranges, options, extra):
    quantization = require("onnxruntime.quantization", extra="quantizers")
    extra["OpTypesToExcludeOutputQuantization"] = ["MatMul", "Gemm"]
    quantization.quantize_static(
        source,
        target,
        None,
        quant_format=quantization.QuantFormat.QDQ,
        # ONNX Runtime fuses a product of int8 by int8 on ARM alone.
        activation_type=quantization.QuantType.QUInt8,
        calibration_cache_path=ranges,
        extra_options=extra,
        **options,
    )


def _overrides(products, is_dynamic):
    """Returns the scales of weights that lie on a grid, as the quantizer takes them."""
    overrides = {}
    for product in products:
        grid = find_grid(product.weights, product.channel_axis)
        if grid is None:
            continue
        # The dynamic quantizer transposes the weights of a Gemm before it looks.
        axis = 1 if is_dynamic else product.channel_axis
        scales = grid.scales(product.weights.shape[product.channel_axis])
        overrides[product.weights_name] = [
            {"axis": axis, "scale": scale, "zero_point": np.int8(0)} for scale in scales
        ]
    return overrides


def _measure_ranges(model, products, calibration, path):
    """Runs a model and writes the ranges of the products' inputs to a file."""
    onnx = require("onnx", extra="quantizers")
    onnxruntime = require("onnxruntime", extra="quantizers")
    quantization = require("onnxruntime.quantization", extra="quantizers")
    names = sorted({product.input_name for product in products})
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    known = {value.name for value in shown.graph.output}
    make = onnx.helper.make_empty_tensor_value_info
    shown.graph.output.extend(make(name) for name in names if name not in known)
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ranges = calibration.ranges()
    for batch in calibration.batches():
        for name, values in zip(names, session.run(names, batch), strict=True):
            ranges.add(name, values)
    data = {}
    for name in names:
        least, greatest = np.float32(ranges[name])
        data[name] = quantization.TensorData(lowest=least, highest=greatest)
    method = quantization.CalibrationMethod.MinMax
    quantization.save_tensors_data(quantization.TensorsData(method, data), path)
