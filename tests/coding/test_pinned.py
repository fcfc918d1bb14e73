"""The bytes of coded weights, fixed: a change of coding is seen, and is meant.

The weights are made of a hash function, so that no library's random numbers matter.
The hash is of the constants that the coded file holds, and not of the file, in which
writers put their versions.
"""

import hashlib

import numpy as np
import pytest

from tfcompress.coding import code_file
from tfcompress.coding.tflite.graph import Graph
from tfcompress.formats import format_named
from tfcompress.formats.tflite_file import model_bytes, schema

SIZE = 64
SHAPE = (SIZE, SIZE)
BLOCK = 32


def _bytes(name, count):
    return np.frombuffer(hashlib.shake_256(name.encode()).digest(count), np.uint8)


def _values(name, count):
    """Returns float32 numbers of 16 bits, nearly all of them distinct."""
    return _bytes(name, 2 * count).view("<i2").astype(np.float32) / 2**15


def _indices(name):
    return _bytes(name, SIZE * SIZE).reshape(SHAPE) % 16


def _sparse(name, values, share):
    is_kept = _bytes(name, SIZE * SIZE).reshape(SHAPE) < share * 256
    return np.where(is_kept, values, np.float32(0))


def _blocks():
    codebook = np.arange(-8, 8).astype(np.float32) / 8
    scales = (1 + _bytes("scales", SIZE * SIZE // BLOCK) / 256).astype(np.float16)
    scales = scales.reshape(SIZE // BLOCK, SIZE)
    weights = codebook[_indices("blocks")]
    weights = weights * np.repeat(scales, BLOCK, 0).astype(np.float32)
    hint = {"codebook": codebook, "scales": scales, "axis": 0, "block_size": BLOCK}
    return weights, hint


def _channels():
    codebook = _values("channels", SIZE * 16).reshape(SIZE, 16)
    weights = np.take_along_axis(codebook, _indices("channel indices").astype(int), 1)
    return weights, {"codebook": codebook, "axis": 0}


MANY = _values("many", SIZE * SIZE).reshape(SHAPE)
FEW = (np.arange(-7, 9).astype(np.float32) / 8)[_indices("few")]
BLOCKS, CHANNELS = _blocks(), _channels()
WEIGHTS = {
    "many": MANY,
    "few": FEW,
    "half_of_many": _sparse("half of many", MANY, 0.5),
    "tenth_of_few": _sparse("tenth of few", FEW, 0.1),
    "two": np.sign(FEW - np.float32(0.0625)),
    "eight_bits": _bytes("eight bits", SIZE * SIZE).reshape(SHAPE).astype(np.float32),
    "hundredth_of_many": _sparse("hundredth of many", MANY, 0.01),
    "blocks": BLOCKS[0],
    "channels": CHANNELS[0],
}
HINTS = {"blocks": BLOCKS[1], "channels": CHANNELS[1]}


def _tflite(path):
    fb = schema()
    model, subgraph = fb.ModelT(), fb.SubGraphT()
    model.version, model.operatorCodes, model.buffers = 3, [], [fb.BufferT()]
    model.subgraphs, subgraph.tensors, subgraph.operators = [subgraph], [], []
    graph = Graph(model, subgraph, {})
    x = graph.tensor(SHAPE, "FLOAT32", "x")
    outputs = []
    for name, array in WEIGHTS.items():
        outputs.append(graph.tensor(SHAPE, "FLOAT32", f"y_{name}"))
        ends = [x, graph.constant(array, name)], outputs[-1:]
        subgraph.operators.append(graph.operator("MUL", *ends, "MulOptions"))
    subgraph.inputs, subgraph.outputs = np.int32([x]), np.int32(outputs)
    path.write_bytes(model_bytes(model))


def _onnx(path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    names = ["x", *(f"y_{name}" for name in WEIGHTS)]
    x, *outputs = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in names
    )
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", name], [f"y_{name}"]) for name in WEIGHTS],
        "graph",
        [x],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


def _openvino(path):
    import openvino as ov
    from openvino import opset15 as ops

    x = ops.parameter(SHAPE, np.float32, name="x")
    products = [
        ops.multiply(x, ops.constant(array, name=name))
        for name, array in WEIGHTS.items()
    ]
    ov.save_model(ov.Model(products, [x], "model"), path, compress_to_fp16=False)


WRITERS = {"tflite": _tflite, "onnx": _onnx, "openvino": _openvino}
PINNED = {
    "tflite": (
        {
            "many": ("dense", None, 16384),
            "few": ("codebook", 4, 3112),
            "half_of_many": ("bitmap", None, 9642),
            "tenth_of_few": ("bitmap_codebook", 4, 2732),
            "two": ("codebook", 1, 1520),
            "eight_bits": ("codebook", 8, 6120),
            "hundredth_of_many": ("positions", None, 1515),
            "blocks": ("block_codebook", 4, 3718),
            "channels": ("channel_codebook", 4, 7600),
        },
        45291,
        "428f5f48186596b3adeda60e467e79778d297c0dfcde750b3a14ea3a0ec4900e",
    ),
    "onnx": (
        {
            "many": ("dense", None, 16384),
            "few": ("codebook", 4, 2554),
            "half_of_many": ("bitmap", None, 9271),
            "tenth_of_few": ("positions_codebook", 4, 1916),
            "two": ("codebook", 1, 962),
            "eight_bits": ("codebook", 8, 5438),
            "hundredth_of_many": ("positions", None, 900),
            "blocks": ("block_codebook", 4, 3067),
            "channels": ("channel_codebook", 4, 7125),
        },
        45247,
        "e53fecede8ab5c56c4bb2891504d853d0708a72f5104528e076479b0b6f3937e",
    ),
    "openvino": (
        {
            "channels": ("channel_codebook", 4, 8680),
            "blocks": ("block_codebook", 4, 4998),
            "hundredth_of_many": ("codebook", 8, 5338),
            "eight_bits": ("codebook", 8, 6150),
            "two": ("codebook", 1, 1550),
            "tenth_of_few": ("codebook", 4, 3142),
            "half_of_many": ("bitmap", None, 13900),
            "few": ("codebook", 4, 3142),
            "many": ("dense", None, 16384),
        },
        59304,
        "a5032e6282a3c24b8afd32ca8d86f2b8f60711888dd5e5715ab6bee2ccf671e3",
    ),
}


@pytest.mark.parametrize("format", WRITERS)
def test_coded_bytes_are_those_of_every_version(format, tmp_path):
    suffix = format_named(format).suffix
    source, target = tmp_path / f"dense{suffix}", tmp_path / f"coded{suffix}"
    WRITERS[format](source)
    result = code_file(source, target, structures=HINTS, verify=False)
    codes = {
        row.name: (row.code, row.num_bits, row.coded_bytes) for row in result.tensors
    }
    constants = sorted(
        constant.data.tobytes()
        for constant in format_named(format).read_constants(target)
    )
    digest = hashlib.sha256(b"".join(constants)).hexdigest()
    assert (codes, sum(map(len, constants)), digest) == PINNED[format]
