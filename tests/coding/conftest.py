"""Weights for the tests of the coding pass; makes, codes and runs .tflite files."""

import numpy as np
import pytest

from tfcompress.coding.tflite.coder import code_tflite
from tfcompress.coding.tflite.graph import Graph
from tfcompress.formats.tflite_file import (
    model_bytes,
    parse_model,
    read_model,
    schema,
)
from tfcompress.formats.tflite_graphs import operator_name


class StructuredWeights:
    """Makes weights that have a structure, and the hints that tell it."""

    @staticmethod
    def blocks(shape, axis, *, block_size=32, num_values=16, seed=0):
        """Makes weights with block scales, and their hint; one entry is the zero."""
        rng = np.random.default_rng(seed)
        codebook = rng.normal(size=num_values).astype(np.float32)
        codebook[num_values // 2] = 0
        small = list(shape)
        small[axis] //= block_size
        scales = (0.5 + rng.random(small)).astype(np.float16)
        entries = codebook[rng.integers(0, num_values, shape)]
        weights = entries * np.repeat(scales, block_size, axis).astype(np.float32)
        hint = {"codebook": codebook, "scales": scales}
        return weights, hint | {"axis": axis, "block_size": block_size}

    @staticmethod
    def channels(shape, axis, *, num_values=16, dtype=np.float32, seed=0):
        """Makes weights with a codebook for each channel, and their hint."""
        rng = np.random.default_rng(seed)
        codebook = rng.normal(size=(shape[axis], num_values)).astype(dtype)
        indices = rng.integers(0, num_values, shape)
        rows = np.moveaxis(indices, axis, 0).reshape(shape[axis], -1)
        made = np.take_along_axis(codebook, rows, 1)
        made = made.reshape(np.moveaxis(indices, axis, 0).shape)
        weights = np.ascontiguousarray(np.moveaxis(made, 0, axis))
        return weights, {"codebook": codebook, "axis": axis}


@pytest.fixture
def structured():
    """Weights with block scales or with a codebook for each channel."""
    return StructuredWeights()


class TfliteFiles:
    """The .tflite files of one test; `folder` is theirs."""

    def __init__(self, folder):
        self.folder = folder

    @staticmethod
    def clustered(*shape, num_values=16, sparsity=0.0, seed=0):
        """Returns a float32 array of a few values, and of zeros."""
        rng = np.random.default_rng(seed)
        values = rng.normal(size=num_values).astype(np.float32)
        array = values[rng.integers(0, num_values, int(np.prod(shape)))]
        array[rng.random(array.size) < sparsity] = 0
        return array.reshape(shape)

    @staticmethod
    def floats(*shape):
        """Returns the `tf.TensorSpec` of a float32 input."""
        import tensorflow as tf

        return tf.TensorSpec(shape, tf.float32)

    @staticmethod
    def ids(*shape):
        """Returns the `tf.TensorSpec` of an int32 input."""
        import tensorflow as tf

        return tf.TensorSpec(shape, tf.int32)

    def convert(self, function, *specs, precision=None, edit=None, module=None):
        """Converts a function of tensors, lets `edit` change the model; its path."""
        import tensorflow as tf

        module = module or tf.Module()
        concrete = tf.function(function, input_signature=specs).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
        if precision:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        data = converter.convert()
        if edit is not None:
            model = parse_model(data, "converted")
            edit(model)
            data = model_bytes(model)
        path = self.folder / "dense.tflite"
        path.write_bytes(data)
        return path

    def code(self, path, **options):
        """Codes a file; returns the coded file's path and the result."""
        target = path.with_name("coded.tflite")
        return target, code_tflite(path, target, **options)

    @staticmethod
    def row(result):
        """Returns the row of the first tensor of 1 KB or more."""
        return next(row for row in result.tensors if row.dense_bytes >= 1024)

    @staticmethod
    def kinds(path):
        """Returns the names of the operators, a list for each subgraph."""
        model = read_model(path)
        return [
            [operator_name(model, operator) for operator in subgraph.operators]
            for subgraph in model.subgraphs
        ]

    @staticmethod
    def interpreter(path):
        """Opens a file in the stock interpreter, with its default delegate."""
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_path=str(path), num_threads=1)

    @staticmethod
    def outputs(interpreter, batch, seed=0):
        """Runs on random inputs; a `batch` of None leaves the shapes as they are."""
        rng = np.random.default_rng(seed)
        for details in interpreter.get_input_details():
            shape = list(details["shape"])
            if batch is not None:
                shape[0] = batch
            interpreter.resize_tensor_input(details["index"], shape)
        interpreter.allocate_tensors()
        for details in interpreter.get_input_details():
            shape = details["shape"]
            if details["dtype"] == np.float32:
                value = rng.normal(size=shape).astype(np.float32)
            else:
                value = rng.integers(0, 8, shape).astype(details["dtype"])
            interpreter.set_tensor(details["index"], value)
        interpreter.invoke()
        details = interpreter.get_output_details()
        return [interpreter.get_tensor(detail["index"]) for detail in details]

    def check_same_outputs(self, dense, coded, *, batches=(1, 3, 1), atol=1e-5):
        """Compares two files, each in one interpreter for all batches."""
        interpreters = self.interpreter(dense), self.interpreter(coded)
        for seed, batch in enumerate(batches):
            expected, found = (self.outputs(each, batch, seed) for each in interpreters)
            for first, second in zip(expected, found, strict=True):
                assert first.shape == second.shape
                assert first.dtype == second.dtype
                np.testing.assert_allclose(first, second, rtol=1e-5, atol=atol)


class TfliteGraphs:
    """Graphs of a few operators, run without a delegate."""

    @staticmethod
    def empty():
        """Returns the `Graph` of a model of one subgraph without operators."""
        fb = schema()
        model, subgraph, buffer = fb.ModelT(), fb.SubGraphT(), fb.BufferT()
        model.version = 3
        model.operatorCodes, model.subgraphs = [], [subgraph]
        model.buffers = [buffer]
        subgraph.tensors, subgraph.operators = [], []
        subgraph.inputs = subgraph.outputs = np.zeros(0, np.int32)
        return Graph(model, subgraph, {})

    @staticmethod
    def run(graph, operators, output, feeds=None):
        """Runs operators on `feeds`, input tensor -> array; the tensor `output`."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        feeds = feeds or {}
        graph.subgraph.operators = operators
        graph.subgraph.inputs = np.int32(list(feeds))
        graph.subgraph.outputs = np.int32([output])
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = Interpreter(
            model_content=model_bytes(graph.model),
            experimental_op_resolver_type=resolver,
        )
        for index, value in feeds.items():
            interpreter.resize_tensor_input(index, value.shape)
        interpreter.allocate_tensors()
        for index, value in feeds.items():
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    @staticmethod
    def shuffled(num_values, shape, *, sparsity=0.0, dtype=np.float32):
        """Returns an array of exactly so many values, and of zeros."""
        rng = np.random.default_rng(num_values)
        values = np.append(-1.5, 1 + np.arange(num_values - 1)).astype(dtype)
        size = int(np.prod(shape))
        array = values[np.arange(size) % num_values]
        rng.shuffle(array)
        array[rng.random(size) < sparsity] = 0
        return array.reshape(shape)

    @staticmethod
    def of_blocks(shape, block_size, *, axis=1, sparsity=0.0):
        """Returns an array of 16 values times the scales of blocks, and its hint."""
        rng = np.random.default_rng(block_size)
        codebook = np.sort(rng.normal(size=16)).astype(np.float32)
        codebook[8] = 0
        codebook.sort()
        zero = int(np.flatnonzero(codebook == 0)[0])
        indices = rng.integers(0, 16, shape)
        indices[rng.random(shape) < sparsity] = zero
        num_blocks = list(shape)
        num_blocks[axis] //= block_size
        scales = rng.uniform(0.5, 2, num_blocks).astype(np.float16)
        wide = np.repeat(scales.astype(np.float32), block_size, axis)
        hint = {
            "codebook": codebook,
            "scales": scales,
            "axis": axis,
            "block_size": block_size,
        }
        return codebook[indices] * wide, hint


@pytest.fixture
def graphs():
    """Makes and runs graphs of a few operators."""
    return TfliteGraphs()


@pytest.fixture
def files(tmp_path):
    """The .tflite files of a test."""
    return TfliteFiles(tmp_path)
