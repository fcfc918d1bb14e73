"""All that stops a model on its way to tf_keras or back, found before anything is done.

One refusal names everything, so that nobody learns of it one layer a run.
"""

from tfcompress.bridge.clone import own_classes
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
    calls = list(_calls(functional_graph(model, model.name), "", rules or {}))
    found = {}
    for _, source, path in calls:
        reason = None if type(source) in (rules or {}) else obstacle(source)
        if reason is None and back:
            reason = _copy_obstacle(source, own_classes(model))
        if reason is not None:
            found[id(source)] = f"{describe(source, path)} {reason}"
    if back:
        found |= {x: found.get(x, text) for x, text in _shared_parts(model, calls)}
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


def _calls(graph, path, rules):
    """Gives (graph, layer or operation, its path) of a graph and those inside it."""
    import keras

    known = set()
    for node in needed_nodes(graph):
        source = node.operation
        if id(source) in known:
            continue
        known.add(id(source))
        inner = f"{path}{source.name}"
        is_walked = isinstance(source, keras.Model) and has_graph(source)
        if is_walked and type(source) not in rules:
            nested = functional_graph(source, inner)
            yield from _calls(nested, f"{inner}/", rules)
        else:
            yield graph, source, inner


def _copy_obstacle(source, own):
    """Says why Keras cannot copy a layer by its config, `None` if it can."""
    import keras

    try:
        with keras.saving.custom_object_scope(own):
            type(source).from_config(source.get_config())
    # What lies in a layer's own methods is other people's Python.
    except Exception as error:  # noqa: BLE001
        return (
            f"cannot come back, because Keras cannot copy it ({first_words(error)}); "
            "let its get_config() give every argument of its constructor, and register "
            "its functions with keras.saving.register_keras_serializable"
        )
    return None


def _shared_parts(model, calls):
    """Gives (id, what is wrong) of layers that two models or layers have in common."""
    import keras
    from keras.src.models.functional import Functional

    if type(model) not in (Functional, keras.Sequential):
        return  # its class knows how to make it, as keras-hub's tasks do
    places = {}
    for graph, source, path in calls:
        if id(source) in places and places[id(source)][0] is not graph:
            yield (
                id(source),
                f"{describe(source, path)} is called in {places[id(source)][1]!r} "
                "too, another of the models that the model is made of, which Keras "
                "neither copies nor saves; build the model without nesting",
            )
        places.setdefault(id(source), (graph, path))
    for _, owner, path in calls:
        for part in getattr(owner, "_flatten_layers", lambda **_: [])(
            include_self=False
        ):
            if id(part) in places:
                yield (
                    id(part),
                    f"{describe(part, places[id(part)][1])} is a part of "
                    f"{describe(owner, path)} and is called by itself too, which Keras "
                    "neither copies nor saves; make it a layer of the model itself, in "
                    "place of a part",
                )
