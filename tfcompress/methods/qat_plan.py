"""Which weights and outputs of a model quantization-aware training quantizes.

A layer type that no table here has is not known: it is skipped with its reason.
"""

import dataclasses

import numpy as np

from tfcompress.compression_report import COMPRESSED, LEFT_ALONE, SKIPPED, LayerRow
from tfcompress.errors import InvalidValueError
from tfcompress.methods.centroids import output_axis
from tfcompress.methods.layer_weights import compressible_weights
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
_MASK_REASON = (
    "its range would have to hold the score of masked positions, which are far below "
    "all others"
)


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """What is to be done with one layer, decided before anything is trained.

    Attributes:
        row: `LayerRow`, without what is measured.
        weights: weight name -> `WeightGrid`.
        has_range: whether its output is quantized.
    """

    row: LayerRow
    weights: dict
    has_range: bool


def plan_quantization(model, config):
    """Chooses what is quantized in every layer.

    Args:
        model: flat functional tf_keras model.
        config: `QatConfig`.
    Returns:
        Dict of layer name to `LayerPlan`, in model order.
    Raises:
        InvalidValueError: if a rule matches no layer, a layer that a rule names cannot
            be quantized, or a weight is not finite.
    """
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    overrides = config.layers.plan(kinds)
    last = _last_layers(model)
    return {
        layer.name: _plan_layer(
            layer, config, overrides[layer.name], layer.name in last
        )
        for layer in model.layers
    }


def _plan_layer(layer, config, override, is_last):
    """Returns the `LayerPlan` of a layer; `override` is what its rule sets."""
    if override is None:
        return _left(layer, LEFT_ALONE, "a rule leaves it alone")
    kind = type(layer).__name__
    weights = _weights(layer)
    if not _is_known(layer):
        reason = f"the quantization scheme does not know layers of type {kind}"
        if config.layers.names(layer.name, kind):
            raise _cannot_be_quantized(layer, reason)
        return _left(layer, SKIPPED, reason)
    if override and not weights:
        raise _cannot_be_quantized(layer, "it has no kernel to which settings apply")
    settings = config.with_rule(override)
    grids = {
        name: _grid(layer, name, variable.numpy(), settings)
        for name, variable in weights.items()
    }
    reason_without_range = _reason_without_range(layer, config, is_last)
    has_range = reason_without_range is None
    if not grids and not has_range:
        return _left(layer, LEFT_ALONE, reason_without_range)
    requested = {"scheme": config.scheme}
    if grids:
        requested |= {name: getattr(settings, name) for name in RULE_SETTINGS}
    remarks = [_remark_on_norm(layer)] if grids else []
    if config.is_static and not has_range:
        remarks.append(f"its output stays float: {reason_without_range}")
    row = LayerRow(
        name=layer.name,
        kind=kind,
        status=COMPRESSED,
        reason="; ".join(remark for remark in remarks if remark) or None,
        requested=requested,
    )
    return LayerPlan(row, grids, has_range)


def _left(layer, status, reason):
    kind = type(layer).__name__
    row = LayerRow(name=layer.name, kind=kind, status=status, reason=reason)
    return LayerPlan(row, {}, False)


def _weights(layer):
    """Returns the weights of a layer that are quantized, by name."""
    weights = compressible_weights(layer)
    if type(layer).__name__ == "SeparableConv2D":
        weights = {"depthwise_kernel": layer.depthwise_kernel} | weights
    return weights


def _is_known(layer):
    kind = type(layer).__name__
    if kind == "TensorFunction":
        return True
    return kind in _COMPUTING | _PASSING | _RECURRENT | {"MaskScores"}


def _grid(layer, name, array, settings):
    """Returns the `WeightGrid` of a weight."""
    kind = type(layer).__name__
    if not np.isfinite(array).all():
        raise InvalidValueError(
            f"Weight {name!r} of layer {layer.name!r} ({kind}) has values that are not "
            "finite. Check the training that made it, or leave the layer alone with "
            f"layers={{{layer.name!r}: None}}."
        )
    axis, channel_axes = output_axis(kind, array.ndim), ()
    if name == "depthwise_kernel":
        axis = array.ndim - 2
    if settings.granularity == "per_channel" and kind != "Embedding":
        channel_axes = (axis,)
        if name == "depthwise_kernel":  # input channels and what each is multiplied to
            channel_axes = (axis, axis + 1)
    return WeightGrid(settings.weight_bits, channel_axes, axis)


def _reason_without_range(layer, config, is_last):
    """Returns why the output of a layer is not quantized, or `None`."""
    kind = type(layer).__name__
    function = getattr(layer, "function", None) if kind == "TensorFunction" else None
    if not config.is_static:
        return "dynamic_range quantizes kernels and embeddings only"
    if kind == "MaskScores":
        return _MASK_REASON
    if kind in _RECURRENT:
        return "what a recurrent layer computes inside stays float"
    if kind in _PASSING or function in _PASSING_FUNCTIONS:
        return "it computes no new values"
    if function is not None and function not in _COMPUTING_FUNCTIONS:
        return f"the quantization scheme does not know the function {function!r}"
    if is_last:
        return "it is the model's output"
    if _feeds_only(layer, "BatchNormalization"):
        return "a BatchNormalization follows"
    if not layer.compute_dtype.startswith(("float", "bfloat")):
        return "it puts out whole numbers"
    return None


def _feeds_only(layer, kind):
    readers = [type(node.layer).__name__ for node in layer.outbound_nodes]
    return bool(readers) and set(readers) == {kind}


def _remark_on_norm(layer):
    if any(
        type(n.layer).__name__ == "BatchNormalization" for n in layer.outbound_nodes
    ):
        return (
            "a BatchNormalization follows, which exporting multiplies into it: fold it "
            "first"
        )
    return None


def _last_layers(model):
    """Returns the names of the layers whose outputs are the model's."""
    names = set()
    for tensor in model.outputs:
        layer = tensor._keras_history.layer
        while type(layer).__name__ == "AttachMask":
            layer = layer.inbound_nodes[0].parent_nodes[0].layer
        names.add(layer.name)
    return names


def _cannot_be_quantized(layer, obstacle):
    return InvalidValueError(
        f"Layer {layer.name!r} ({type(layer).__name__}) cannot be quantized: "
        f"{obstacle}. Leave it alone with layers={{{layer.name!r}: None}}, or take the "
        "rule that names it away."
    )
