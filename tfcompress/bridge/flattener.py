"""The walk: a Keras 3 model, however nested, becomes one flat row of leaf layers."""

import functools
import inspect
from collections.abc import Mapping

from tfcompress.bridge.graphs import (
    functional_graph,
    has_graph,
    needed_nodes,
    node_arguments,
)
from tfcompress.bridge.keeping import keep
from tfcompress.bridge.kept import kind_of
from tfcompress.bridge.keras_hub_rules import keras_hub_rules
from tfcompress.bridge.operations import operation_rule
from tfcompress.bridge.reasons import obstacle
from tfcompress.bridge.rules import (
    Leaves,
    Masked,
    RuleRefusal,
    describe,
    scope_name,
)
from tfcompress.bridge.standard_layers import standard_rules
from tfcompress.errors import InvalidValueError, UnsupportedModelError


class Flattener:
    """Makes the leaves of a model and remembers which source each belongs to.

    Args:
        rules: the user's rules, class -> rule; they come before the standard ones.
        kept: `(name of a leaf, class of its source)` -> what the rule of the class
            could not do, `None` for what has none. They cross as they are.

    Attributes:
        leaves: name of a leaf layer -> `Leaf`, in the order of the walk.
        dropped: config field without effect in the leaves -> paths of its layers.
    """

    def __init__(self, rules=None, kept=None):
        self.leaves = {}
        self.dropped = {}
        self._users_rules = _checked_rules(rules)
        self._rules = {
            **standard_rules(),
            **keras_hub_rules(),
            **self._users_rules,
        }
        self._kept = dict(kept or {})
        self._node = (None, None)
        # Keyed by id; the objects are kept, so that no id is used twice.
        self._calls = {}
        self._claims = {}
        self._computed = {}
        self._masks = {}
        self._taken = {}

    def flatten(self, model):
        """Makes the leaves of a whole model, each named after its source.

        Args:
            model: a functional or Sequential Keras 3 model.
        Returns:
            A function from tf_keras tensors, in the structure of the model's inputs,
            to tensors in the structure of its outputs.
        """
        graph = functional_graph(model, model.name)
        return self._graph_call(graph, "", model.trainable)

    def expand(self, source, path, trainable):
        """Applies the rule of a layer, operation or nested model, once.

        Args:
            source: the Keras 3 object; a second call gives the first call's result.
            path: its name, after the names of the models that it lies in.
            trainable: whether it and all models around it are trainable.
        Returns:
            A function that takes the arguments of the source's call.
        Raises:
            UnsupportedModelError: if it can neither be taken to pieces nor run as it
                is.
        """
        known = self._calls.get(id(source))
        if known is None:
            call = self._new_call(source, path, trainable)
            known = self._calls[id(source)] = (source, call)
        return known[1]

    def register(self, leaf, owner):
        """Takes a leaf into the list; `owner` is named if something is amiss."""
        if leaf.layer.name in self.leaves:
            raise UnsupportedModelError(
                f"{owner} makes a second leaf named {leaf.layer.name!r}; rename the "
                "layer, or give each leaf of a rule a suffix of its own."
            )
        self.leaves[leaf.layer.name] = leaf
        self.claim([weight.variable for weight in leaf.weights], owner)

    def claim(self, variables, owner):
        """Notes that `owner` carries these variables, which nobody else does."""
        for variable in variables:
            _, other = self._claims.get(id(variable), (None, None))
            if other is not None:
                raise UnsupportedModelError(
                    f"{owner} shares its weight {variable.name!r} with {other}: as "
                    "two leaves they would drift apart. Share the layer instead."
                )
            self._claims[id(variable)] = (variable, owner)

    def compute(self, path, function, operands=None, options=None):
        """Gives the leaf at that path that computes a function of tensors."""
        from tfcompress.bridge.leaf_layers import TensorFunction

        name = scope_name(path)
        if name not in self._computed:
            self._computed[name] = TensorFunction(
                function, operands or [None], options, name=name
            )
        return self._computed[name]

    def mask_of(self, tensor):
        """Gives the mask that comes with a tensor, or `None`."""
        return self._masks.get(id(tensor), (None, None))[1]

    def take_mask(self, tensor, owner):
        """Gives the mask that comes with a tensor to an attention, which removes it."""
        mask = self.read_mask(tensor, owner)
        self.remove_mask(tensor)
        return mask

    def read_mask(self, tensor, owner):
        """Gives the mask that comes with a tensor; `owner` does not know it is gone."""
        mask = self.mask_of(tensor)
        if mask is not None and id(tensor) in self._taken:
            raise UnsupportedModelError(
                f"{owner} takes a masked tensor that an attention took before it; "
                "Keras drops its mask there, in silence: pass attention_mask to both."
            )
        return mask

    def remove_mask(self, tensor):
        """Notes that a call has taken the mask of a tensor away."""
        self._taken[id(tensor)] = tensor

    def set_masks(self, outputs, masks):
        """Notes the masks of the first of a layer's outputs."""
        for tensor, mask in zip(outputs, masks, strict=False):
            self._masks[id(tensor)] = (tensor, mask)

    def is_final(self, error):
        """Whether a rule's refusal ends the crossing: it is the user's own rule's."""
        return type(error.source) in self._users_rules

    def _new_call(self, source, path, trainable):
        import keras

        key = (scope_name(path), kind_of(source))
        if key in self._kept:
            return self.keep_as_is(source, path, trainable, self._kept[key])
        rule = self._rules.get(type(source))
        if rule is None and isinstance(source, keras.Model) and has_graph(source):
            return self._graph_call(functional_graph(source, path), path, trainable)
        if rule is None and not isinstance(source, keras.layers.Layer):
            rule = operation_rule(source)
        _check_source(source, path)
        if rule is None:
            return self.keep_as_is(source, path, trainable)
        before = self._state()
        try:
            call = self._apply(rule, source, path, trainable)
        except RuleRefusal as refusal:
            if refusal.source is not source or self.is_final(refusal):
                raise
            self._return_to(before)
            return self.keep_as_is(source, path, trainable, refusal.reason)
        if not isinstance(source, keras.layers.Layer):
            return call
        return functools.partial(self._call_layer, source, path, call)

    def _is_kept(self, path):
        """Whether what lies at a path crosses as it is."""
        leaf = self.leaves.get(scope_name(path))
        return hasattr(getattr(leaf, "layer", None), "kept")

    def _apply(self, rule, source, path, trainable):
        """Makes the leaves of a source by its rule."""
        call = rule(source, Leaves(self, source, path, trainable))
        if not callable(call):
            raise InvalidValueError(
                f"The rule for {type(source).__name__} must return a function that "
                f"calls the leaves, got {call!r}."
            )
        self._check_claims(source, path)
        return call

    def _state(self):
        """Gives copies of what a rule may change."""
        parts = (self.leaves, self._calls, self._claims, self._computed)
        dropped = {field: list(paths) for field, paths in self.dropped.items()}
        return [dict(part) for part in parts], dropped

    def _return_to(self, state):
        """Forgets what a rule has made since `_state()`."""
        parts, self.dropped = state
        self.leaves, self._calls, self._claims, self._computed = parts

    def keep_as_is(self, source, path, trainable, refusal=None):
        """Makes the leaf that runs a layer, operation or function as it is.

        Args:
            source: the Keras 3 object, or a function.
            path, trainable: as of `expand`.
            refusal: what its rule could not do, `None` where it has none.
        Returns:
            A function that takes the arguments of the source's call.
        """
        return keep(self, Leaves(self, source, path, trainable), source, refusal)

    def expected_shapes(self, path):
        """Gives the shapes that Keras 3 says of what is called now, `None` if unknown.

        Args:
            path: of the layer or operation that asks.
        """
        of_path, shapes = self._node
        return shapes if of_path == path else None

    def _check_claims(self, source, path):
        """Refuses a rule that leaves weights behind."""
        for variable in getattr(source, "weights", ()):
            if id(variable) not in self._claims:
                raise UnsupportedModelError(
                    f"The rule of {describe(source, path)} gives no leaf its weight "
                    f"{variable.name!r}; name it in leaves.add(weights=[...]), or call "
                    "leaves.keep(variable) if it crosses as a constant."
                )

    def _call_layer(self, source, path, call, *args, **kwargs):
        """Calls a layer's leaves with its mask, and notes the outputs' masks."""
        import keras

        parameters = inspect.signature(source.call).parameters
        if not args:
            first = next(name for name in parameters if name in kwargs)
            args = (kwargs.pop(first),)
        # Keras 3 takes `training` from fit and predict, whatever a call in the graph
        # says, and tf_keras does so only where the graph says nothing.
        kwargs.pop("training", None)
        inputs = keras.tree.flatten(args[0])
        mask = kwargs.pop("mask", None)
        if mask is None:
            masks = [self.mask_of(tensor) for tensor in inputs]
            mask = masks[0] if len(masks) == 1 else _unless_empty(masks)
        else:
            masks = keras.tree.flatten(mask)
        if mask is not None and "mask" in parameters:
            kwargs["mask"] = mask
        # Implicit masks of further arguments; a rule asks `mask_of` for them.
        kwargs = {
            name: value
            for name, value in kwargs.items()
            if value is not None or not name.endswith("_mask")
        }
        result = call(*args, **kwargs)
        if isinstance(result, Masked):
            outputs = keras.tree.flatten(result.outputs)
            masks = result.mask if isinstance(result.mask, list) else [result.mask]
            result = result.outputs
        else:
            outputs = keras.tree.flatten(result)
            if not _passes_masks(source):
                masks = [None] * len(outputs)
        result, outputs = self._without_implicit_masks(result, outputs, path)
        if not {id(tensor) for tensor in outputs} & {id(tensor) for tensor in inputs}:
            self.set_masks(outputs, masks)
        return result

    def _without_implicit_masks(self, result, outputs, path):
        """Stops the masks that tf_keras attached to the outputs of a masked call."""
        import keras

        if not any(hasattr(tensor, "_keras_mask") for tensor in outputs):
            return result, outputs
        outputs = [
            self.compute(f"{path}/unmasked_{number}", "identity")(tensor)
            if getattr(tensor, "_keras_mask", None) is not None
            else tensor
            for number, tensor in enumerate(outputs)
        ]
        return keras.tree.pack_sequence_as(result, outputs), outputs

    def _graph_call(self, graph, path, trainable):
        """Makes the leaves of a graph and gives the function that connects them."""
        import keras

        steps = []
        for node in needed_nodes(graph):
            source = node.operation
            inner = f"{path}/{source.name}" if path else source.name
            call = self.expand(
                source, inner, trainable and getattr(source, "trainable", True)
            )
            steps.append((node, call, inner))

        def run(inputs, mask=None, training=None):
            tensors = self._graph_inputs(graph, path, inputs, mask)
            for node, call, inner in steps:
                args, kwargs = node_arguments(node, tensors)
                self._node = (inner, [tuple(t.shape) for t in node.outputs])
                outputs = keras.tree.flatten(call(*args, **kwargs))
                _check_outputs(node, outputs, inner, self._is_kept(inner))
                for reference, tensor in zip(node.outputs, outputs, strict=True):
                    tensors[id(reference)] = tensor
            return keras.tree.pack_sequence_as(
                graph.output, [tensors[id(tensor)] for tensor in graph.outputs]
            )

        return run

    def _graph_inputs(self, graph, path, inputs, mask):
        """Gives what stands for each input of a graph: id of its tensor -> tensor."""
        import keras

        if isinstance(inputs, Mapping) and not isinstance(graph.input, Mapping):
            inputs = [inputs[tensor.name] for tensor in graph.inputs]
        flat = keras.tree.flatten(inputs)
        if mask is not None:
            self.set_masks(flat, keras.tree.flatten(mask))
        tensors = {}
        for reference, tensor in zip(graph.inputs, flat, strict=True):
            if tensor.dtype.name != reference.dtype:
                cast = self.compute(
                    f"{path}/{reference.name}",
                    "cast",
                    options={"dtype": reference.dtype},
                )
                mask, tensor = self.mask_of(tensor), cast(tensor)
                self.set_masks([tensor], [mask])
            tensors[id(reference)] = tensor
        return tensors


def _checked_rules(rules):
    if rules is None:
        return {}
    if not isinstance(rules, Mapping):
        raise InvalidValueError(
            "rules must be a dictionary of layer class to rule, such as "
            f"{{MyLayer: rule}}, got {rules!r}."
        )
    for layer_class, rule in rules.items():
        if not isinstance(layer_class, type) or not callable(rule):
            raise InvalidValueError(
                "rules must map a layer class to a function rule(layer, leaves), got "
                f"{layer_class!r}: {rule!r}."
            )
    return dict(rules)


def _check_source(source, path):
    """Refuses what can cross in no way."""
    if reason := obstacle(source):
        raise UnsupportedModelError(f"{describe(source, path)} {reason}.")


def _unless_empty(masks):
    """Gives the masks of several inputs, `None` if there is none among them."""
    return None if all(mask is None for mask in masks) else masks


def _passes_masks(source):
    """Whether Keras 3 gives the layer's outputs the mask of its inputs."""
    import keras

    default = type(source).compute_mask is keras.layers.Layer.compute_mask
    return default and source.supports_masking


def _check_outputs(node, outputs, path, is_kept):
    """Refuses a rule whose leaves give another shape or dtype than the source."""
    expected = [(tuple(t.shape), t.dtype) for t in node.outputs]
    received = [(tuple(t.shape), t.dtype.name) for t in outputs]
    if len(expected) != len(received) or not all(
        _fits(shape, other) and dtype == other_dtype
        for (shape, dtype), (other, other_dtype) in zip(expected, received, strict=True)
    ):
        owner = describe(node.operation, path)
        if is_kept:
            raise UnsupportedModelError(
                f"{owner} gives {received} at inference, and Keras 3 says {expected} "
                "(shape, dtype); take a layer that gives what Keras says of it, such "
                "as CenterCrop in place of RandomCrop."
            )
        raise UnsupportedModelError(
            f"The rule of {owner} gives {received}, but the layer gives {expected} "
            "(shape, dtype)."
        )


def _fits(shape, other):
    return len(shape) == len(other) and all(
        one is None or two is None or one == two
        for one, two in zip(shape, other, strict=True)
    )
