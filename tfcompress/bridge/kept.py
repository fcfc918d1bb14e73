"""What crosses as it is: a Keras 3 layer or operation that no rule takes to pieces.

`kept_layer.KeptLayer` is its leaf in the tf_keras graph. The leaf has the weights, and
runs the Keras 3 object on them, so that clones of the leaf, which TFMOT makes, have
weights of their own and share only the object. What the object was called with lies
here too: a leaf's config holds a key alone, and is JSON.
"""

import dataclasses
import itertools
import weakref
from typing import Any

from tfcompress.errors import InvalidValueError

_numbers = itertools.count()
_alive = weakref.WeakValueDictionary()


@dataclasses.dataclass(frozen=True)
class Slot:
    """Stands for a tensor in the arguments of a call, by its number."""

    number: int


@dataclasses.dataclass(eq=False)
class KeptCall:
    """One place where a model calls what crosses as it is.

    Attributes:
        arguments: `(args, kwargs)`, with a `Slot` for each tensor.
        masks: number of a tensor -> number of the tensor that is its mask.
        expected: shape of each output in Keras 3, `None` where it is not known.
        structure: that of the outputs, known once the call has run.
        output_masks: number of an output -> its mask's among what the leaf returns.
        removed: numbers of the tensors whose masks the call has taken away.
    """

    arguments: tuple
    masks: dict
    expected: list | None = None
    structure: Any = None
    output_masks: dict = dataclasses.field(default_factory=dict)
    removed: list = dataclasses.field(default_factory=list)


class Kept:
    """A Keras 3 object that crosses as it is; the clones of its leaf share it.

    Args:
        source: a Keras 3 layer or operation; it is never changed.
        path: its name, after the names of the models that it lies in.
        reason: why it crosses as it is, as the report has it.

    Attributes:
        key: what the leaf's config holds.
        weights: its variables in the order of the leaf's weights.
        states: variables beside the weights: those of random numbers, and of metrics.
        calls: a `KeptCall` for each call, in the order of the walk.
    """

    def __init__(self, source, path, reason):
        self.source = source
        self.path = path
        self.reason = reason
        self.key = f"{path}#{next(_numbers)}"
        weights = list(getattr(source, "weights", ()))
        # tf_keras has the trainable weights of a layer before the others.
        self.weights = sorted(weights, key=lambda variable: not variable.trainable)
        known = {id(variable) for variable in weights}
        variables = getattr(source, "variables", ())
        self.states = [x for x in variables if id(x) not in known]
        self.calls = []
        _alive[self.key] = self


@dataclasses.dataclass(frozen=True)
class KeptRow:
    """A layer of a flat model that crossed as it is.

    Attributes:
        name: the leaf's name.
        kind: class of the Keras 3 object.
        reason: why it crossed as it is.
        num_bytes: bytes of its weights.
    """

    name: str
    kind: str
    reason: str
    num_bytes: int


def find_kept(key):
    """Gives the `Kept` of a leaf's config.

    Raises:
        InvalidValueError: if it is gone: a saved leaf cannot be loaded.
    """
    kept = _alive.get(key)
    if kept is None:
        raise InvalidValueError(
            f"The leaf of {key.partition('#')[0]!r} holds a Keras 3 layer of the "
            "process that made it and cannot be loaded from a file: call to_tf_keras "
            "on the Keras 3 model again."
        )
    return kept


def kept_layers(model):
    """Gives a `KeptRow` for each layer of a flat model that crossed as it is.

    Args:
        model: what `to_tf_keras` returned, or became of it, wrappers stripped.
    Returns:
        Tuple of `KeptRow`, in the order of the model's layers.
    """
    from tfcompress.bridge.kept_layer import KeptLayer

    return tuple(
        KeptRow(
            name=layer.name,
            kind=kind_of(layer.kept.source),
            reason=layer.kept.reason,
            num_bytes=count_bytes(layer),
        )
        for layer in model.layers
        if isinstance(layer, KeptLayer)
    )


def kind_of(source):
    """Gives the class of a layer or operation, or the name of a function."""
    return getattr(source, "__name__", type(source).__name__)


def count_bytes(layer):
    """Gives the bytes of the weights of a tf_keras layer or model."""
    return sum(x.shape.num_elements() * x.dtype.size for x in layer.weights)
