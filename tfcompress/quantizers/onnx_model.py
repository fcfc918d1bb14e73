"""An ONNX model that is rewritten: graphs in graphs, their constants, names, nodes.

A weight may stand in the main graph and be used in the body of a Loop, or stand in that
body itself, and bodies beside each other may give one name to two things. So a name is
looked up from where it is used, outwards; a new one is used nowhere in the model.

Source: the ONNX specification (docs/IR.md), where names and initializers are explained.
"""

import collections
import dataclasses

import numpy as np

from tfcompress.errors import require
from tfcompress.formats.onnx_file import is_constant_node

# Before, each initializer is a graph input as well.
_FIRST_IR_WITH_LONE_INITIALIZERS = 4

# Operators that are left out where nothing takes their output any more.
_REMOVABLE = (
    *("Cast", "Constant", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
)

# Operators that a constant may go through, and is a constant after. What ONNX itself
# evaluates: sizes are small, but for the weights that are quantized.
_FOLDABLE = ("Cast", "Reshape", "Squeeze", "Unsqueeze")


@dataclasses.dataclass(eq=False)
class Scope:
    """A graph: the main one, or the body of a control flow operator.

    Attributes:
        graph: the GraphProto.
        parent: the scope whose names can be read here too; None for the main graph.
        nodes: the NodeProtos as they were.
        tensors: name -> TensorProto of the constants that stand here.
        makers: name -> index of the node that makes it.
        inputs: names of the graph's inputs, which nothing is known of.
        invariants: name of an input that a Loop hands on from step to step as it is ->
            its name outside, as converters from TensorFlow write weights.
    """

    graph: object
    parent: "Scope | None"
    nodes: list
    tensors: dict
    makers: dict
    inputs: set
    invariants: dict

    def __post_init__(self):
        self._first = []
        self._after = collections.defaultdict(list)
        self._replaced = {}

    def insert_first(self, nodes):
        """Puts nodes that need constants alone in front of all."""
        self._first.extend(nodes)

    def insert_behind(self, name, nodes):
        """Puts nodes behind what makes a value: a node, or what is outside."""
        self._after[self.makers.get(name, -1)].extend(nodes)

    def replace(self, index, nodes):
        """Puts nodes in the place of a node; none removes it."""
        self._replaced[index] = list(nodes)

    def rewritten_nodes(self):
        """Returns the nodes with all that was inserted and replaced."""
        nodes = self._first + self._after[-1]
        for index, node in enumerate(self.nodes):
            nodes += self._replaced.get(index, [node])
            nodes += self._after[index]
        return nodes


class OnnxModel:
    """A ModelProto, opened for rewriting.

    Args:
        proto: the `onnx.ModelProto`; `finish` changes it in place.
    """

    def __init__(self, proto):
        self.proto = proto
        self._drop_overridable_inputs()
        self.scopes = list(_walk(proto.graph, None))
        self.main = self.scopes[0]
        self._names = set()
        for scope in self.scopes:
            self._names |= scope.inputs | set(scope.tensors) | set(scope.makers)
            self._names |= {tensor.name for tensor in scope.graph.initializer}
            self._names |= {node.name for node in scope.nodes}
            self._names |= {value.name for value in scope.graph.output}
        for scope in self.scopes:
            self._fold(scope)

    @property
    def opset(self):
        """Version of the standard operators."""
        imports = self.proto.opset_import
        found = [each.version for each in imports if each.domain in ("", "ai.onnx")]
        return max(found, default=0)

    def fresh(self, name):
        """Returns a name that nothing in the model has: this one, or one like it."""
        found, number = name, 1
        while found in self._names:
            found, number = f"{name}_{number}", number + 1
        self._names.add(found)
        return found

    def add_constant(self, scope, name, array):
        """Adds an initializer to a scope's graph and returns its name."""
        onnx = require("onnx", extra="quantizers")
        name = self.fresh(name)
        scope.graph.initializer.append(
            onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
        )
        return name

    def make_node(self, op_type, inputs, output, **attributes):
        """Makes a node of one output, named after it."""
        onnx = require("onnx", extra="quantizers")
        name = self.fresh(f"{output}/{op_type}")
        return onnx.helper.make_node(
            op_type, list(inputs), [output], name=name, **attributes
        )

    def find(self, scope, name):
        """Looks a name up, from a scope outwards.

        Returns:
            (scope, name there); None where it is of no node's output or constant.
        """
        while scope is not None:
            if name in scope.tensors or name in scope.makers:
                return scope, name
            if name in scope.inputs and name not in scope.invariants:
                return None
            name = scope.invariants.get(name, name)
            scope = scope.parent
        return None

    def constant(self, scope, name):
        """Returns a constant as an array; None where the name is of no constant."""
        found = self.find(scope, name)
        tensor = None if found is None else found[0].tensors.get(found[1])
        if tensor is None:
            return None
        return require("onnx", extra="quantizers").numpy_helper.to_array(tensor)

    def count_uses(self):
        """Counts how often a name is read, in all graphs, outputs of graphs included.

        Returns:
            `collections.Counter`; names of two things count together.
        """
        uses = collections.Counter()
        for scope in self.scopes:
            uses.update(value.name for value in scope.graph.output)
            for node in scope.nodes:
                uses.update(node.input)
        return uses

    def drop_constant(self, scope, name):
        """Removes a constant, so that a node may take over its name."""
        tensors = scope.graph.initializer
        for index in range(len(tensors)):
            if tensors[index].name == name:
                del tensors[index]
                break
        if name in scope.makers:
            scope.replace(scope.makers[name], [])

    def finish(self):
        """Writes what was changed into the ModelProto, without what is not needed."""
        for scope in reversed(self.scopes):  # a body before the node that holds it
            nodes = [
                type(node).FromString(node.SerializeToString())
                for node in scope.rewritten_nodes()
            ]
            del scope.graph.node[:]
            scope.graph.node.extend(nodes)
        _remove_unused(self.proto.graph)

    def _drop_overridable_inputs(self):
        proto = self.proto
        if proto.ir_version >= _FIRST_IR_WITH_LONE_INITIALIZERS:
            return
        names = {tensor.name for tensor in proto.graph.initializer}
        for index in reversed(range(len(proto.graph.input))):
            if proto.graph.input[index].name in names:
                del proto.graph.input[index]
        proto.ir_version = _FIRST_IR_WITH_LONE_INITIALIZERS

    def _fold(self, scope):
        """Evaluates what only changes the type or the shape of a constant."""
        onnx = require("onnx", extra="quantizers")
        for node in scope.nodes:
            if node.op_type not in _FOLDABLE or node.domain not in ("", "ai.onnx"):
                continue
            array = self._evaluate(scope, node)
            if array is not None:
                tensor = onnx.numpy_helper.from_array(array, node.output[0])
                scope.tensors[node.output[0]] = tensor

    def _evaluate(self, scope, node):
        onnx = require("onnx", extra="quantizers")
        arrays = [self.constant(scope, name) for name in node.input if name]
        if any(array is None for array in arrays) or not _is_weight(arrays[0]):
            return None
        found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Cast":
            if found["to"] != onnx.TensorProto.FLOAT:
                return None
            return arrays[0].astype(np.float32)
        if node.op_type == "Reshape":
            shape = arrays[1].tolist()
            if not found.get("allowzero"):  # a size of 0 stands for the old one
                shape = [s or arrays[0].shape[axis] for axis, s in enumerate(shape)]
            return arrays[0].reshape(shape)
        axes = arrays[1].tolist() if len(arrays) > 1 else found.get("axes")
        if node.op_type == "Squeeze":
            return np.squeeze(arrays[0], None if axes is None else tuple(axes))
        return np.expand_dims(arrays[0], tuple(axes))


def _is_weight(array):
    return array.ndim >= 1 and array.size > 1 and array.dtype.kind in "fV"


def _walk(graph, parent, holder=None):
    """Yields the scopes of a graph, which a node holds, and of graphs inside of it."""
    nodes = list(graph.node)
    inputs = {value.name for value in graph.input}
    tensors = {t.name: t for t in graph.initializer if t.name not in inputs}
    makers = {}
    for index, node in enumerate(nodes):
        makers.update({name: index for name in node.output if name})
        if is_constant_node(node):
            tensors[node.output[0]] = node.attribute[0].t
    invariants = {} if holder is None else _find_invariants(graph, holder)
    scope = Scope(graph, parent, nodes, tensors, makers, inputs, invariants)
    yield scope
    for node in nodes:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.output:
                    yield from _walk(inner, scope, node)


def _find_invariants(body, holder):
    """Returns the inputs of a Loop's body that it puts out as they came in."""
    if holder.op_type != "Loop":
        return {}
    sources = {n.output[0]: n.input[0] for n in body.node if n.op_type == "Identity"}
    invariants = {}
    # Behind the number of the step and the condition; of outputs, the condition.
    states = zip(body.input[2:], body.output[1:], holder.input[2:], strict=False)
    for inside, after, outside in states:
        name = after.name
        while name in sources:
            name = sources[name]
        if name == inside.name:
            invariants[inside.name] = outside
    return invariants


def _remove_unused(graph):
    """Removes constants, and what moves or converts them, that nothing takes."""
    while True:
        used = set(_read_names(graph))
        removed = [_remove_from(inner, used) for inner in _graphs(graph)]
        if not any(removed):
            return


def _graphs(graph):
    """Yields a graph and the bodies of its loops and branches."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.output:
                    yield from _graphs(inner)


def _read_names(graph):
    for inner in _graphs(graph):
        yield from (value.name for value in inner.output)
        for node in inner.node:
            yield from node.input


def _remove_from(graph, used):
    """Removes from one graph what nothing reads; returns whether there was any."""
    overridable = {value.name for value in graph.input}
    count = len(graph.node) + len(graph.initializer)
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        is_removable = node.op_type in _REMOVABLE and node.domain in ("", "ai.onnx")
        if is_removable and not used.intersection(node.output):
            del graph.node[index]
    for index in reversed(range(len(graph.initializer))):
        name = graph.initializer[index].name
        if name not in used and name not in overridable:
            del graph.initializer[index]
    return len(graph.node) + len(graph.initializer) < count
