"""Rules of Keras 3's operations: `x + y` or `keras.ops.mean(x)` in a functional graph.

What has a layer in tf_keras becomes that layer, which other tools know; the rest
becomes a `TensorFunction`.
"""

import dataclasses
import functools
import numbers
from collections.abc import Mapping

import numpy as np

from tfcompress.bridge.activations import activation_rule
from tfcompress.bridge.rules import is_symbolic

# Operation -> activation of the same definition, both without parameters.
_ACTIVATIONS = {
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "LogSigmoid": "log_sigmoid",
    "Mish": "mish",
    "Relu": "relu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}

# Operation -> tf_keras layer, and attributes of the operation -> the layer's config.
_LAYERS = {
    "Concatenate": ("Concatenate", {"axis": "axis"}),
    "Elu": ("ELU", {"alpha": "alpha"}),
    "LeakyRelu": ("LeakyReLU", {"negative_slope": "alpha"}),
    "ReLU": (
        "ReLU",
        {
            "max_value": "max_value",
            "negative_slope": "negative_slope",
            "threshold": "threshold",
        },
    ),
    "Softmax": ("Softmax", {"axis": "axis"}),
}

# Operations of two tensors that tf_keras has as a merging layer of the same name.
_MERGES = ("Add", "Maximum", "Minimum", "Multiply", "Subtract")


@dataclasses.dataclass(frozen=True)
class OperationRow:
    """How an operation crosses as a function of tensors.

    Attributes:
        function: a name of `leaf_layers.FUNCTIONS`.
        options: attributes of the operation that the function takes.
        required: attributes that must have this value.
        joins: whether it takes several operands, which Keras 3 first brings to the
            result's dtype (`"result"`) or must have one dtype (`"same"`).
    """

    function: str
    options: str = ""
    required: Mapping[str, object] = dataclasses.field(default_factory=dict)
    joins: str = ""


_reduction = functools.partial(OperationRow, options="axis keepdims")

_FUNCTIONS = {
    "Absolute": OperationRow("absolute"),
    "Abs": OperationRow("absolute"),
    "Add": OperationRow("add", joins="result"),
    "Cast": OperationRow("cast", "dtype"),
    "Divide": OperationRow("divide", joins="result"),
    "Equal": OperationRow("equal", joins="same"),
    "Exp": OperationRow("exp"),
    "ExpandDims": OperationRow("expand_dims", "axis"),
    "Greater": OperationRow("greater", joins="same"),
    "GreaterEqual": OperationRow("greater_equal", joins="same"),
    "Less": OperationRow("less", joins="same"),
    "LessEqual": OperationRow("less_equal", joins="same"),
    "Log": OperationRow("log"),
    "LogicalAnd": OperationRow("logical_and", joins="same"),
    "LogicalNot": OperationRow("logical_not"),
    "LogicalOr": OperationRow("logical_or", joins="same"),
    "LogSoftmax": OperationRow("log_softmax", "axis"),
    "Matmul": OperationRow("matmul", joins="result"),
    "Max": _reduction("max", required={"initial": None}),
    "Maximum": OperationRow("maximum", joins="result"),
    "Mean": _reduction("mean"),
    "Min": _reduction("min", required={"initial": None}),
    "Minimum": OperationRow("minimum", joins="result"),
    "Multiply": OperationRow("multiply", joins="result"),
    "Negative": OperationRow("negative"),
    "NotEqual": OperationRow("not_equal", joins="same"),
    "Power": OperationRow("power", joins="result"),
    "Reshape": OperationRow("reshape", "newshape"),
    "Rsqrt": OperationRow("rsqrt"),
    "Sqrt": OperationRow("sqrt"),
    "Square": OperationRow("square"),
    "Squeeze": OperationRow("squeeze", "axis"),
    "Subtract": OperationRow("subtract", joins="result"),
    "Sum": _reduction("sum"),
    "Transpose": OperationRow("transpose", "axes"),
    "TrueDivide": OperationRow("divide", joins="result"),
}


def operation_rule(operation):
    """Gives the rule of one of Keras' own operations, `None` if there is none.

    Args:
        operation: a `keras.Operation` that is no layer.
    """
    # A user's operation may be called "Add" as well.
    if not type(operation).__module__.startswith("keras.src."):
        return None
    name = type(operation).__name__
    if name == "GetItem":
        return _get_item
    if name == "Gelu":
        return _gelu
    if name in _ACTIVATIONS:
        return functools.partial(_activation, _ACTIVATIONS[name])
    if name in _LAYERS:
        return functools.partial(_layer, *_LAYERS[name])
    if name in _FUNCTIONS:
        row = _FUNCTIONS[name]
        return functools.partial(_several if row.joins else _single, row)
    return None


def _activation(name, operation, leaves):
    return activation_rule(name, leaves)


def _gelu(operation, leaves):
    if operation.approximate:
        return leaves.compute("gelu_tanh")
    return activation_rule("gelu", leaves)


def _layer(name, attributes, operation, leaves):
    import tf_keras

    config = {ours: getattr(operation, its) for its, ours in attributes.items()}
    return leaves.add(getattr(tf_keras.layers, name), **config)


def _get_item(operation, leaves):
    def call(inputs, key):
        # In the config of a loaded model the tuple is a list.
        key = tuple(key) if isinstance(key, (tuple, list)) else (key,)
        if not all(_is_plain(index) for index in key):
            raise leaves.unsupported("is called with an index that is a tensor")
        return leaves.compute("get_item", key=[_encode_index(i) for i in key])(inputs)

    return call


def _is_plain(index):
    """Whether JSON can hold an index: it may be a tensor, or a slice of tensors."""
    parts = [index]
    if isinstance(index, slice):
        parts = [index.start, index.stop, index.step]
    return all(
        x is None or x is Ellipsis or isinstance(x, numbers.Integral) for x in parts
    )


def _encode_index(index):
    """Writes one index as a JSON value that `leaf_layers` reads back."""
    if isinstance(index, slice):
        ends = (index.start, index.stop, index.step)
        return {"slice": [None if end is None else int(end) for end in ends]}
    if index is Ellipsis:
        return "..."
    return "newaxis" if index is None else int(index)


def _single(row, operation, leaves):
    """Makes the leaf of an operation on one tensor."""
    options = {}
    for name in row.options.split():
        value = getattr(operation, name)
        option = {"newshape": "shape"}.get(name, name)
        options[option] = list(value) if isinstance(value, tuple) else value
    for name, expected in row.required.items():
        if getattr(operation, name) != expected:
            raise leaves.unsupported(
                f"has {name}={getattr(operation, name)!r}, in place of {expected!r}"
            )
    return leaves.compute(row.function, **options)


def _several(row, operation, leaves):
    """Makes the leaf of an operation on tensors and constants."""
    import tf_keras

    dtype = leaves.dtype if row.joins == "result" else None

    def call(*operands):
        tensors = [x for x in operands if is_symbolic(x)]
        ranks = {len(tensor.shape) for tensor in tensors}
        if dtype is not None:
            tensors = [
                tensor
                if tensor.dtype.name == dtype
                else leaves.compute("cast", f"cast_{number}", dtype=dtype)(tensor)
                for number, tensor in enumerate(tensors)
            ]
        if len({tensor.dtype for tensor in tensors}) > 1:
            raise leaves.unsupported(
                f"compares tensors of different dtypes "
                f"({', '.join(tensor.dtype.name for tensor in tensors)})"
            )
        name = type(operation).__name__
        if name in _MERGES and len(tensors) == 2 and len(ranks) == 1:
            return merge()(tensors)
        constants = [None if is_symbolic(x) else _constant(x, leaves) for x in operands]
        return leaves.compute(row.function, operands=constants)(tensors)

    @functools.cache
    def merge():
        return leaves.add(getattr(tf_keras.layers, type(operation).__name__))

    return call


def _constant(value, leaves):
    """Gives a constant operand as numbers in lists, which JSON can hold."""
    import keras

    if isinstance(value, keras.Variable):
        raise leaves.unsupported(f"uses the variable {value.path!r}")
    return np.asarray(keras.ops.convert_to_numpy(value)).tolist()
