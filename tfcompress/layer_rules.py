"""Which layers a method treats, and with what settings.

A rule's key is an exact layer name, a regular expression that matches the whole name,
or a layer type; the more exact one wins. Its value is `None`, which leaves the layer
alone, or a mapping of settings that override the method's own for that layer.
"""

import dataclasses
import difflib
import re
from collections.abc import Mapping

from tfcompress.errors import InvalidValueError


@dataclasses.dataclass(frozen=True)
class LayerRules:
    """Settings by layer: exact name, then regular expression, then type.

    Args:
        rules: key -> `None` (leave the layer alone) or a mapping of settings. Among
            regular expressions the first that matches counts.

    >>> rules = LayerRules({"stem": None, "block_.*": {"num_clusters": 32}})
    >>> rules.plan({"stem": "Conv2D", "block_1": "Conv2D", "head": "Dense"})
    {'stem': None, 'block_1': {'num_clusters': 32}, 'head': {}}
    """

    rules: Mapping[str, Mapping | None] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for key, value in self.rules.items():
            if not isinstance(key, str):
                raise InvalidValueError(
                    "The key of a layer rule must be a layer's name, a regular "
                    f"expression or a layer type, got {key!r}."
                )
            if value is not None and not isinstance(value, Mapping):
                raise InvalidValueError(
                    f"The rule for layer {key!r} must be None (leave it alone) or a "
                    "mapping of settings such as {'num_clusters': 32}, "
                    f"got {value!r}."
                )
            _compile(key)

    def plan(self, layers: Mapping[str, str]) -> dict[str, Mapping | None]:
        """Chooses the settings of each layer.

        Args:
            layers: mapping of layer name to layer type (class name), in model order.
        Returns:
            Dict of layer name to `None` or a dict of overriding settings, empty where
            no rule applies.
        Raises:
            InvalidValueError: if a rule matches no layer.
        """
        used = set()
        plan = {}
        for name, kind in layers.items():
            key = self._key(name, kind)
            used.update(self._matching(name, kind))
            settings = {} if key is None else self.rules[key]
            plan[name] = None if settings is None else dict(settings)
        for key in self.rules:
            if key not in used:
                raise InvalidValueError(_no_match_message(key, layers))
        return plan

    def matching(self, layers: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the rules that match a layer.

        Args:
            layers: mapping of layer name to layer type, as of `plan`.
        """
        used = {key for layer in layers.items() for key in self._matching(*layer)}
        rules = {key: value for key, value in self.rules.items() if key in used}
        return LayerRules(rules)

    def names(self, name: str, kind: str) -> bool:
        """Returns whether a rule other than the default speaks of this layer."""
        return self._key(name, kind) is not None

    def to_dict(self) -> dict:
        """Returns the rules as plain dicts, for JSON."""
        return {k: None if v is None else dict(v) for k, v in self.rules.items()}

    def _matching(self, name, kind):
        return [
            k for k in self.rules if k in (name, kind) or _compile(k).fullmatch(name)
        ]

    def _key(self, name, kind):
        matching = self._matching(name, kind)
        by_pattern = (key for key in matching if key != kind)
        return (
            name if name in matching else next(by_pattern, kind if matching else None)
        )


def _compile(key):
    try:
        return re.compile(key)
    except re.error as error:
        raise InvalidValueError(
            f"The layer rule {key!r} is neither a layer's name nor a regular "
            f"expression ({error})."
        ) from error


def _no_match_message(key, layers):
    choices = [*layers, *dict.fromkeys(layers.values())]
    close = difflib.get_close_matches(key, choices, n=3) or choices[:5]
    return (
        f"The layer rule {key!r} matches no layer by name, regular expression or type. "
        f"Close names: {', '.join(close)}."
    )
