"""What a rule is: one Keras 3 layer becomes leaf layers of tf_keras.

A rule is a function `rule(layer, leaves) -> call`. It runs once for each source layer
and makes the leaf layers with `leaves.add`; the `call` that it returns runs once for
each place where the source calls that layer, on symbolic tf_keras tensors.

    def scaled_dense(layer, leaves):
        dense = leaves.add(
            tf_keras.layers.Dense, units=layer.units, weights=[layer.kernel, layer.bias]
        )
        scale = leaves.add(tf_keras.layers.Rescaling, "scale", scale=layer.factor)
        return lambda inputs: scale(dense(inputs))

    to_tf_keras(model, rules={ScaledDense: scaled_dense})

What has no rule crosses as it is, see `tfcompress.bridge.kept`; so does a layer of
Keras that asks for more than its rule can do.

Leaves are named after the source: `outer/inner` for a layer of a nested model,
`layer/suffix` for one of several leaves. Each weight of a leaf names the variable that
it came from, so that the way back needs no further rule.
"""

import dataclasses
import re
from typing import Any, NamedTuple

import numpy as np

from tfcompress.errors import UnsupportedModelError


class RuleRefusal(UnsupportedModelError):
    """A rule cannot take a layer to pieces, which then crosses as it is.

    Attributes:
        source: the layer or operation.
        path: its name, after the names of the models that it lies in.
        reason: what the rule cannot do, without the layer's name.
    """

    def __init__(self, message, source, path, reason):
        super().__init__(message)
        self.source = source
        self.path = path
        self.reason = reason


# tf_keras opens a TensorFlow name scope for each layer, and a scope takes only these.
_SCOPE_CHARACTERS = re.compile(r"[^A-Za-z0-9_.\\/>-]")

DTYPE_POLICIES = (
    "float32",
    "float16",
    "bfloat16",
    "float64",
    "mixed_float16",
    "mixed_bfloat16",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Weight:
    """The source of one weight of a leaf layer: a variable, turned and reshaped.

    The leaf holds `variable` with its axes in the order `transpose`, then reshaped to
    `shape`; the way back inverts both.

    Args:
        variable: a Keras 3 variable of the source layer.
        transpose: order of the variable's axes in the leaf; `None` keeps it.
        shape: the leaf's shape, without `-1`; `None` keeps it.

    >>> kernel = np.zeros((8, 2, 4))    # hidden, heads, head size
    >>> Weight(kernel, shape=(8, 8)).leaf_shape
    (8, 8)
    >>> Weight(kernel, transpose=(1, 2, 0)).leaf_shape
    (2, 4, 8)
    """

    variable: Any
    transpose: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None

    @property
    def leaf_shape(self):
        """Shape of the weight in the leaf layer."""
        return self._turned_shape if self.shape is None else tuple(self.shape)

    def to_leaf(self, value):
        """Gives the leaf's array for `value`, an array of the variable's shape."""
        if self.transpose is not None:
            value = np.transpose(value, self.transpose)
        return np.reshape(value, self.leaf_shape)

    def to_source(self, value):
        """Gives the variable's array for `value`, an array of the leaf's shape."""
        value = np.reshape(value, self._turned_shape)
        if self.transpose is not None:
            value = np.transpose(value, np.argsort(self.transpose))
        return value

    @property
    def _turned_shape(self):
        shape = tuple(self.variable.shape)
        if self.transpose is None:
            return shape
        return tuple(shape[axis] for axis in self.transpose)


class Masked(NamedTuple):
    """What a rule's call returns where the mask does not simply pass through.

    Without it the outputs take the inputs' mask if the source layer supports masking
    and does not compute one of its own, and have none otherwise.
    """

    outputs: Any
    mask: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Leaf:
    """A tf_keras layer and where its weights come from, in the order of its weights."""

    layer: Any
    weights: tuple[Weight, ...]


class Leaves:
    """Makes the leaf layers of one source layer; the second argument of a rule.

    Attributes:
        path: name of the source, after the names of the models that it lies in.
        trainable: whether the source and all models around it are trainable.
    """

    def __init__(self, flattener, source, path, trainable):
        self.path = path
        self.trainable = trainable
        self._flattener = flattener
        self._source = source
        self._made = {}

    def add(self, layer_class, suffix="", *, weights=(), **config):
        """Makes a leaf layer with the source's name, dtype policy and `trainable`.

        Args:
            layer_class: class of tf_keras layers.
            suffix: end of the leaf's name, if the source has several leaves.
            weights: where the leaf's weights come from, in the order of its
                `weights`: a variable of the source, a `Weight`, or `None` for one
                that the leaf does not have (a bias).
            **config: the leaf's constructor arguments.
        Returns:
            The layer, not built; it is built when the rule's call first calls it.
        Raises:
            UnsupportedModelError: if two leaves claim one variable, since their
                weights would drift apart.
        """
        config = {"dtype": self.dtype, **config} if "dtype" not in config else config
        layer = layer_class(
            name=scope_name(self._name(suffix)), trainable=self.trainable, **config
        )
        weights = tuple(
            weight if isinstance(weight, Weight) else Weight(weight)
            for weight in weights
            if weight is not None
        )
        self._flattener.register(Leaf(layer, weights), self.describe())
        return layer

    def once(self, layer_class, suffix, **config):
        """Makes a leaf without weights where a call first needs it.

        Args:
            layer_class: class of tf_keras layers.
            suffix: end of the leaf's name.
            **config: the leaf's constructor arguments.
        Returns:
            The layer; a second call with this suffix returns the same one.
        """
        if suffix not in self._made:
            self._made[suffix] = self.add(layer_class, suffix, **config)
        return self._made[suffix]

    def expand(self, layer, suffix=None):
        """Applies the rule of a layer that lies inside the source.

        Args:
            layer: a Keras 3 layer that the source calls in its own `call`.
            suffix: its name after the source's, "" for the source's alone; its own name
                unless given.
        Returns:
            The function that calls its leaves.
        """
        return self._flattener.expand(
            layer,
            self._name(layer.name if suffix is None else suffix),
            self.trainable and layer.trainable,
        )

    def compute(self, function, suffix="", *, operands=None, **options):
        """Makes a leaf without weights that computes a function of tensors.

        Args:
            function: a name of `leaf_layers.FUNCTIONS`.
            suffix: end of the leaf's name.
            operands: arguments in order, `None` for a tensor; by default one tensor.
            **options: further arguments, of JSON values.
        Returns:
            The layer; a second call with this suffix returns the same one.
        """
        return self._flattener.compute(self._name(suffix), function, operands, options)

    def keep_function(self, function, suffix=""):
        """Makes a leaf that calls a function of Keras 3's kind as it is.

        Args:
            function: takes and gives tensors, without weights: an activation.
            suffix: end of the leaf's name.
        Returns:
            The function that calls the leaf.
        """
        return self._flattener.keep_as_is(function, self._name(suffix), self.trainable)

    def keep(self, *variables):
        """Says that `variables` cross as constants: they do not come back."""
        self._flattener.claim(variables, self.describe())

    def drop(self, field):
        """Says that the source's `field` has no effect in the leaves (it is logged)."""
        self._flattener.dropped.setdefault(field, []).append(self.path)

    def drop_penalties(self):
        """Says so of each regularizer and constraint that the source has."""
        for field, value in self._source.get_config().items():
            if field.endswith(("_regularizer", "_constraint")) and value is not None:
                self.drop(field)

    def mask_of(self, tensor):
        """Gives the mask that comes with a tensor, a bool tensor, or `None`."""
        return self._flattener.mask_of(tensor)

    def take_mask(self, tensor):
        """Gives `mask_of(tensor)` to an attention; Keras 3 does so only once."""
        return self._flattener.take_mask(tensor, self.describe())

    @property
    def dtype(self):
        """Name of the leaves' dtype policy, the source's."""
        policy = getattr(self._source, "dtype_policy", None)
        if policy is None:
            return self._source.output.dtype
        if policy.name not in DTYPE_POLICIES:
            raise self.unsupported(
                f"has the dtype policy {policy.name!r}; the bridge carries "
                f"{', '.join(DTYPE_POLICIES)}. Cross before quantizing"
            )
        return policy.name

    def unsupported(self, reason):
        """Gives the error for this source; `reason` follows its name and class.

        Raised in one of the bridge's own rules it lets the source cross as it is, with
        the reason in the report; raised in a user's rule it ends the crossing.
        """
        message = f"{self.describe()} {reason}."
        return RuleRefusal(message, self._source, self.path, reason)

    def describe(self):
        """Gives the source's name and class as errors show them."""
        return describe(self._source, self.path)

    def _name(self, suffix):
        return f"{self.path}/{suffix}" if suffix else self.path


def is_symbolic(value):
    """Whether a value is a tensor of the tf_keras graph."""
    return hasattr(value, "_keras_history")


def describe(source, path):
    """Gives the name and class of a layer or operation as errors show them."""
    kind = "Layer" if hasattr(source, "weights") else "Operation"
    return f"{kind} {path!r} ({type(source).__name__})"


def scope_name(path):
    """Gives a path as a name that tf_keras takes: what a scope cannot hold is "_".

    >>> scope_name("encoder/dense_1"), scope_name("my layer"), scope_name("_head")
    ('encoder/dense_1', 'my_layer', 'layer_head')
    """
    name = _SCOPE_CHARACTERS.sub("_", path)
    return name if name[0].isalnum() or name[0] == "." else f"layer{name}"
