"""NNCF on OpenVINO's IR: weights alone, or weights and activations.

OpenVINO's CPU plugin quantizes rows of activations, in groups of 32, wherever weights
are integers, also of files with integer weights alone: its property
DYNAMIC_QUANTIZATION_GROUP_SIZE is 32 by default, and 0 lets it compute in float.
"""

import contextlib
import io
import logging
import re

import numpy as np

from tfcompress.errors import InvalidValueError, UnsupportedModelError, require
from tfcompress.formats.openvino_file import read_model, weights_path
from tfcompress.openvino_reductions import leave_reductions, widen_reductions
from tfcompress.quantizers.calibration import check_calibration
from tfcompress.quantizers.openvino_grids import (
    compress_rest,
    find_grids,
    has_weights,
    restore_grids,
    weight_inputs,
)
from tfcompress.quantizers.openvino_overflow import make_room
from tfcompress.quantizers.refusals import refusing
from tfcompress.runtime import load_session

_GROUP_SIZE = 64

# Weights -> (name of NNCF's mode, whether its scales are of groups).
_MODES = {
    "int8": ("INT8_SYM", False),
    "int4": ("INT4_SYM", True),
    "nf4": ("NF4", True),
    "cb4": ("CB4", False),
}


# What rules call an operator's kind, where that is not its name.
_KINDS = {"MatMul": "Dense", "Gather": "Dense"}


def write(source, target, precision, calibration, layers):
    """Quantizes the weights of all layers, embeddings and the last one included.

    Args:
        source, target: `pathlib.Path` of the .xml files.
        precision: of `formats.OPENVINO.quantizer`.
        calibration: `CalibrationData` for the static precision, else None.
        layers: `LayerRules` over the layers; they can only be left alone.
    Raises:
        InvalidValueError: if a rule matches no layer or an output is not finite.
    """
    nncf = require("nncf", extra="quantizers")
    openvino = require("openvino", extra="quantizers")
    # It prints tables of its own. Not by `nncf.set_log_level`, which sets the level of
    # handlers that others have on its logger, too.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    is_static = precision.needs_calibration
    size = _check_finite(source, calibration) if is_static else None
    model = read_model(source)
    if not has_weights(model):
        kinds = sorted({node.get_type_name() for node in model.get_ops()})
        raise UnsupportedModelError(
            f"{str(source)!r} has no layer with constant float32 weights that "
            f"{precision} quantizes; its operators are {', '.join(kinds)[:200]}. Leave "
            "it as it is."
        )
    names = {node.get_friendly_name() for node in model.get_ops()}
    grids = find_grids(model)
    left_alone, known = _left_alone(model, layers)
    # NNCF makes integers of a GRU's inputs, with which the CPU plugin refuses the file.
    names_to_ignore = {each.name for each in weight_inputs(model) if each.is_recurrent}
    names_to_ignore |= set(left_alone)
    ignored = nncf.IgnoredScope(names=sorted(names_to_ignore & known))
    problem = f"cannot be quantized to {precision} by NNCF"
    errors = [each for each in vars(nncf.errors).values() if _is_error(each)]
    with (
        refusing(source, problem, "weight_only_wi8", errors=errors),
        contextlib.redirect_stdout(io.StringIO()),  # it draws bars of its own
    ):
        if is_static:
            model = _quantize(nncf, model, calibration, ignored, size or 1)
        else:
            model = _compress(nncf, model, precision, ignored)
    if precision.weight_type == "int":  # others have values of their own, not a grid
        restore_grids(model, grids, packs_4_bits=precision.weight_bits == 4)
    compress_rest(model, grids, left_alone)
    if is_static:
        widen_reductions(model)
        leave_reductions(model)
        make_room(model, calibration, size or 1)
    _make_repeatable(model, names)
    openvino.save_model(model, target, compress_to_fp16=False)


def _is_error(value):
    return isinstance(value, type) and issubclass(value, Exception)


def _check_finite(path, calibration):
    """Raises InvalidValueError where an output is NaN: NNCF makes ranges of it.

    Returns:
        Number of examples that the model takes in one run, None where it takes any.
    """
    files = (path.name, weights_path(path).name)
    with load_session("openvino", path.parent, files) as session:
        size = check_calibration(session.inputs, calibration)
        for batch in calibration.batches(size, whole=size is not None):
            for name, values in session.run(batch).items():
                if not np.isfinite(values).all():
                    raise InvalidValueError(
                        f"The output {name!r} is NaN or infinite on the calibration "
                        "data; no range can be made of it. Check the model's weights."
                    )
    return size


def _make_repeatable(model, names):
    """Numbers the nodes that are not of `names` by their place in this model.

    Those that are added are numbered by a counter of the process.
    """
    for index, node in enumerate(model.get_ordered_ops()):
        name, kind = node.get_friendly_name(), node.get_type_name()
        counted = re.fullmatch(rf"(.*/)?{kind}_\d+", name)
        if counted and name not in names:
            prefix = counted.group(1) or "quantized/"
            node.set_friendly_name(f"{prefix}{kind}_{index}")


def _left_alone(model, layers):
    """Returns the names of the operators whose layer a rule leaves in float, and of
    the operators outside of loops, which are all that NNCF knows."""
    found = list(weight_inputs(model))
    names = {each.name: each.name.rpartition("/")[0] or each.name for each in found}
    kinds = {names[each.name]: _KINDS.get(each.kind, each.kind) for each in found}
    plan = layers.plan(kinds)
    outside = {each.name for each in found if len(each.key) == 2}
    return [name for name, layer in names.items() if plan[layer] is None], outside


def _compress(nncf, model, precision, ignored):
    parameters = require("nncf.quantization.advanced_parameters", extra="quantizers")
    mode, has_groups = _MODES[precision.weights]
    options = {}
    if precision.weight_bits < 8:  # int8 takes all layers and no such options
        options["all_layers"] = True
    if has_groups:
        options["group_size"] = _GROUP_SIZE
        # Layers whose width it does not divide get smaller groups, or int8.
        options["advanced_parameters"] = nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=parameters.GroupSizeFallbackMode.ADJUST
        )
    return nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode[mode],
        ignored_scope=ignored,
        **options,
    )


def _quantize(nncf, model, calibration, ignored, size):
    """Quantizes weights and activations, in the way of transformers."""
    try:
        return _quantize_corrected(nncf, model, calibration, ignored, size, True)
    except IndexError:
        # NNCF 3.4 takes the first axis of transposed activations for the channels, and
        # then finds too few means; without the correction of biases it needs none.
        return _quantize_corrected(nncf, model, calibration, ignored, size, False)


def _quantize_corrected(nncf, model, calibration, ignored, size, has_correction):
    parameters = require("nncf.quantization.advanced_parameters", extra="quantizers")
    advanced = nncf.AdvancedQuantizationParameters(
        # It would take a bit of every weight, and trained grids with it: see
        # `openvino_overflow`.
        overflow_fix=parameters.OverflowFix.DISABLE,
        # SmoothQuant multiplies factors of activations into the weights, which leave
        # their grid, and adds an operator before each layer; it gained nothing.
        smooth_quant_alphas=parameters.AdvancedSmoothQuantParameters(matmul=-1),
        activations_range_estimator_params=_range_estimator(calibration),
        disable_bias_correction=not has_correction,
    )
    batches = list(calibration.batches(size, whole=True))
    return nncf.quantize(
        model,
        nncf.Dataset(batches),
        subset_size=len(batches),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=ignored,
        advanced_parameters=advanced,
    )


def _range_estimator(calibration):
    ranges = require("nncf.quantization.range_estimator", extra="quantizers")
    if calibration.range_estimator == "min_max":
        return ranges.RangeEstimatorParametersSet.MINMAX
    tail = 1 - calibration.percentile / 100
    ends = ranges.StatisticsCollectorParameters(
        statistics_type=ranges.StatisticsType.QUANTILE,
        aggregator_type=ranges.AggregatorType.MEAN,
        quantile_outlier_prob=tail,
    )
    return ranges.RangeEstimatorParameters(min=ends, max=ends)
