"""Makes, codes and runs .tflite files for the tests of the coding pass."""

import numpy as np
import pytest

from tfcompress.coding.tflite import code_tflite
from tfcompress.coding.tflite_file import model_bytes, parse_model, read_model
from tfcompress.coding.tflite_graph import operator_name


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


@pytest.fixture
def files(tmp_path):
    """The .tflite files of a test."""
    return TfliteFiles(tmp_path)
