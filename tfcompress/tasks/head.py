"""A head: what turns what a model puts out into a prediction. It is data.

An artifact's manifest holds a head for each output that is scored, so that whoever has
the folder gets classes or values and not numbers to interpret.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcompress.errors import InvalidValueError
from tfcompress.limits import shown

ACTIVATIONS = ("sigmoid", "softmax", "none")


@dataclasses.dataclass(frozen=True, eq=False)
class ClassPrediction:
    """Which class each of n examples is, and how probable each class is.

    Attributes:
        labels: n names of classes, the most probable of each example.
        indices: their numbers, int32, shape `(n,)`.
        probabilities: float32, shape `(n, classes)`; each row sums to 1, but for the
            one of a model that ends in a sigmoid for each class.
        outputs: float32, shape `(n, units)`: what the model put out.
    """

    labels: tuple[str, ...]
    indices: np.ndarray
    probabilities: np.ndarray
    outputs: np.ndarray

    def cells(self) -> list[tuple[str, ...]]:
        """Returns a tuple of texts for each example: its class, how probable it is."""
        most = self.probabilities.max(axis=1)
        return [
            (label, f"{probability:.3f}")
            for label, probability in zip(self.labels, most, strict=True)
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class ValuePrediction:
    """The values of n examples.

    Attributes:
        values: float32, shape `(n, ...)`: what the model put out.
    """

    values: np.ndarray

    @property
    def outputs(self) -> np.ndarray:
        """What the model put out."""
        return self.values

    def cells(self) -> list[tuple[str, ...]]:
        """Returns a tuple of texts for each example: its values."""
        rows = self.values.reshape(len(self.values), -1)
        return [tuple(f"{value:.6g}" for value in row) for row in rows]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassHead:
    """Takes the most probable class.

    Attributes:
        name: of the output in its task.
        labels: names of the classes, in the order of their numbers.
        activation: what is still to be applied for probabilities: to logits
            `"sigmoid"` (one unit, two labels: the threshold is 0) or `"softmax"` (a
            unit a label); `"none"` where the model puts out probabilities, of the
            second label where it has one unit (the threshold is 0.5).
    """

    kind = "classes"
    labels: tuple[str, ...]
    activation: str
    name: str = "labels"

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(self.labels))
        if self.activation not in ACTIVATIONS:
            raise InvalidValueError(
                f"A head's 'activation' has the unknown value {shown(self.activation)};"
                f" choose one of {', '.join(map(repr, ACTIVATIONS))}."
            )

    def check_shape(self, shape: tuple[int | None, ...]) -> None:
        """Raises `InvalidValueError` if an output of `shape` is none of the classes."""
        shape, count = tuple(shape), len(self.labels)
        is_of_one = count == 2 and shape == (None, 1)
        is_of_each = count >= 2 and shape == (None, count)
        fits = {
            "sigmoid": is_of_one,
            "softmax": is_of_each,
            "none": is_of_one or is_of_each,
        }
        if not fits[self.activation]:
            raise InvalidValueError(
                "A sigmoid has 2 labels and output shape (None, 1), a softmax n >= 2 "
                "labels and (None, n), and 'none' one of the two; got "
                f"{self.activation!r} with {count} labels and shape {shape}."
            )

    def decide(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the number of the class of each example, int32 `(n,)`.

        Args:
            outputs: float array, shape `(n, units)`.
        """
        return np.argmax(self._scores(outputs), axis=1).astype(np.int32)

    def predict(self, outputs: np.ndarray) -> ClassPrediction:
        """Returns the `ClassPrediction` of what a model put out."""
        scores, indices = self._scores(outputs), self.decide(outputs)
        labels = tuple(self.labels[index] for index in indices)
        probabilities = scores if self.activation == "none" else _softmax(scores)
        return ClassPrediction(labels, indices, probabilities, outputs)

    def agreement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns the bool array `(n,)`: where two decisions are the same."""
        return np.asarray(first) == np.asarray(second)

    def describe(self) -> str:
        """Returns a line of text on what the files put out."""
        if self.activation == "none":
            return "The files put out probabilities, as the model does."
        return (
            f"The files put out logits, as the model does; {self.activation} makes "
            "probabilities of them, which an artifact applies."
        )

    def to_json(self) -> dict:
        """Returns a dict of JSON values."""
        value = {"kind": self.kind, "name": self.name, "activation": self.activation}
        return value | {"labels": list(self.labels)}

    def _scores(self, outputs):
        """Returns a score for each class, float `(n, classes)`."""
        if outputs.shape[1] > 1:
            return outputs
        # sigmoid(x) is the second of softmax(0, x)
        is_probable = self.activation == "none"
        first = 1 - outputs if is_probable else np.zeros_like(outputs)
        return np.concatenate([first, outputs], axis=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueHead:
    """Takes what the model puts out as it is.

    Attributes:
        name: of the output in its task.
    """

    kind = "values"
    name: str = "values"

    def check_shape(self, shape: tuple[int | None, ...]) -> None:
        """Values may be of any shape."""

    def decide(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the values, as they are."""
        return outputs

    def predict(self, outputs: np.ndarray) -> ValuePrediction:
        """Returns the `ValuePrediction` of what a model put out."""
        return ValuePrediction(outputs)

    def agreement(self, first: np.ndarray, second: np.ndarray) -> None:
        """Returns `None`: numbers are near or far, not the same or others."""

    def describe(self) -> str:
        """Returns a line of text on what the files put out."""
        return "The files put out values, as the model does."

    def to_json(self) -> dict:
        """Returns a dict of JSON values."""
        return {"kind": self.kind, "name": self.name}


_HEADS = {head.kind: head for head in (ClassHead, ValueHead)}


def head_from_json(value: Mapping[str, Any]) -> "ClassHead | ValueHead":
    """Makes a head from what `to_json` returned.

    Raises:
        InvalidValueError: if a key is missing, unknown or of a wrong type.
    """
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in _HEADS:
        raise InvalidValueError(
            f"A head must be an object with a 'kind' of {', '.join(map(repr, _HEADS))};"
            f" got {shown(value)}."
        )
    fields = {name: each for name, each in value.items() if name != "kind"}
    known = {field.name for field in dataclasses.fields(_HEADS[kind])}
    if odd := known ^ set(fields):
        raise InvalidValueError(
            f"A head of kind {kind!r} has the keys {', '.join(sorted(known))}; "
            f"{shown(min(odd))} is missing or unknown."
        )
    labels = fields.get("labels", [])
    texts = [fields["name"], *(labels if isinstance(labels, list) else [None])]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidValueError(
            "A head's 'name' must be a text and its 'labels' a list of texts; got "
            f"{shown(value)}."
        )
    return _HEADS[kind](**fields)


def _softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
