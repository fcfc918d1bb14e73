"""All that stops a model on its way to tf_keras or back, found before anything is done.

One refusal names everything, so that nobody learns of it one layer a run.
"""

import dataclasses
import warnings
from collections.abc import Mapping

from tfcompress.bridge.clone import layer_from_config, own_classes
from tfcompress.bridge.graphs import (
    check_model,
    functional_graph,
    has_graph,
    needed_nodes,
)
from tfcompress.bridge.reasons import first_words, obstacle
from tfcompress.bridge.rules import describe
from tfcompress.errors import UnsupportedModelError

_NUM_SHOWN = 5


def check_crossing(model, *, rules=None, back=True):
    """Refuses a model that cannot cross, naming all that stops it in one line.

    Args:
        model: a functional or Sequential Keras 3 model.
        rules: as of `to_tf_keras`; what has one of them is taken to cross.
        back: whether it shall come back too, by `to_keras3`, for which Keras must be
            able to copy it.
    Raises:
        UnsupportedModelError: if it is subclassed or not built, or for the layers and
            operations that stand in the way.
        InvalidValueError: if it is no Keras 3 model.
    """
    check_model(model)
    rules = rules if isinstance(rules, Mapping) else {}  # to_tf_keras refuses others
    calls = list(_calls(model, "", rules))
    # The class of another model knows how to make its layers, as keras-hub's do.
    copied = [call for call in calls if call.is_copied] if back else []
    own = own_classes(model)
    found = {}
    for call in calls:
        if type(call.source) not in rules:
            found[id(call.source)] = obstacle(call.source)
    for call in copied:
        found[id(call.source)] = found.get(id(call.source)) or _copy_obstacle(
            call.source, own
        )
    found = {
        id(call.source): f"{describe(call.source, call.path)} {found[id(call.source)]}"
        for call in calls
        if found.get(id(call.source))
    }
    for key, text in _shared_parts(copied):
        found.setdefault(key, text)
    if found:
        raise UnsupportedModelError(_join(model, list(found.values())))


def _join(model, obstacles):
    """Makes one line of what stands in the way."""
    if len(obstacles) == 1:
        return f"{obstacles[0]}."
    shown = "; ".join(
        f"({number}) {text}"
        for number, text in enumerate(obstacles[:_NUM_SHOWN], start=1)
    )
    more = len(obstacles) - _NUM_SHOWN
    rest = f"; and {more} more" if more > 0 else ""
    return (
        f"Model {model.name!r} cannot cross to tf_keras because of {len(obstacles)} of "
        f"its layers and operations: {shown}{rest}."
    )


@dataclasses.dataclass(frozen=True)
class _Call:
    """A layer or operation of a model.

    Attributes:
        source: the layer or operation.
        path: its name, after the names of the models that it lies in.
        graph: the graph that calls it.
        is_copied: whether Keras copies it by its own config, not by its model's.
    """

    source: object
    path: str
    graph: object
    is_copied: bool


def _calls(model, path, rules, is_copied=True):
    """Gives a `_Call` for all that a model calls, and the models inside it."""
    import keras
    from keras.src.models.functional import Functional

    graph = functional_graph(model, path.rstrip("/") or model.name)
    is_copied = is_copied and type(model) in (Functional, keras.Sequential)
    known = set()
    for node in needed_nodes(graph):
        source = node.operation
        if id(source) in known:
            continue
        known.add(id(source))
        inner = f"{path}{source.name}"
        is_walked = isinstance(source, keras.Model) and has_graph(source)
        if is_walked and type(source) not in rules:
            yield from _calls(source, f"{inner}/", rules, is_copied)
        else:
            yield _Call(source, inner, graph, is_copied)


def _copy_obstacle(source, own):
    """Says why Keras cannot copy a layer by its config, `None` if it can."""
    import keras

    try:
        with warnings.catch_warnings(), keras.saving.custom_object_scope(own):
            warnings.simplefilter("ignore")  # it warned when the model was made
            layer_from_config(type(source), source.get_config())
    # What lies in a layer's own methods is other people's Python.
    except Exception as error:  # noqa: BLE001
        return (
            f"cannot come back, because Keras cannot copy it ({first_words(error)}); "
            "let its get_config() give every argument of its constructor, and register "
            "its functions with keras.saving.register_keras_serializable"
        )
    return None


def _shared_parts(calls):
    """Gives (id, what is wrong) of layers that two models or layers have in common."""
    places = {}
    for call in calls:
        first = places.setdefault(id(call.source), call)
        if first.graph is not call.graph:
            yield (
                id(call.source),
                f"{describe(call.source, call.path)} is called in {first.path!r} too, "
                "another of the models that the model is made of, which Keras neither "
                "copies nor saves; build the model without nesting",
            )
    for call in calls:
        flatten = getattr(call.source, "_flatten_layers", None)
        for part in flatten(include_self=False) if flatten else ():
            if id(part) in places:
                yield (
                    id(part),
                    f"{describe(part, places[id(part)].path)} is a part of "
                    f"{describe(call.source, call.path)} and is called by itself too, "
                    "which Keras neither copies nor saves; make it a layer of the "
                    "model itself, in place of a part",
                )
