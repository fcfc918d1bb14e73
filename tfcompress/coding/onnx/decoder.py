"""Writes the operators that decode a tensor, out of ONNX's standard ones.

    indices         Cast, Gather from a table of 256 rows, Cast: a byte becomes 8, 4, 2
                    or 1 indices; planes are added up
    codebook        Gather from the codebook by these indices
    bitmap          Cast, Gather from the table of 1-bit indices; CumSum numbers the
                    weights that are there, times the bit is each one's position, 0 is
                    the zero; Gather from the values
    positions       CumSum of the gaps; ScatterElements puts the values among zeros
    channels        the start of the channel's codebook is added to the indices
    scales          Cast to float32, Mul

All are pure functions of constants, which ONNX Runtime evaluates when it loads the
model: what runs is the dense graph. We use byte tables, and not UINT4 with Cast,
because they need no newer opset than the file's own. NonZero and ScatterElements would
be a shorter bitmap decoder, but ONNX Runtime 1.31 does not evaluate NonZero at load.
"""

import collections
import math

import numpy as np

from tfcompress.coding.codes import DecoderCost
from tfcompress.coding.kinds import (
    Bitmap,
    BlockCodebook,
    ChannelCodebook,
    Everywhere,
    Gaps,
    Plain,
    kind_names,
)
from tfcompress.coding.packing import MAX_BITS, index_table, value_table
from tfcompress.errors import require
from tfcompress.formats.onnx_file import MIN_OPSET, constants, is_constant_node

# Bytes of nodes and names, as written for tensors of two to four dimensions.
COST = DecoderCost(
    codebook_bytes=550,
    plane_bytes=450,
    bitmap_bytes=700,
    positions_bytes=750,
    channels_bytes=300,
    scales_bytes=280,
)

_CUMSUM_OPSET = 11
_SLICE_INPUTS_OPSET = 10
_BFLOAT16_OPSET = 13

# A table that holds the values saves two passes over the weights when the file is
# loaded, a third of the time. It is used where it adds at most 1/64 to the indices.
_VALUE_TABLE_SHARE = 64

# Tag and length of a message inside another one.
_FRAME_BYTES = 6


def code_kinds(opset, dtype):
    """Returns the kinds of code that the operators of an opset can decode.

    >>> code_kinds(9, np.dtype(np.float32))
    ('dense', 'codebook', 'channel_codebook', 'block_codebook')
    """
    is_bfloat16 = dtype.name == "bfloat16"
    if opset < MIN_OPSET or (is_bfloat16 and opset < _BFLOAT16_OPSET):
        return ("dense",)
    without = []
    if opset < _CUMSUM_OPSET:
        without.append(Bitmap)
    # ScatterElements comes with the same opset; ConstantOfShape knows no bfloat16.
    if opset < _CUMSUM_OPSET or is_bfloat16:
        without.append(Gaps)
    return kind_names(without=without)


class DecoderWriter:
    """Collects decoders for the constants of a model, and puts them in their place.

    Tables are shared by all decoders of a graph and its subgraphs. New names start with
    a prefix that no name of the model has.
    """

    def __init__(self, scopes):
        """Prepares decoders for a model; `scopes` is the list of all of its scopes."""
        self._scopes = scopes
        self._prefix = _unused_prefix(scopes)
        self._num_decoders = 0
        self._nodes = collections.defaultdict(list)
        self._constants = collections.defaultdict(list)
        self._shared = collections.defaultdict(dict)
        self._replaced = collections.defaultdict(set)

    def add(self, scope, name, code):
        """Writes the decoder of the constant `name` of a scope.

        Args:
            scope: `onnx_file.Scope` where the constant stands.
            name: its name, which the decoded tensor takes over.
            code: the `codes.Code` of its values; not of kind "dense".
        Returns:
            Bytes that the code takes in the file, without shared tables.
        """
        nodes, tensors = self._nodes[scope], self._constants[scope]
        num_nodes, num_tensors = len(nodes), len(tensors)
        _Decoder(self, scope, f"{self._prefix}{self._num_decoders}").write(code, name)
        self._num_decoders += 1
        self._replaced[scope].add(name)
        new = nodes[num_nodes:] + tensors[num_tensors:]
        return sum(message.ByteSize() + _FRAME_BYTES for message in new)

    def flush(self):
        """Replaces the constants that have a decoder, in the model itself."""
        for scope in self._scopes:
            self._remove_replaced(scope)
            tensors = [*self._shared[scope].values(), *self._constants[scope]]
            nodes = self._nodes[scope]
            if scope.takes_initializers:
                scope.body.initializer.extend(tensors)
            else:
                nodes = [*map(_constant_node, tensors), *nodes]
            # What needs nothing but constants may stand in front of all others.
            for index, node in enumerate(nodes):
                scope.body.node.insert(index, node)

    def constant(self, scope, name, array):
        """Adds a constant to a scope and returns its name."""
        self._constants[scope].append(_tensor(name, array))
        return name

    def shared_constant(self, scope, what, array):
        """Returns the name of a constant that decoders share; adds it where needed."""
        shared = self._shared[scope.root]
        if what not in shared:
            shared[what] = _tensor(f"{self._prefix}{what}", array)
        return shared[what].name

    def node(self, scope, op_type, inputs, output, **attributes):
        """Adds a node of one output to a scope and returns the output's name."""
        onnx = require("onnx", extra="coding")
        node = onnx.helper.make_node(op_type, inputs, [output], **attributes)
        self._nodes[scope].append(node)
        return output

    def _remove_replaced(self, scope):
        replaced = self._replaced[scope]
        if not replaced:
            return
        _remove(
            scope.body.node,
            lambda node: is_constant_node(node) and node.output[0] in replaced,
        )
        if scope.initializers:
            _remove(scope.body.initializer, lambda tensor: tensor.name in replaced)
            # Before IR version 4 each initializer is a graph input too.
            _remove(scope.body.input, lambda value: value.name in replaced)


class _Decoder:
    """The decoder of one tensor."""

    def __init__(self, writer, scope, prefix):
        self._writer = writer
        self._scope = scope
        self._prefix = prefix

    def write(self, code, output):
        """Writes everything from the packed data to the tensor `output`."""
        placed, size = self._placed(code)
        wanted = math.prod(code.shape)
        if size != wanted:
            placed = self._cut(self._flat(placed, "padded"), "cut", wanted)
        if isinstance(code.values, BlockCodebook):
            placed = self._scaled(code.values, placed)
        shape = self._constant("shape", np.array(code.shape, np.int64))
        self._writer.node(self._scope, "Reshape", [placed, shape], output)

    def _placed(self, code):
        """Returns (name, number) of the weights in their places, maybe with padding."""
        match code.places:
            case Everywhere():
                return self._entries(code.values)
            case Bitmap(bits):
                there = self._there(code)
                placed = self._node("Gather", "placed", there, self._at(bits))
                return placed, 8 * bits.size
            case Gaps(gaps):
                return self._scattered(code, gaps), math.prod(code.shape)

    def _scaled(self, code, values):
        """Returns the name of the weights times the scales of a `BlockCodebook`."""
        onnx = require("onnx", extra="coding")
        view = self._constant("view", np.array(code.view, np.int64))
        values = self._node("Reshape", "viewed", values, view)
        scales = self._constant("scales", code.scales)
        scales = self._node("Cast", "wide", scales, to=onnx.TensorProto.FLOAT)
        return self._node("Mul", "scaled", values, scales)

    def _there(self, code):
        """Returns the name of a zero followed by the weights that are there."""
        zero = np.zeros(1, code.dtype)
        if isinstance(code.values, Plain):
            return self._constant("there", np.concatenate([zero, code.values.entries]))
        values, _ = self._entries(code.values)
        zero = self._constant("zero", zero)
        return self._node("Concat", "there", zero, self._flat(values, "some"), axis=0)

    def _at(self, bits):
        """Returns the name of the positions in `_there`; 0 where a weight is zero."""
        packed = self._constant("bitmap", bits)
        bits = self._flat(self._table(packed, "bit", 1, 0), "bits")
        count = self._running_sum(bits)
        return self._node("Mul", "position", count, bits)

    def _scattered(self, code, gaps):
        """Returns the name of the flat tensor: zeros, and entries where gaps end."""
        onnx = require("onnx", extra="coding")
        gaps, size = self._plane(gaps.planes[0], "gaps")
        places = self._running_sum(self._exactly(gaps, "gap", size, code.num_entries))
        entries, size = self._entries(code.values)
        entries = self._exactly(entries, "entry", size, code.num_entries)
        size = self._constant("size", np.array([math.prod(code.shape)], np.int64))
        zero = onnx.numpy_helper.from_array(np.zeros(1, code.dtype))
        zeros = self._node("ConstantOfShape", "zeros", size, value=zero)
        return self._node("ScatterElements", "placed", zeros, places, entries, axis=0)

    def _entries(self, values):
        """Returns (name, number) of the weights that are told one by one, in any shape
        and maybe with padding."""
        if isinstance(values, Plain):
            return self._constant("there", values.entries), values.num_entries
        planes = values.indices.planes
        if isinstance(values, ChannelCodebook):
            return self._of_channels(values), values.num_entries
        if len(planes) == 1 and _has_value_table(values):
            table = value_table(values.codebook, planes[0].width)
            table = self._constant("values", table)
            indices, size = self._bytes(planes[0], "plane0"), _padded_size(planes[0])
        else:
            table = self._constant("codebook", values.codebook)
            indices, size = self._indices(values.indices)
        return self._node("Gather", "looked_up", table, indices), size

    def _of_channels(self, code):
        """Returns the name of the weights, each from the codebook of its channel."""
        indices, size = self._indices(code.indices)
        indices = self._exactly(indices, "index", size, code.num_entries)
        view = self._constant("view", np.array(code.view, np.int64))
        indices = self._node("Reshape", "viewed", indices, view)
        num_channels, num_values = code.codebook.shape
        starts = num_values * np.arange(num_channels, dtype=np.int32)
        starts = self._constant("starts", starts[:, None])
        indices = self._node("Add", "of_channel", indices, starts)
        codebook = self._constant("codebook", code.codebook.reshape(-1))
        return self._node("Gather", "looked_up", codebook, indices)

    def _indices(self, indices):
        """Returns (name, number) of int32 indices, maybe with padding."""
        if len(indices.planes) == 1:
            return self._plane(indices.planes[0], "plane0")
        size, total = indices.row_size, None
        for plane in indices.planes:
            part, padded = self._plane(plane, f"plane{plane.shift}")
            part = self._exactly(part, f"plane{plane.shift}", padded, size)
            if total is None:
                total = part
            else:
                total = self._node("Add", f"sum{plane.shift}", total, part)
        return total, size

    def _plane(self, plane, what):
        """Returns (name, number) of the int32 indices of one plane, with padding."""
        if plane.width == MAX_BITS:
            return self._bytes(plane, what), plane.packed.size
        packed = self._constant(f"{what}/packed", plane.packed.reshape(-1))
        indices = self._table(packed, f"{what}/", plane.width, plane.shift)
        return indices, _padded_size(plane)

    def _bytes(self, plane, what):
        """Returns the name of the packed bytes of a plane as int32."""
        packed = self._constant(f"{what}/packed", plane.packed.reshape(-1))
        return self._int32(packed, f"{what}/bytes")

    def _table(self, packed, what, width, shift):
        """Returns the name of the int32 indices that packed bytes hold."""
        table = self._writer.shared_constant(
            self._scope, f"table{width}.{shift}", index_table(width, shift)
        )
        rows = self._node("Gather", f"{what}rows", table, self._int32(packed, what))
        return self._int32(rows, f"{what}index")

    def _running_sum(self, source):
        axis = self._writer.shared_constant(self._scope, "axis", np.array(0, np.int32))
        return self._node("CumSum", "count", source, axis)

    def _int32(self, source, what):
        onnx = require("onnx", extra="coding")
        return self._node("Cast", f"{what}32", source, to=onnx.TensorProto.INT32)

    def _flat(self, source, what):
        shape = self._writer.shared_constant(
            self._scope, "flat", np.array([-1], np.int64)
        )
        return self._node("Reshape", what, source, shape)

    def _exactly(self, source, what, size, wanted):
        """Returns the name of a flat tensor without its padding."""
        source = self._flat(source, f"{what}/flat")
        return source if size == wanted else self._cut(source, f"{what}/cut", wanted)

    def _cut(self, source, what, size):
        """Returns the name of the first `size` elements."""
        if self._scope.opset < _SLICE_INPUTS_OPSET:
            return self._node("Slice", what, source, starts=[0], ends=[size])
        start = self._writer.shared_constant(
            self._scope, "start", np.array([0], np.int64)
        )
        end = self._constant(f"{what}/end", np.array([size], np.int64))
        return self._node("Slice", what, source, start, end)

    def _constant(self, what, array):
        return self._writer.constant(self._scope, f"{self._prefix}/{what}", array)

    def _node(self, op_type, what, *inputs, **attributes):
        name = f"{self._prefix}/{what}"
        return self._writer.node(self._scope, op_type, inputs, name, **attributes)


def _has_value_table(values):
    plane = values.indices.planes[0]
    if plane.width == MAX_BITS:
        return False
    table_bytes = 256 * (8 // plane.width) * values.codebook.dtype.itemsize
    return _VALUE_TABLE_SHARE * table_bytes <= plane.packed.size


def _padded_size(plane):
    return plane.packed.size * (8 // plane.width)


def _tensor(name, array):
    onnx = require("onnx", extra="coding")
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def _constant_node(tensor):
    onnx = require("onnx", extra="coding")
    return onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)


def _remove(messages, is_superfluous):
    """Removes messages from a repeated field, which can only be done one by one."""
    for index in reversed(range(len(messages))):
        if is_superfluous(messages[index]):
            del messages[index]


def _unused_prefix(scopes):
    """Returns the start of new names: no name of the model begins with it."""
    names = set()
    for scope in scopes:
        names.update(scope.input_names)
        names.update(name for name, _ in constants(scope))
        for node in scope.body.node:
            names.update(node.output)
    prefix = "coded/"
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    return prefix
