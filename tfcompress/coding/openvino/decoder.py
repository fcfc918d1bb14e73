"""Builds the operators that decode a tensor, out of OpenVINO's standard ones.

    indices     constants of type u1, u2, u4 or u8, Convert; planes are added up
    codebook    Gather from the codebook by these indices
    bitmap      a u1 constant, Convert; CumSum numbers the weights that are there, times
                the bit is each one's position, 0 is the zero; Gather from the values
    positions   CumSum of the gaps; ScatterElementsUpdate puts the values among zeros
    channels    the start of the channel's codebook is added to the indices
    scales      Convert to f32, Multiply

They are evaluated when the model is compiled: what runs is the dense graph. We use the
packed types, and not byte tables as in the other formats, because each operator costs
some 500 bytes of XML and they need the fewest. u1, u4 and u8 open in OpenVINO 2023.3,
u2 since 2024.3 (OpenVINO 2023.0 takes the halves of u4 in the wrong order).

The CPU plugin evaluates CumSum itself, after the graph is made. Where an operator has
to see a constant while it is made, as LSTMSequence does and int8 kernels do, there is a
second bitmap decoder, which OpenVINO's constant folding knows: a MatMul with a triangle
of ones adds up what CumSum would. NonZero, which is folded too, would be evaluated anew
whenever the graph is looked at.
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
from tfcompress.coding.packing import index_table
from tfcompress.errors import require

# What may take weights that are computed from constants.
_TAKES_COMPUTED = (
    "MatMul",
    "Gather",
    "Convolution",
    "ConvolutionBackpropData",
    "GroupConvolution",
    "GroupConvolutionBackpropData",
)

# A row adds 4 bytes to the file, and each byte of it a step for each byte to the time.
_ROW_BYTES = 256

# Makes the number of any entry negative.
_NO_ENTRY = 1 << 30


def code_kinds(must_fold):
    """Returns the kinds of code that can be decoded; for `must_fold` see `has_to_fold`.

    Where CumSum is not folded the places of gaps are not known in time.
    """
    return kind_names(without=(Gaps,) if must_fold else ())


def cost(shape, *, must_fold):
    """Returns the bytes that a decoder takes: of XML, and of the numbers of bits.

    Args:
        shape: of the tensor.
        must_fold: see `has_to_fold`.
    """
    num_dims, num_rows = len(shape), _rows_of_bytes(math.prod(shape))[0]
    return DecoderCost(
        codebook_bytes=850 + 90 * num_dims,
        plane_bytes=1350 + 170 * num_dims,
        bitmap_bytes=5200 + 4 * num_rows if must_fold else 2600,
        positions_bytes=2600,
        channels_bytes=1250,
        scales_bytes=1600,
    )


def has_to_fold(constant, *, is_in_body):
    """Returns True if what takes a constant has to see one while it is made.

    Args:
        constant: the Constant node.
        is_in_body: its graph is the body of a control flow operator.
    """
    return is_in_body or any(
        node.get_type_name() not in _TAKES_COMPUTED for node in _consumers(constant)
    )


class DecoderWriter:
    """Puts decoders in the place of constants, in the graphs of one model.

    The arrays behind packed constants are shared with OpenVINO and not copied: this
    object has to live until the model is saved.
    """

    def __init__(self, names):
        """Prepares decoders; `names` are the friendly names of all nodes."""
        self._prefix = "coded/"
        while any(name.startswith(self._prefix) for name in names):
            self._prefix = f"_{self._prefix}"
        self._num_decoders = 0
        self._arrays = []
        self._shared = collections.defaultdict(dict)

    def replace(self, constant, code, *, graph_index, must_fold):
        """Puts a decoder in the place of a constant.

        Args:
            constant: the Constant node; the decoder takes over its names.
            code: the `codes.Code` of its values; not of kind "dense".
            graph_index: of the graph that it stands in: the decoders of one graph share
                axes and shapes, each of which is 450 bytes of XML.
            must_fold: see `has_to_fold`.
        """
        prefix = f"{self._prefix}{self._num_decoders}"
        self._num_decoders += 1
        decoder = _Decoder(
            prefix,
            constant.get_output_element_type(0),
            self._arrays,
            self._shared[graph_index],
        )
        decoded = decoder.decode(code, must_fold=must_fold)
        decoded.set_friendly_name(constant.get_friendly_name())
        output = constant.output(0)
        decoded.output(0).set_names(output.get_names())
        for target in output.get_target_inputs():
            target.replace_source_output(decoded.output(0))


class _Decoder:
    """The decoder of one tensor. All nodes get names, as OpenVINO's own are counted up
    through the life of the process."""

    def __init__(self, prefix, element_type, arrays, shared):
        openvino = require("openvino", extra="coding")
        self._ops = require("openvino.opset8", extra="coding")
        self._openvino = openvino
        self._types = openvino.Type
        self._prefix = prefix
        self._element_type = element_type
        self._arrays = arrays
        self._shared = shared  # numbers -> their node
        self._axis = self._numbers("axis", np.array(0))

    def decode(self, code, *, must_fold):
        """Returns the node that gives the tensor."""
        ops, values = self._ops, code.values
        has_view = isinstance(values, ChannelCodebook | BlockCodebook)
        match code.places:
            case Gaps(gaps):
                placed = self._at_gaps(code, gaps)
            case Bitmap(bits):
                placed = self._at_bits(code, bits, must_fold)
            case Everywhere() if has_view:
                placed = self._named("viewed", self._looked_up(values, values.view))
            case Everywhere():
                return self._looked_up(values, code.shape)
        if isinstance(values, BlockCodebook):
            if not isinstance(code.places, Everywhere):
                view = self._numbers("view", np.array(values.view))
                placed = self._named("viewed", ops.reshape(placed, view, False))
            scales = values.scales
            scales = self._constant("scales", scales, scales.shape, self._types.f16)
            scales = self._named("wide", ops.convert(scales, "f32"))
            placed = self._named("scaled", ops.multiply(placed, scales))
        shape = self._numbers("shape", np.array(code.shape))
        return ops.reshape(placed, shape, False)

    def _at_bits(self, code, bits, must_fold):
        """Returns the tensor of a code that has a bitmap, in some other shape: fetched
        from its values by the number of each bit that is set, 0 for the zero."""
        ops, size = self._ops, math.prod(code.shape)
        if must_fold:
            position = self._folded_position(bits, size)
        else:
            bits = self._int32("bits", self._packed("bitmap", bits, [size], 1))
            count = self._named("count", ops.cum_sum(bits, self._axis))
            position = self._named("position", ops.multiply(count, bits))
        zero = np.zeros(1, code.dtype)
        if isinstance(code.values, Plain):
            there = np.concatenate([zero, code.values.entries])
            values = self._values("there", there)
        else:
            there = self._entries(code.values, [code.num_entries])
            zero = self._values("zero", zero)
            values = self._named("values", ops.concat([zero, there], 0))
        return self._named("flat", ops.gather(values, position, self._axis))

    def _at_gaps(self, code, gaps):
        """Returns the tensor as a flat one: zeros, and the entries where gaps end."""
        ops = self._ops
        (plane,) = gaps.planes
        gaps = self._packed("gaps", plane.packed, [code.num_entries], plane.width)
        gaps = self._int32("distance", gaps)
        places = self._named("place", ops.cum_sum(gaps, self._axis))
        entries = self._entries(code.values, [code.num_entries])
        zero = self._values("zero", np.zeros((), code.dtype))
        shape = self._numbers("flat_shape", np.array([math.prod(code.shape)]))
        zeros = self._named("zeros", ops.broadcast(zero, shape))
        flat = ops.scatter_elements_update(zeros, places, entries, self._axis)
        return self._named("flat", flat)

    def _folded_position(self, bitmap, size):
        """Returns the number of each bit that is set, from 1, and 0 for the others.

        Bytes stand in rows. The bits in front of a byte are those in front of its row,
        which are stored, and those in the bytes before it in the row, which a product
        with a triangle of ones adds up. The bits in front of it in the byte tells a
        table.
        """
        ops = self._ops
        num_rows, row_bytes = _rows_of_bytes(size)
        padded = np.zeros(num_rows * row_bytes, np.uint8)
        padded[: bitmap.size] = bitmap
        rows = padded.reshape(num_rows, row_bytes)
        is_set = index_table(1).astype(np.int64)
        counts, num_before = is_set.sum(axis=1), np.cumsum(is_set, axis=1)
        totals = counts[rows].sum(axis=1)
        starts = (np.cumsum(totals) - totals)[:, None, None]
        marks = self._constant("bitmap", rows, rows.shape, self._types.u8)
        marks = self._int32("marks", marks)
        counts = self._numbers("counts", counts[:, None])
        counts = self._named("bits", ops.gather(counts, marks, self._axis))
        before = ops.matmul(self._triangle(row_bytes), counts, False, False)
        before = self._named("in_row", before)
        starts = self._numbers("starts", starts)
        before = self._named("before", ops.add(before, starts))
        numbers = np.where(is_set, num_before, -_NO_ENTRY)
        numbers = self._numbers("numbers", numbers)
        numbers = self._named("in_byte", ops.gather(numbers, marks, self._axis))
        number = self._named("number", ops.add(numbers, before))
        position = self._named("position", ops.maximum(number, self._axis))
        if 8 * padded.size == size:
            return position
        flat = self._numbers("flat", np.array([-1]))
        position = self._named("padded", ops.reshape(position, flat, False))
        ends = (self._numbers("end", np.array([end])) for end in (0, size, 1))
        return self._named("cut", ops.slice(position, *ends))

    def _triangle(self, size):
        """Returns ones where a column is in front of its row: i32, shape (size, size),
        the same for the same size."""
        if size not in self._shared:
            ops, numbers = self._ops, np.arange(size)
            rows = self._numbers("rows", numbers[:, None])
            columns = self._numbers("columns", numbers[None])
            is_before = self._named("is_before", ops.less(columns, rows))
            self._shared[size] = self._int32("triangle", is_before)
        return self._shared[size]

    def _entries(self, values, shape):
        """Returns the node of the weights that are told one by one."""
        if isinstance(values, Plain):
            return self._values("there", values.entries.reshape(shape))
        return self._named("there", self._looked_up(values, shape))

    def _looked_up(self, values, shape):
        """Returns the node of the values that the indices stand for."""
        total = None
        for plane in values.indices.planes:
            part = self._plane(plane, shape)
            if total is not None:
                part = self._ops.add(total, part)
                self._named(f"sum{plane.shift}", part)
            total = part
        if isinstance(values, ChannelCodebook):
            num_channels, num_values = values.codebook.shape
            starts = num_values * np.arange(num_channels)
            starts = self._numbers("starts", starts[:, None])
            total = self._named("of_channel", self._ops.add(total, starts))
        codebook = self._values("codebook", values.codebook.reshape(-1))
        return self._ops.gather(codebook, total, self._axis)

    def _plane(self, plane, shape):
        """Returns the node of one plane's share of the indices."""
        what = f"plane{plane.shift}"
        packed = self._packed(f"{what}/packed", plane.packed, shape, plane.width)
        indices = self._int32(what, packed)
        if not plane.shift:
            return indices
        factor = self._numbers(f"{what}/factor", np.array(1 << plane.shift))
        return self._named(f"{what}/part", self._ops.multiply(indices, factor))

    def _packed(self, what, data, shape, width):
        """Returns a constant of unsigned integers of `width` bits."""
        if width == 1:
            # The first element of a byte is its high bit, of the other types the low.
            data = np.packbits(np.unpackbits(data, bitorder="little"))
        return self._constant(what, data, shape, getattr(self._types, f"u{width}"))

    def _int32(self, what, node):
        return self._named(what, self._ops.convert(node, "i32"))

    def _values(self, what, array):
        """Returns a constant of the tensor's own type; bfloat16 comes as float16."""
        return self._constant(what, array, array.shape, self._element_type)

    def _numbers(self, what, array):
        """Returns a constant of type i32, the same for the same numbers."""
        array = array.astype(np.int32)
        key = (array.shape, array.tobytes())
        if key not in self._shared:
            self._shared[key] = self._constant(
                what, array, array.shape, self._types.i32
            )
        return self._shared[key]

    def _constant(self, what, array, shape, element_type):
        self._arrays.append(np.ascontiguousarray(array))
        shape = self._openvino.Shape([int(size) for size in shape])
        tensor = self._openvino.Tensor(self._arrays[-1], shape, element_type)
        return self._named(what, self._openvino.op.Constant(tensor))

    def _named(self, what, node):
        node.set_friendly_name(f"{self._prefix}/{what}")
        return node


def _rows_of_bytes(num_bits):
    """Returns (rows, bytes of a row) for the bits of a bitmap and some padding."""
    num_bytes = -(-num_bits // 8)
    num_rows = -(-num_bytes // _ROW_BYTES)
    return num_rows, -(-num_bytes // num_rows)


def _consumers(node):
    """Yields the nodes that take a constant, or take it through a Convert."""
    for target in node.output(0).get_target_inputs():
        consumer = target.get_node()
        if consumer.get_type_name() == "Convert":
            yield from _consumers(consumer)
        else:
            yield consumer
