"""The weights of an ONNX model that become integers, and what uses them.

One weight may have many users: a table is looked up in and multiplied with, a kernel
stands outside a loop and is used in it. It is rounded once, with scales that suit all
of its users, and lies in the file once.
"""

import dataclasses

import numpy as np

from tfcompress.errors import require
from tfcompress.quantizers.grids import Grid, find_grid

_FUSED = "/MatMulAddFusion"  # what ONNX Runtime calls the Gemm that it makes
_STANDARD = ("", "ai.onnx")
_MAX_INT8 = 127
_MIDDLE = 128  # the zero of weights as unsigned integers

# Of fewer weights the operators that read them back take as much as is saved.
_MIN_WEIGHTS = 128

# How a user takes a weight.
TABLE, PRODUCT, CONVOLUTION, READ, OTHER = (
    *("table", "product", "convolution", "read", "other"),
)

# Operator -> for each input that is a weight, the axes that have scales of their own;
# from the end where the operator takes stacks of matrices.
_READERS = {
    "ConvTranspose": {1: (1,)},
    "Einsum": {0: (), 1: ()},
    "Gather": {0: ()},
    "Gemm": {0: (), 1: ()},
    "GRU": {1: (0, 1), 2: (0, 1)},
    "LSTM": {1: (0, 1), 2: (0, 1)},
    "MatMul": {0: (-2,), 1: (-1,)},
    "RNN": {1: (0, 1), 2: (0, 1)},
}
_KINDS = {"ConvTranspose": "ConvTranspose", "Gather": "Embedding", "Conv": "Conv"}


@dataclasses.dataclass(frozen=True, eq=False)
class Use:
    """One input of one node that is a weight.

    Attributes:
        scope, index: where the node stands.
        kind: `TABLE`, `PRODUCT`, `CONVOLUTION`, `READ` (as floats) or `OTHER`, which no
            weight is quantized for.
        layer: name of the layer, such as "classifier/logits".
        order: axes of the weight as it is stored, in the order in which the node sees
            them.
        axes: axes of the stored weight that have scales of their own for this node;
            None where it does not matter.
    """

    scope: object
    index: int
    kind: str
    layer: str
    order: tuple[int, ...]
    axes: tuple[int, ...] | None

    @property
    def node(self):
        """The NodeProto as it was."""
        return self.scope.nodes[self.index]


@dataclasses.dataclass(eq=False)
class Weight:
    """A constant of the model that nodes use as a weight.

    Attributes:
        model: the `OnnxModel`.
        scope: where it stands.
        name: its name there.
        uses: list of `Use`.
        integers: int8, of the weight's shape; None before `quantize`.
        scales: float32, broadcasts with `integers`.
        num_bits: 4 where the integers are of a grid of 4 bits, else 8.
    """

    model: object
    scope: object
    name: str
    uses: list = dataclasses.field(default_factory=list)
    integers: np.ndarray | None = None
    scales: np.ndarray | None = None

    def __post_init__(self):
        self._stored = {}
        self._is_unsigned = False

    @property
    def tensor(self):
        """The TensorProto of the weight as it was."""
        return self.scope.tensors[self.name]

    @property
    def is_float32(self):
        """Whether the nodes that use it compute in float32."""
        onnx = require("onnx", extra="quantizers")
        return self.tensor.data_type == onnx.TensorProto.FLOAT

    @property
    def array(self):
        """The float32 array of the weight as it was."""
        onnx = require("onnx", extra="quantizers")
        return onnx.numpy_helper.to_array(self.tensor).astype(np.float32)

    def quantize(self, *, unsigned):
        """Rounds the weight; `unsigned`: the file has it as 128 + the integer."""
        array, self._is_unsigned = self.array, unsigned
        wanted = {use.axes for use in self.uses if use.axes is not None}
        axes = wanted.pop() if len(wanted) == 1 else ()
        others = [axis for axis in range(array.ndim) if axis not in axes]
        rows = array.transpose(*axes, *others)
        shape = [size if axis in axes else 1 for axis, size in enumerate(array.shape)]
        rows = rows.reshape(int(np.prod(shape)), -1)
        grid = find_grid(rows, 0) or _grid_of_rows(rows)
        scale = np.maximum(grid.scale, np.finfo(np.float32).tiny)
        self.scales = scale if grid.is_per_tensor else scale.reshape(shape)
        steps = np.rint(array / self.scales)
        self.integers = steps.clip(-_MAX_INT8, _MAX_INT8).astype(np.int8)

    @property
    def zero_point(self):
        """0-d array that stands for 0 in `stored`, of its type."""
        return np.uint8(_MIDDLE) if self._is_unsigned else np.int8(0)

    def scales_of(self, order, ndim_after=0):
        """Returns the scales of the channels that a node sees.

        Args:
            order: axes of the weight as the node sees them.
            ndim_after: axes of size 1 to add behind.
        Returns:
            float32, shape `(channels, 1, ..., 1)`, or `()` if one is for all.
        """
        if not self.scales.ndim:
            return self.scales
        scales = self.scales.transpose(order).reshape(-1)
        return scales.reshape(-1, *[1] * ndim_after)

    def stored(self, order=None):
        """Returns the name of the integers, axes in an order; adds them where needed.

        A second order is made of the first one as the model is loaded.
        """
        order = tuple(range(self.integers.ndim)) if order is None else tuple(order)
        if not self._stored:
            array = self.integers.transpose(order)
            if self._is_unsigned:
                array = (array.astype(np.int16) + _MIDDLE).astype(np.uint8)
            name = self.model.add_constant(self.scope, f"{self.name}_int8", array)
            self._stored[order] = name
        if order not in self._stored:
            first, name = next(iter(self._stored.items()))
            output = self.model.fresh(f"{self.name}_int8_transposed")
            places = [first.index(axis) for axis in order]
            node = self.model.make_node("Transpose", [name], output, perm=places)
            self.scope.insert_first([node])
            self._stored[order] = output
        return self._stored[order]

    def read_back(self):
        """Gives the weight's name to floats, made of the integers on loading."""
        integers = self.stored()
        scale = self.model.add_constant(self.scope, f"{self.name}_scale", self.scales)
        nodes = self.to_floats(integers, scale, self.name)
        self.model.drop_constant(self.scope, self.name)
        self.scope.insert_first(nodes)

    def to_floats(self, integers, scale, output):
        """Returns nodes that make floats, of the weight's type, of some integers.

        Cast and Mul, and not DequantizeLinear: ONNX Runtime moves that one about, puts
        a QuantizeLinear behind it, and does not evaluate it when it loads the model.
        """
        onnx = require("onnx", extra="quantizers")
        make, fresh = self.model.make_node, self.model.fresh
        float32, wanted = onnx.TensorProto.FLOAT, self.tensor.data_type
        wide = fresh(f"{output}_wide")
        nodes = [make("Cast", [integers], wide, to=float32)]
        if self._is_unsigned:
            middle = self.model.add_constant(
                self.model.main, f"{output}_middle", np.float32(_MIDDLE)
            )
            centred = fresh(f"{output}_centred")
            nodes.append(make("Sub", [wide, middle], centred))
            wide = centred
        scaled = output if wanted == float32 else fresh(f"{output}_scaled")
        nodes.append(make("Mul", [wide, scale], scaled))
        if wanted != float32:
            nodes.append(make("Cast", [scaled], output, to=wanted))
        return nodes


def _grid_of_rows(rows):
    scale = np.abs(rows).max(axis=1) / np.float32(_MAX_INT8)
    scale = np.where(scale > 0, scale, np.float32(1))
    return Grid(8, scale if len(scale) > 1 else scale[0])


def find_weights(model, layers):
    """Finds the weights that are to be quantized.

    Args:
        model: `OnnxModel`.
        layers: `LayerRules` over the layers' names; they can only be left alone. A
            weight that one of its layers leaves alone stays as it is for all.
    Returns:
        List of `Weight`, not rounded yet; whether there were any before the rules.
    Raises:
        InvalidValueError: if a rule matches no layer.
    """
    found = {}
    for scope in model.scopes:
        for index, node in enumerate(scope.nodes):
            for place, name in enumerate(node.input):
                _add_use(model, found, scope, (index, place), name)
        for value in scope.graph.output:
            _add_use(model, found, scope, (None, None), value.name)
    weights = [weight for weight in found.values() if _can_be_rounded(weight)]
    named = {}
    for weight in weights:
        named |= {u.layer: _kind_of(u.node) for u in weight.uses if u.kind != OTHER}
    plan = layers.plan(named) if named else {}
    chosen = [
        weight
        for weight in weights
        if all(plan.get(use.layer, ()) is not None for use in weight.uses)
    ]
    return chosen, bool(weights)


def _add_use(model, found, scope, place, name):
    """Adds a use to the weight that a name leads to, if it leads to one."""
    root = _root(model, scope, name)
    if root is None:
        return
    home, root_name, order = root
    weight = found.get((home, root_name)) or Weight(model, home, root_name)
    index, place = place
    if index is None:
        weight.uses.append(Use(scope, -1, OTHER, "", order, None))
    else:
        node = scope.nodes[index]
        if _only_moves(node):
            return  # its output leads here too
        kind, axes = _kind_and_axes(node, place, order)
        weight.uses.append(Use(scope, index, kind, _layer(node), order, axes))
    found[home, root_name] = weight


def _root(model, scope, name):
    """Follows a name to a constant of floats, through what only moves elements.

    Returns:
        (scope, name, order of the constant's axes); None if it leads elsewhere.
    """
    moves = []
    while True:
        found = model.find(scope, name)
        if found is None:
            return None
        scope, name = found
        if name in scope.tensors:
            break
        node = scope.nodes[scope.makers[name]]
        if not _only_moves(node):
            return None
        if node.op_type == "Transpose":
            moves.append(next((list(a.ints) for a in node.attribute), None))
        name = node.input[0]
    tensor = scope.tensors[name]
    if len(tensor.dims) < 2 or not _is_float(tensor):
        return None
    order = list(range(len(tensor.dims)))
    for permutation in reversed(moves):
        order = order[::-1] if permutation is None else [order[i] for i in permutation]
    return scope, name, tuple(order)


def _only_moves(node):
    return node.op_type in ("Identity", "Transpose") and node.domain in _STANDARD


def _is_float(tensor):
    types = require("onnx", extra="quantizers").TensorProto
    return tensor.data_type in (
        *(types.FLOAT, types.FLOAT16, types.BFLOAT16, types.DOUBLE),
    )


def _kind_and_axes(node, place, order):
    """Returns how a node takes a weight of whose axes it sees an order, and the axes of
    the weight that should have scales of their own."""
    ndim, options = len(order), _options(node)
    if node.domain not in _STANDARD:
        return OTHER, None
    if node.op_type == "Gather" and place == 0 and options.get("axis", 0) == 0:
        return (TABLE, None) if order[0] == 0 else (READ, ())
    if node.op_type == "MatMul" and place == 1 and ndim == 2:
        return PRODUCT, (order[1],)
    if node.op_type == "Gemm" and place == 1:
        return PRODUCT, (order[0 if options.get("transB") else 1],)
    if node.op_type == "Conv" and place == 1:
        return CONVOLUTION, (order[0],)
    axes = _READERS.get(node.op_type, {}).get(place)
    if axes is None:
        return OTHER, None
    if node.op_type == "MatMul":  # a stack of matrices
        axes = (*range(ndim - 2), ndim + axes[0])
    return READ, tuple(sorted(order[axis] for axis in axes))


def _can_be_rounded(weight):
    """Returns whether a constant is a weight that integers can stand for."""
    if all(use.kind == OTHER for use in weight.uses):
        return False
    size = int(np.prod(weight.tensor.dims))
    if size == 0 or (size < _MIN_WEIGHTS and not _has_kernel(weight)):
        return False
    return bool(np.isfinite(weight.array).all())


def _has_kernel(weight):
    return any(use.kind in (TABLE, PRODUCT, CONVOLUTION) for use in weight.uses)


def _kind_of(node):
    return _KINDS.get(node.op_type, "Dense")


def _layer(node):
    name = node.name or next(iter(node.output), "")
    return name.removesuffix(_FUSED).rpartition("/")[0] or name


def _options(node):
    onnx = require("onnx", extra="quantizers")
    return {
        attribute.name: onnx.helper.get_attribute_value(attribute)
        for attribute in node.attribute
        if attribute.name in ("axis", "transB")
    }
