"""Quantization-aware training by stock TFMOT: `quantize_apply`, default 8-bit scheme.

TFMOT has nothing that strips: the trained weights are put on the grid that it rounds by
(symmetric, 127 steps to the largest magnitude), and the ranges that it found for
outputs are told as structures.
"""

import dataclasses

import numpy as np

from tfcompress.compression_report import (
    COMPRESSED,
    LEFT_ALONE,
    SKIPPED,
    CompressionReport,
    LayerRow,
    measure_weight,
)
from tfcompress.methods.engines import STOCK
from tfcompress.methods.integer_grid import fake_quantize, grid_scale
from tfcompress.methods.method import Plan
from tfcompress.methods.qat_plan import is_passing
from tfcompress.methods.stock.wrapping import (
    fresh_copy,
    obstacle,
    one_line_refusals,
    refuse_named,
    wrap,
)

_PREFIX = "quant_"
_BITS = 8
# TFMOT takes these apart into two layers of other names, which cannot cross back.
_TAKEN_APART = frozenset({"SeparableConv1D", "SeparableConv2D"})
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"})
_REQUESTED = {"scheme": "static_range", "weight_bits": _BITS, "engine": STOCK}


def plan_stock_quantization(model, config):
    """Decides what TFMOT quantizes.

    Args:
        model: flat functional tf_keras model.
        config: `QatConfig`.
    Returns:
        `Plan` whose work is the tuple of the names of the layers to annotate.
    Raises:
        InvalidValueError: if a rule matches no layer.
    """
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    overrides = config.layers.plan(kinds)
    registry = _scheme().get_quantize_registry()
    rows, work = [], []
    for layer in model.layers:
        row = LayerRow(name=layer.name, kind=kinds[layer.name], status=LEFT_ALONE)
        if overrides[layer.name] is None:
            row = dataclasses.replace(row, reason="a rule leaves it alone")
        elif reason := _obstacle(layer, registry):
            if layer.weights:
                refuse_named(config, row, reason)
                row = dataclasses.replace(row, status=SKIPPED)
            row = dataclasses.replace(row, reason=reason)
        else:
            work.append(layer.name)
            if is_passing(layer):
                row = dataclasses.replace(row, reason="it computes no new values")
            else:
                row = dataclasses.replace(row, status=COMPRESSED, requested=_REQUESTED)
        rows.append(row)
    return Plan(config, tuple(rows), tuple(work))


def run_stock_quantization(model, plan, fitting):
    """Quantizes a copy of `model`, and trains it so, as TFMOT does.

    Arguments and result are as of `run_quantization`.
    """
    if not plan.work:
        copy = fresh_copy(model, lambda name: model.get_layer(name).get_weights())
        return copy, CompressionReport(rows=plan.rows, training_log=fitting.fit(copy))
    import tensorflow_model_optimization as tfmot

    stock = tfmot.quantization.keras
    with one_line_refusals("quantize"):
        annotated = wrap(model, set(plan.work), stock.quantize_annotate_layer)
        wrapped = stock.quantize_apply(annotated, _scheme())
    log = fitting.fit(wrapped)
    trained = {
        name: _variables(wrapped.get_layer(_PREFIX + name)) for name in plan.work
    }
    grids, ranges = {}, {}
    for row in plan.rows:
        if row.status == COMPRESSED:
            grids |= _grids(row.name, trained[row.name])
            ranges |= _range(row.name, trained[row.name])

    def weights_of(name):
        if name not in trained:
            return _as_trained(wrapped, name)
        found = []
        for variable in model.get_layer(name).weights:
            value = trained[name][_tail(variable)]
            scale = grids.get((name, _tail(variable)))
            found.append(value if scale is None else _rounded(value, scale))
        return found

    quantized = fresh_copy(model, weights_of)
    rows, structures = _measure(quantized, plan, grids)
    return quantized, CompressionReport(
        rows=rows, structures=structures | ranges, training_log=log
    )


def _scheme():
    import tensorflow_model_optimization as tfmot

    return tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme()


def _obstacle(layer, registry):
    """Returns why TFMOT does not quantize a layer, or `None`."""
    kind = type(layer).__name__
    if kind == "InputLayer":
        return "it computes no new values"
    if kind in _TAKEN_APART:
        return f"TFMOT takes layers of type {kind} apart, and none comes back"
    if kind in _RECURRENT:
        return "its cells' weights have no names that come back from TFMOT"
    if not registry.supports(layer):
        return f"TFMOT's default 8-bit scheme does not know layers of type {kind}"
    return obstacle(layer)


def _as_trained(wrapped, name):
    """Returns the weights of a layer that was not annotated."""
    layers = {layer.name: layer for layer in wrapped.layers}
    if name in layers:
        return layers[name].get_weights()
    return layers[_PREFIX + name].layer.get_weights()  # its output alone is rounded


def _variables(wrapper):
    """Returns the last part of a variable's name -> its value."""
    return {_tail(variable): variable.numpy() for variable in wrapper.weights}


def _tail(variable):
    """Returns the last part of a variable's name, such as `"kernel"`."""
    return variable.name.split("/")[-1].removesuffix(":0")


def _grids(layer, variables):
    """Returns `(layer, weight)` -> scale, of the weights that TFMOT rounds.

    The ranges that it stored are those before the last step; the scale is that of the
    weight as it is, of the tensor or of the channels, as theirs.
    """
    found = {}
    for name, value in variables.items():
        limits = variables.get(f"{name}_max")
        if limits is not None:
            axes = (value.ndim - 1,) if limits.ndim else ()
            found[layer, name] = grid_scale(value, _BITS, axes).numpy()
    return found


def _range(layer, variables):
    """Returns the range that TFMOT found for a layer's output, as a structure."""
    for name in ("post_activation", "output"):
        if f"{name}_min" in variables:
            low, high = (
                np.float32(variables[f"{name}_{end}"]) for end in ("min", "max")
            )
            return {(layer, "output"): {"minimum": low, "maximum": high}}
    return {}


def _rounded(value, scale):
    return fake_quantize(value, scale).numpy()


def _measure(quantized, plan, grids):
    """Returns the rows with what was measured, and the scales as structures."""
    found, structures = {}, {}
    for (layer, weight), scale in grids.items():
        values = getattr(quantized.get_layer(layer), weight).numpy()
        found.setdefault(layer, {})[weight] = measure_weight(values)
        scale = scale.ravel() if scale.size > 1 else scale.reshape(())
        structures[layer, weight] = {"scale": scale, "bits": _BITS}
    rows = tuple(
        dataclasses.replace(row, stripped=found.get(row.name, {})) for row in plan.rows
    )
    return rows, structures
