"""Integer operators for ONNX Runtime, with activation ranges of ours.

Products and convolutions with constant weights and lookups become integer, and nothing
else: what lies between costs little, and attention's scores share their range with the
mask. ONNX Runtime's own quantizer gives values the same name twice where weights are
shared, knows no weights of loops, and writes tables as DequantizeLinear, into which
ONNX Runtime's optimizer puts a second rounding; what is written here it leaves alone.

Weights of transposed convolutions, recurrent layers and of products inside of loops are
integers in the file alone: they become floats as the model is loaded, because there are
no kernels for them (`onnx_weights.Weight.read_back`).
"""

from tfcompress.errors import (
    ModelFileError,
    TfcompressError,
    UnsupportedModelError,
)
from tfcompress.formats.onnx_file import complaint, write_model
from tfcompress.quantizers import onnx_blocks, onnx_products, onnx_static
from tfcompress.quantizers.onnx_file import read_model
from tfcompress.quantizers.onnx_model import OnnxModel
from tfcompress.quantizers.onnx_norms import find_norms
from tfcompress.quantizers.onnx_ranges import count_axes, measure_ranges
from tfcompress.quantizers.onnx_tables import look_up_integers
from tfcompress.quantizers.onnx_weights import TABLE, find_weights

# Scheme -> the first opset that has its operators.
_MIN_OPSETS = {
    "dynamic_range": onnx_products.MIN_OPSET,
    "weight_only": onnx_blocks.MIN_OPSET,
    "static_range": onnx_static.MIN_OPSET,
}


def write(source, target, precision, calibration, layers):
    """Quantizes weights by output channel and tables by tensor, symmetric int8.

    Args:
        source, target: `pathlib.Path` of the files.
        precision: of `formats.ONNX.quantizer`.
        calibration: `CalibrationData` for a static precision, else None.
        layers: `LayerRules` over the layers; they can only be left alone.
    Raises:
        ModelFileError: if the source is no whole ONNX model.
        UnsupportedModelError: if it is quantized already, has nothing to quantize, its
            opset lacks the operators, or ONNX Runtime does not run it on the examples.
    """
    proto = read_model(source)
    try:
        _rewrite(proto, source, target, precision, calibration, layers)
    except TfcompressError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = complaint(source, full_check=True)
        if reason is None:
            raise
        raise ModelFileError(
            f"{str(source)!r} is no valid ONNX model: {reason}. Export or copy the "
            "model again."
        ) from error
    write_model(proto, target)


def _rewrite(proto, source, target, precision, calibration, layers):
    """Quantizes a ModelProto in place."""
    model = OnnxModel(proto)
    _refuse_old(model, source, precision)
    weights, has_weights = find_weights(model, layers)
    if not has_weights:
        raise UnsupportedModelError(
            f"{str(source)!r} has nothing to quantize: no product, convolution, lookup "
            "or recurrent layer takes constant float weights. Use the file as it is."
        )
    writer = _make_writer(model, precision, weights)
    if precision.needs_calibration:
        names = writer.activations(weights)
        ranges = measure_ranges(source, proto, names, calibration, target.parent)
        writer.take_ranges(ranges)
    for weight in weights:
        _write_weight(model, writer, weight)
    model.finish()


def _make_writer(model, precision, weights):
    if precision.scheme == "weight_only":
        return onnx_blocks.BlockWriter(model, count_axes(model.proto))
    norms = find_norms(model, weights)
    if precision.scheme == "dynamic_range":
        return onnx_products.DynamicWriter(model, norms)
    return onnx_static.StaticWriter(model, norms, count_axes(model.proto))


def _write_weight(model, writer, weight):
    """Rounds a weight and rewrites everything that uses it."""
    integer = [use for use in weight.uses if writer.can_write(weight, use)]
    tables = [use for use in weight.uses if use.kind == TABLE]
    others = len(weight.uses) - len(integer) - len(tables)
    weight.quantize(unsigned=bool(integer))
    if tables:
        look_up_integers(model, weight)
    if others:
        weight.read_back()
    for use in integer:
        writer.write(weight, use)


def _refuse_old(model, source, precision):
    needed = _MIN_OPSETS[precision.scheme]
    if model.opset < needed:
        raise UnsupportedModelError(
            f"{str(source)!r} has opset {model.opset}, and {precision!r} needs "
            f"{needed} or newer. Export the model again with a newer opset, or convert "
            "it with onnx.version_converter."
        )
