"""Reading the graph of a functional Keras 3 model.

Keras 3 has no public way to walk a graph node by node, so this module reads
`Functional._nodes_by_depth`, `Node.arguments` and the `_keras_mask` of tensors, as
Keras' own `Function` does. Nothing else in the package touches them.
"""

import re

from tfcompress.errors import InvalidValueError, UnsupportedModelError

_AUTOMATIC = re.compile(r"(keras_tensor|input_layer)(_\d+)?(CLONE)?")


def functional_graph(model, path):
    """Gives the functional model behind a functional or Sequential model.

    Args:
        model: a Keras 3 model.
        path: its name in errors.
    Returns:
        The `Functional` whose `inputs`, `outputs`, `input` and `output` are the
        model's.
    Raises:
        UnsupportedModelError: if the model is subclassed or not built.
    """
    import keras
    from keras.src.models.functional import Functional

    name = f"Model {path!r} ({type(model).__name__})"
    if isinstance(model, keras.Sequential) and type(model).call is (
        keras.Sequential.call
    ):
        if not model._functional:
            raise UnsupportedModelError(
                f"{name} is not built: give it a keras.Input as its first layer, or "
                "call model.build(input_shape) first."
            )
        return model._functional
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    raise UnsupportedModelError(
        f"{name} is subclassed, so that it has no graph to walk: build it with "
        "keras.Model(inputs, outputs) or keras.Sequential. As a part, "
        "keras.Model(inputs, model(inputs)), it crosses with all its weights as they "
        "are."
    )


def has_graph(model):
    """Whether a Keras 3 model is functional or Sequential, built or not."""
    import keras
    from keras.src.models.functional import Functional

    call = type(model).call
    return call is keras.Sequential.call or (
        isinstance(model, Functional) and call is Functional.call
    )


def input_names(inputs):
    """Gives the names that inputs of a model are saved with.

    A `keras.Input` without a name of its own has one as a tensor, which another one
    takes the place of when the model is loaded: that of its layer.

    Args:
        inputs: Keras 3 symbolic tensors, the inputs of a model.
    Returns:
        List of names.
    """
    return [tensor._keras_history.operation.name for tensor in inputs]


def is_automatic(name):
    """Tells whether Keras made up the name of an input, another one at each time."""
    return _AUTOMATIC.fullmatch(name) is not None


def check_model(model):
    """Refuses what is not a Keras 3 model.

    Raises:
        InvalidValueError: if it is not.
    """
    import keras

    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise InvalidValueError(
            f"model must be a Keras 3 model (keras.Model), got a {kind}. A tf_keras "
            "model needs no bridge."
        )


def needed_nodes(graph):
    """Gives the nodes that the outputs need, each after those that it needs.

    Keras 3 writes the operations that compute implicit masks into the graph. They are
    left out, because the bridge computes masks itself: which of them a graph holds
    depends on how its layers were called.
    """
    nodes = [
        node
        for depth in sorted(graph._nodes_by_depth, reverse=True)
        for node in graph._nodes_by_depth[depth]
        if not node.is_input
    ]
    wanted = {id(tensor) for tensor in graph.outputs}
    needed = []
    for node in reversed(nodes):
        if any(id(tensor) in wanted for tensor in node.outputs):
            needed.append(node)
            wanted.update(_argument_ids(node))
    return needed[::-1]


def node_arguments(node, tensors):
    """Gives the arguments of a node's call with its tensors replaced.

    Args:
        node: a node of `needed_nodes`.
        tensors: id of a Keras 3 symbolic tensor -> what stands for it.
    Returns:
        The pair `(args, kwargs)`. A tensor that nobody needed is `None`: a mask.
    """
    return node.arguments.fill_in(tensors)


def _argument_ids(node):
    """Gives the ids of the tensors that a call takes, without implicit masks."""
    import keras

    masks = {
        id(tensor._keras_mask)
        for tensor in node.input_tensors
        if getattr(tensor, "_keras_mask", None) is not None
    }
    ids = {id(tensor) for tensor in keras.tree.flatten(node.arguments.args)}
    for name, value in node.arguments.kwargs.items():
        value_ids = {id(tensor) for tensor in keras.tree.flatten(value)}
        ids |= value_ids - masks if name.endswith("mask") else value_ids
    return ids
