"""Which weights and outputs of a model quantization-aware training quantizes.

A layer type that no table here has is not known: it is skipped with its reason.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from tfcompress.compression_report import COMPRESSED, LEFT_ALONE, SKIPPED, LayerRow
from tfcompress.errors import InvalidValueError
from tfcompress.methods.centroids import output_axis
from tfcompress.methods.layer_weights import compressible_weights
from tfcompress.methods.method import Plan
from tfcompress.methods.qat_config import RULE_SETTINGS
from tfcompress.methods.quantized_weights import WeightGrid


def _names(text):
    return frozenset(text.split())


# Layer types that compute, and whose output has a range of its own.
_COMPUTING = _names(
    """
    Activation Add AttentionContext AttentionScores Average AveragePooling1D
    AveragePooling2D BatchNormalization ChannelScale Concatenate Conv1D Conv1DTranspose
    Conv2D Conv2DTranspose Conv3D Conv3DTranspose Dense DepthwiseConv2D ELU Embedding
    GlobalAveragePooling1D GlobalAveragePooling2D LayerNormalization LeakyReLU Multiply
    PReLU ReLU SeparableConv1D SeparableConv2D Softmax Subtract
    """
)
# Functions of a `TensorFunction` of which the same holds.
_COMPUTING_FUNCTIONS = _names(
    """
    add divide exp gelu_tanh hard_sigmoid hard_silu log_sigmoid matmul mean multiply
    negative rsqrt sqrt square subtract sum
    """
)
# Those of them, and the function, that runtimes compute with integers.
_PRODUCTS = _names(
    """
    AttentionContext AttentionScores Conv1D Conv1DTranspose Conv2D Conv2DTranspose
    Conv3D Conv3DTranspose Dense DepthwiseConv2D SeparableConv1D SeparableConv2D matmul
    """
)
# Layer types that pass values on, change none or make none of the kind.
_PASSING = _names(
    """
    AllIds AttachMask CausalMask Cropping1D Cropping2D Dropout Flatten GaussianNoise
    GlobalMaxPooling1D GlobalMaxPooling2D InputLayer MaxPooling1D MaxPooling2D
    MergeHeads Permute Positions RepeatVector Reshape ReshapeEnd SpatialDropout1D
    SpatialDropout2D SplitHeads UpSampling1D UpSampling2D ZeroPadding1D ZeroPadding2D
    """
)
_PASSING_FUNCTIONS = _names(
    """
    any cast equal expand_dims get_item greater greater_equal identity less less_equal
    logical_and logical_not logical_or not_equal reshape squeeze transpose where masked
    """
)
# Layer types of which only the weights are quantized.
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "Bidirectional"})
_KNOWN = _COMPUTING | _PASSING | _RECURRENT | {"MaskScores", "TensorFunction"}
_SUMS = frozenset({"Add", "Subtract", "add", "subtract"})
_OF_DYNAMIC_RANGE = "dynamic_range quantizes kernels and embeddings only"
_OF_MASKED_SCORES = (
    "its range would have to hold the score of masked positions, which are far below "
    "all others"
)


@dataclasses.dataclass(frozen=True)
class QuantizedParts:
    """What of a model is quantized.

    Attributes:
        grids: layer name -> weight name -> `WeightGrid`; layers that have some.
        ranges: names of the layers whose outputs are quantized, in model order.
    """

    grids: Mapping
    ranges: tuple[str, ...]


def plan_quantization(model, config):
    """Chooses what is quantized in every layer.

    Args:
        model: flat functional tf_keras model.
        config: `QatConfig`.
    Returns:
        `Plan` whose work is `QuantizedParts`.
    Raises:
        InvalidValueError: if a rule matches no layer, a layer that a rule names cannot
            be quantized, or a weight is not finite.
    """
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    overrides = config.layers.plan(kinds)
    obstacles = _choose_ranges(model, config)
    rows, grids, ranges = [], {}, []
    for layer in model.layers:
        name = layer.name
        row, of_layer, has_range = _plan_layer(
            layer, config, overrides[name], obstacles[name]
        )
        rows.append(row)
        if of_layer:
            grids[name] = of_layer
        if has_range:
            ranges.append(name)
    return Plan(config, tuple(rows), QuantizedParts(grids, tuple(ranges)))


def _plan_layer(layer, config, override, range_obstacle):
    """Returns a layer's row, its `WeightGrid`s by name, and if its output has a range.

    Args:
        layer: tf_keras layer.
        config: `QatConfig`.
        override: what its rule sets, or `None`.
        range_obstacle: why its output has no range of its own, or `None`.
    """
    if override is None:
        return _left(layer, LEFT_ALONE, "a rule leaves it alone")
    if obstacle := _unknown(layer, config):
        if config.layers.names(layer.name, type(layer).__name__):
            raise _cannot_be_quantized(layer, obstacle)
        return _left(layer, SKIPPED, obstacle)
    weights = _weights(layer)
    if override and layer.weights and not weights:
        raise _cannot_be_quantized(layer, "it has no kernel to which settings apply")
    settings = config.with_rule(override)
    grids = {
        name: _grid(layer, name, variable.numpy(), settings)
        for name, variable in weights.items()
    }
    if not config.is_static:
        range_obstacle = _OF_DYNAMIC_RANGE
    if not grids and range_obstacle:
        return _left(layer, LEFT_ALONE, range_obstacle)
    if config.is_static and layer.compute_dtype == "float16":
        raise _wrong_dtype(layer, "it computes in float16, and ranges are float32")
    requested = {"scheme": config.scheme}
    if grids:
        requested |= {name: getattr(settings, name) for name in RULE_SETTINGS}
    if not range_obstacle:
        requested["range_estimator"] = config.range_estimator
    row = LayerRow(
        name=layer.name,
        kind=type(layer).__name__,
        status=COMPRESSED,
        reason=f"its output stays float: {range_obstacle}"
        if config.is_static and range_obstacle
        else None,
        requested=requested,
    )
    return row, grids, not range_obstacle


def _left(layer, status, reason):
    kind = type(layer).__name__
    row = LayerRow(name=layer.name, kind=kind, status=status, reason=reason)
    return row, {}, False


def _unknown(layer, config):
    """Returns in what way the scheme does not know a layer, or `None`."""
    kind, function = type(layer).__name__, _function(layer)
    is_float = _first_output(layer).dtype.is_floating
    if kind not in _KNOWN and (layer.weights or (config.is_static and is_float)):
        return f"the scheme does not know layers of type {kind}"
    known = _COMPUTING_FUNCTIONS | _PASSING_FUNCTIONS | {None}
    if function not in known and config.is_static and is_float:
        return f"the scheme does not know the function {function!r}"
    return None


def _function(layer):
    """Returns the name of what a `TensorFunction` computes, `None` of other layers."""
    return layer.function if type(layer).__name__ == "TensorFunction" else None


def _weights(layer):
    """Returns the weights of a layer that are quantized, by name."""
    weights = compressible_weights(layer)
    if type(layer).__name__.startswith("Separable"):
        weights = {"depthwise_kernel": layer.depthwise_kernel} | weights
    return weights


def _grid(layer, name, array, settings):
    """Returns the `WeightGrid` of a weight."""
    kind = type(layer).__name__
    if array.dtype != np.float32:
        raise _wrong_dtype(
            layer, f"its {name} is {array.dtype}, and integers take a float32 scale"
        )
    if not np.isfinite(array).all():
        raise InvalidValueError(
            f"Weight {name!r} of layer {layer.name!r} ({kind}) has values that are not "
            "finite. Check the training that made it, or leave the layer alone with "
            f"layers={{{layer.name!r}: None}}."
        )
    if name == "depthwise_kernel":
        # Input channels, and the channels that each of them is multiplied to.
        axes = (array.ndim - 2, array.ndim - 1)
    else:
        axes = (output_axis(kind, array.ndim),)
    has_scales = settings.granularity == "per_channel" and kind != "Embedding"
    return WeightGrid(settings.weight_bits, axes if has_scales else (), axes[0])


def _choose_ranges(model, config):
    """Returns layer name -> why its output has no range of its own, or `None`."""
    last = _last_layers(model)
    carrying = _carrying_layers(model)
    wanted = _read_by_products(model) if config.activations == "products" else carrying
    found = {}
    for layer in model.layers:
        obstacle = _range_obstacle(layer, carrying)
        if obstacle is None and layer.name in last:
            obstacle = "it is the model's output"
        if obstacle is None and layer.name not in wanted:
            obstacle = "no product of integers reads it"
        found[layer.name] = obstacle
    return found


def _range_obstacle(layer, carrying):
    """Returns why a layer's output cannot be quantized, or `None`."""
    kind, function = type(layer).__name__, _function(layer)
    if kind in _RECURRENT:
        return "what a recurrent layer computes inside stays float"
    if is_passing(layer):
        return "it computes no new values"
    if layer.name not in carrying:
        return "it computes ids or a mask"
    is_sum = bool(_SUMS & {kind, function})
    is_mask_added = is_sum and any(p.name not in carrying for p in _parents(layer))
    if kind == "MaskScores" or is_mask_added:
        return _OF_MASKED_SCORES
    readers = {type(reader).__name__ for reader in _readers(layer)}
    if readers == {"BatchNormalization"} and layer.weights:
        return "exporting multiplies the BatchNormalization that follows into it"
    return None


def is_passing(layer):
    if getattr(layer, "hands_on", False):  # an augmentation, as the bridge keeps it
        return True
    return type(layer).__name__ in _PASSING or _function(layer) in _PASSING_FUNCTIONS


def _read_by_products(model):
    """Returns the names of the layers whose values a product of integers reads."""
    names = set()
    for layer in reversed(model.layers):  # after those that read it
        for reader in _readers(layer):
            is_product = _PRODUCTS & {type(reader).__name__, _function(reader)}
            if is_product or (is_passing(reader) and reader.name in names):
                names.add(layer.name)
    return names


def _carrying_layers(model):
    """Returns the names of layers that put out activations, not ids or masks.

    Those are floats that come from a weight or from a float input.
    """
    names = set()
    for layer in model.layers:  # after those that it reads
        parents = _parents(layer)
        is_source = layer.weights if parents else True
        if _first_output(layer).dtype.is_floating and (
            is_source or any(parent.name in names for parent in parents)
        ):
            names.add(layer.name)
    return names


def _first_output(layer):
    """Returns the first of what a layer puts out, which may be a list of tensors."""
    output = layer.get_output_at(0)
    while isinstance(output, (list, tuple)):
        output = output[0]
    return output


def _parents(layer):
    """Returns the layers that a layer reads, in all its calls."""
    return [
        parent.layer for node in layer.inbound_nodes for parent in node.parent_nodes
    ]


def _readers(layer):
    """Returns the layers that read a layer, in all its calls."""
    return [node.layer for node in layer.outbound_nodes]


def _last_layers(model):
    """Returns the names of the layers whose outputs are the model's."""
    names = set()
    for tensor in model.outputs:
        layer = tensor._keras_history.layer
        while type(layer).__name__ == "AttachMask":
            layer = _parents(layer)[0]
        names.add(layer.name)
    return names


def _cannot_be_quantized(layer, obstacle):
    return InvalidValueError(
        f"Layer {layer.name!r} ({type(layer).__name__}) cannot be quantized: "
        f"{obstacle}. Leave it alone with layers={{{layer.name!r}: None}}, or take the "
        "rule that names it away."
    )


def _wrong_dtype(layer, obstacle):
    return InvalidValueError(
        f"Layer {layer.name!r} ({type(layer).__name__}) cannot be quantized: "
        f"{obstacle}. Build the model with the dtype policy float32, or leave the "
        f"layer alone with layers={{{layer.name!r}: None}}."
    )
