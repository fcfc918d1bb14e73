"""What a method did to every layer: asked, done, measured after stripping.

A layer that was asked for and not treated has a row with the reason; nothing is
skipped in silence.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

COMPRESSED, SKIPPED, LEFT_ALONE = "compressed", "skipped", "left_alone"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer's row.

    Args:
        name: layer name in the bridged model, such as `"encoder/dense"`.
        kind: layer type, such as `"Dense"`.
        status: `"compressed"`, `"skipped"` (asked for, not possible) or
            `"left_alone"` (nothing to treat, or a rule says so).
        reason: why it is not `"compressed"`, or what differs from what was asked.
        requested: the settings asked for.
        stripped: weight name -> `measure_weight` of the weight after stripping.
        exported: the same, measured in an exported file; filled in later.
    """

    name: str
    kind: str
    status: str
    reason: str | None = None
    requested: Mapping = dataclasses.field(default_factory=dict)
    stripped: Mapping = dataclasses.field(default_factory=dict)
    exported: Mapping = dataclasses.field(default_factory=dict)

    def to_json(self):
        """Returns the row as plain data."""
        return {
            field.name: dict(value) if isinstance(value, Mapping) else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionReport:
    """The rows of all layers, in model order.

    Args:
        rows: tuple of `LayerRow`.
        structures: `(layer name, weight name)` -> dict of plain arrays that describe
            the weight, such as `{"codebook": float32 (num_clusters,)}`. Export and
            coding may take them as hints.
        training_log: what `training.fit` returned, `None` without training.
    """

    rows: tuple[LayerRow, ...]
    structures: Mapping = dataclasses.field(default_factory=dict)
    training_log: object = None

    def to_json(self):
        """Returns the rows as a list of plain dicts."""
        return [row.to_json() for row in self.rows]


def measure_weight(weight):
    """Measures what compression is about in one weight.

    Args:
        weight: float array of any shape.
    Returns:
        Dict of `num_weights`, `num_nonzero` and `distinct_values` (zero included;
        +0.0 and -0.0 are different values, as in a file).

    >>> measure_weight(np.float32([[0, 1], [1, 2]]))
    {'num_weights': 4, 'num_nonzero': 3, 'distinct_values': 3}
    """
    weight = np.ascontiguousarray(weight)
    bits = weight.view(f"u{weight.dtype.itemsize}")
    return {
        "num_weights": int(weight.size),
        "num_nonzero": int(np.count_nonzero(weight)),
        "distinct_values": int(np.unique(bits).size),
    }
