"""The rules of Keras 3's own layers, most of them as data: one row for each class.

A row says which config fields keep their meaning in tf_keras and in which order
tf_keras holds the weights. A field that no row mentions must have Keras 3's default, or
the layer is refused: nothing that a model asks for is skipped. Initializers have no
effect on trained weights; regularizers and constraints are dropped, which is logged.
"""

import dataclasses
import functools
import inspect
import operator
from collections.abc import Callable, Mapping

from tfcompress.bridge import mask_rules, special_layers
from tfcompress.bridge.activations import (
    activation_rule,
    same_activation,
    unknown_activation,
)
from tfcompress.bridge.application_rules import application_rules

_IGNORED = ("name", "trainable", "dtype", "build_config")


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """How a layer class crosses.

    Attributes:
        fields: config fields with the same meaning in tf_keras, space-separated.
        weights: attributes of the Keras 3 layer in the order of tf_keras' weights.
        renamed: fields that tf_keras calls otherwise: Keras 3's name -> tf_keras'.
        required: fields whose value must be this one.
        handled: fields that `wrap` takes care of, or that have no effect.
        wrap: `wrap(layer, leaves, call) -> call`, for what goes with the masks.
    """

    fields: str = ""
    weights: str = ""
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    required: Mapping[str, object] = dataclasses.field(default_factory=dict)
    handled: str = ""
    wrap: Callable | None = None


_CONV = (
    "filters kernel_size strides padding data_format dilation_rate activation use_bias"
)
_DEPTHWISE = (
    "kernel_size strides padding depth_multiplier data_format dilation_rate activation "
    "use_bias"
)
_POOL = "pool_size strides padding data_format"
_GLOBAL_POOL = "data_format keepdims"
_RECURRENT = (
    "units activation use_bias dropout recurrent_dropout return_sequences return_state "
    "go_backwards unroll zero_output_for_mask"
)
_CELL = "cell.kernel cell.recurrent_kernel cell.bias"
_SEPARABLE_WEIGHTS = "depthwise_kernel pointwise_kernel bias"

_recurrent = functools.partial(
    LayerRow, weights=_CELL, handled="seed", wrap=mask_rules.recurrent
)
_merge = functools.partial(LayerRow, wrap=mask_rules.join)

ROWS = {
    "ActivityRegularization": LayerRow("l1 l2"),
    "Add": _merge(),
    "AlphaDropout": LayerRow("rate noise_shape seed"),
    "Average": _merge(),
    "AveragePooling1D": LayerRow(_POOL),
    "AveragePooling2D": LayerRow(_POOL),
    "AveragePooling3D": LayerRow(_POOL),
    "BatchNormalization": LayerRow(
        "axis momentum epsilon center scale synchronized",
        "gamma beta moving_mean moving_variance",
        handled="renorm_clipping renorm_momentum",
    ),
    "Concatenate": LayerRow("axis", wrap=mask_rules.concatenate),
    "Conv1D": LayerRow(f"{_CONV} groups", "kernel bias"),
    "Conv1DTranspose": LayerRow(f"{_CONV} output_padding", "kernel bias"),
    "Conv2D": LayerRow(f"{_CONV} groups", "kernel bias"),
    "Conv2DTranspose": LayerRow(f"{_CONV} output_padding", "kernel bias"),
    "Conv3D": LayerRow(f"{_CONV} groups", "kernel bias"),
    "Conv3DTranspose": LayerRow(f"{_CONV} output_padding", "kernel bias"),
    "Cropping1D": LayerRow("cropping"),
    "Cropping2D": LayerRow("cropping data_format"),
    "Cropping3D": LayerRow("cropping data_format"),
    "Dense": LayerRow("units activation use_bias", "kernel bias"),
    "DepthwiseConv1D": LayerRow(_DEPTHWISE, "kernel bias"),
    "DepthwiseConv2D": LayerRow(_DEPTHWISE, "kernel bias"),
    "Dot": LayerRow("axes normalize"),
    "Dropout": LayerRow("rate noise_shape seed"),
    "ELU": LayerRow("alpha"),
    "Embedding": LayerRow(
        "input_dim output_dim",
        "embeddings",
        handled="mask_zero",
        wrap=mask_rules.embedding,
    ),
    "Flatten": LayerRow("data_format"),
    "GaussianDropout": LayerRow("rate seed"),
    "GaussianNoise": LayerRow("stddev seed"),
    "GlobalAveragePooling1D": LayerRow(_GLOBAL_POOL),
    "GlobalAveragePooling2D": LayerRow(_GLOBAL_POOL),
    "GlobalAveragePooling3D": LayerRow(_GLOBAL_POOL),
    "GlobalMaxPooling1D": LayerRow(_GLOBAL_POOL),
    "GlobalMaxPooling2D": LayerRow(_GLOBAL_POOL),
    "GlobalMaxPooling3D": LayerRow(_GLOBAL_POOL),
    "GroupNormalization": LayerRow("groups axis epsilon center scale", "gamma beta"),
    "GRU": _recurrent(f"{_RECURRENT} recurrent_activation reset_after"),
    "LayerNormalization": LayerRow(
        "axis epsilon center scale", "gamma beta", required={"rms_scaling": False}
    ),
    "LeakyReLU": LayerRow("negative_slope", renamed={"negative_slope": "alpha"}),
    "LSTM": _recurrent(f"{_RECURRENT} recurrent_activation unit_forget_bias"),
    "Maximum": LayerRow(wrap=mask_rules.refuse),
    "MaxPooling1D": LayerRow(_POOL),
    "MaxPooling2D": LayerRow(_POOL),
    "MaxPooling3D": LayerRow(_POOL),
    "Minimum": LayerRow(wrap=mask_rules.refuse),
    "Multiply": _merge(),
    "Permute": LayerRow("dims"),
    "PReLU": LayerRow("shared_axes", "alpha"),
    "ReLU": LayerRow("max_value negative_slope threshold"),
    "RepeatVector": LayerRow("n"),
    "Reshape": LayerRow("target_shape"),
    "SeparableConv1D": LayerRow(f"{_CONV} depth_multiplier", _SEPARABLE_WEIGHTS),
    "SeparableConv2D": LayerRow(f"{_CONV} depth_multiplier", _SEPARABLE_WEIGHTS),
    "SimpleRNN": _recurrent(_RECURRENT),
    "Softmax": LayerRow("axis", wrap=mask_rules.softmax),
    "SpatialDropout1D": LayerRow("rate seed"),
    "SpatialDropout2D": LayerRow("rate data_format seed"),
    "SpatialDropout3D": LayerRow("rate data_format seed"),
    "Subtract": _merge(),
    "UnitNormalization": LayerRow("axis"),
    "UpSampling1D": LayerRow("size"),
    "UpSampling2D": LayerRow("size data_format interpolation"),
    "UpSampling3D": LayerRow("size data_format"),
    "ZeroPadding1D": LayerRow("padding", required={"data_format": "channels_last"}),
    "ZeroPadding2D": LayerRow("padding data_format"),
    "ZeroPadding3D": LayerRow("padding data_format"),
}


@functools.cache
def standard_rules():
    """Gives the rule of each of Keras 3's layers that can cross: class -> rule."""
    import keras

    rules = {
        getattr(keras.layers, name): functools.partial(_apply_row, name)
        for name in ROWS
    }
    for name, rule in special_layers.RULES.items():
        rules[getattr(keras.layers, name)] = rule
    rules[keras.layers.Bidirectional] = _bidirectional
    rules.update(application_rules())
    return rules


def _apply_row(name, layer, leaves):
    """Makes the leaf of a row's layer, and one for an activation that needs it."""
    import tf_keras

    row = ROWS[name]
    config, activation = _leaf_config(name, layer, leaves)
    leaf = leaves.add(
        getattr(tf_keras.layers, name), weights=_row_weights(name, layer), **config
    )
    call = leaf
    if activation is not None:
        activate = activation_rule(activation, leaves, "activation")

        def call(inputs):
            return activate(leaf(inputs))

    return call if row.wrap is None else row.wrap(layer, leaves, call)


def _row_weights(name, layer):
    """Gives the layer's variables in the order of tf_keras' weights."""
    return [operator.attrgetter(path)(layer) for path in ROWS[name].weights.split()]


def _leaf_config(name, layer, leaves):
    """Gives tf_keras' config, and the activation that needs a layer of its own."""
    row = ROWS[name]
    fields = row.fields.split()
    config = {}
    for field, value in layer.get_config().items():
        if field in fields:
            config[row.renamed.get(field, field)] = value
        elif field.endswith(("_regularizer", "_constraint")):
            if value is not None:
                leaves.drop(field)
        elif field not in (*_IGNORED, *row.handled.split()):
            _check_field(row, layer, leaves, field, value)
    apart = None
    for field in {"activation", "recurrent_activation"} & set(config):
        function = getattr(layer, field)
        config[field] = same_activation(function)
        if config[field] is None:
            if row.wrap is mask_rules.recurrent:
                raise unknown_activation(function, leaves)
            config[field], apart = "linear", function
    return config, apart


def _check_field(row, layer, leaves, field, value):
    """Refuses a config value that would be lost."""
    if field.endswith("_initializer"):
        return
    expected = row.required.get(field, _default(type(layer), field))
    if value != expected:
        raise leaves.unsupported(
            f"has {field}={value!r}; only {field}={expected!r} can be compressed"
        )


@functools.cache
def _default(layer_class, field):
    """Gives the default of a constructor argument, `None` if there is none."""
    for base in inspect.getmro(layer_class):
        parameter = inspect.signature(base.__init__).parameters.get(field)
        if parameter is not None and parameter.default is not parameter.empty:
            return parameter.default
    return None


def _bidirectional(layer, leaves):
    """Makes one leaf that holds both directions."""
    import keras
    import tf_keras

    directions, weights = [], []
    for inner in (layer.forward_layer, layer.backward_layer):
        name = type(inner).__name__
        if type(inner) not in (
            keras.layers.LSTM,
            keras.layers.GRU,
            keras.layers.SimpleRNN,
        ):
            raise leaves.unsupported(
                f"wraps a {name}; LSTM, GRU and SimpleRNN can be compressed"
            )
        config, _ = _leaf_config(name, inner, leaves)
        directions.append(getattr(tf_keras.layers, name)(dtype=leaves.dtype, **config))
        weights += _row_weights(name, inner)
    call = leaves.add(
        tf_keras.layers.Bidirectional,
        weights=weights,
        layer=directions[0],
        backward_layer=directions[1],
        merge_mode=layer.merge_mode,
    )
    return mask_rules.recurrent(layer, leaves, call)
