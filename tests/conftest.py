"""Settings that hold for every test, and a tiny model in every format."""

import functools
import logging
import os

import numpy as np
import pytest

import tfcompress  # noqa: F401  turns usage data off before a test imports the tools

# Before TensorFlow is imported: its C++ log is no part of a test's output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def _make_tflite(path):
    import tensorflow as tf

    class Tiny(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.int32, "tokens")])
        def __call__(self, tokens):
            vectors = tf.gather(tf.constant(TINY_TABLE), tokens)
            return {"logits": tf.reduce_mean(vectors, 1) @ TINY_KERNEL + TINY_BIAS}

    model = Tiny()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [model.__call__.get_concrete_function()], model
    )
    path.write_bytes(converter.convert())
    return [path]


def _make_onnx(path):
    import onnx
    from onnx import helper, numpy_helper

    constants = {"table": TINY_TABLE, "kernel": TINY_KERNEL, "bias": TINY_BIAS}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "tokens"], ["vectors"]),
            helper.make_node("ReduceMean", ["vectors"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Gemm", ["mean", "kernel", "bias"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("tokens", onnx.TensorProto.INT32, ["n", 4])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return [path]


def _make_openvino(path):
    import openvino
    from openvino import opset13 as ops

    tokens = ops.parameter([-1, 4], np.int32, name="tokens")
    vectors = ops.gather(ops.constant(TINY_TABLE, name="table"), tokens, np.int32(0))
    mean = ops.reduce_mean(vectors, np.int32(1))
    logits = ops.matmul(mean, ops.constant(TINY_KERNEL), False, False)
    logits = ops.add(logits, ops.constant(TINY_BIAS))
    tokens.output(0).set_names({"tokens"})
    logits.output(0).set_names({"logits"})
    model = openvino.Model([logits], [tokens], "tiny")
    openvino.save_model(model, path, compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]


def _make_keras(path):
    import keras

    tokens = keras.Input((4,), dtype="int32", name="tokens")
    vectors = keras.layers.Embedding(8, 2, weights=[TINY_TABLE])(tokens)
    mean = keras.layers.GlobalAveragePooling1D()(vectors)
    dense = keras.layers.Dense(1, name="logits")
    model = keras.Model(tokens, dense(mean))
    dense.set_weights([TINY_KERNEL, TINY_BIAS])
    model.save(path)
    return [path]


TINY_TABLE = np.stack([np.arange(8), np.ones(8)], axis=1).astype(np.float32)
TINY_KERNEL = np.array([[0.5], [0.0]], np.float32)
TINY_BIAS = np.array([-1], np.float32)
_MAKERS = {
    "tflite": (_make_tflite, "model.tflite"),
    "onnx": (_make_onnx, "model.onnx"),
    "openvino": (_make_openvino, "model.xml"),
    "keras": (_make_keras, "model.keras"),
}


@pytest.fixture(scope="session")
def tiny_model_files(tmp_path_factory):
    """Function: format -> paths of the files of one tiny model.

    Input "tokens": int32 (n, 4), 0 to 7. Output "logits" (n, 1): mean(tokens) / 2 - 1,
    by a table of 8 rows, a kernel and a bias.
    """

    @functools.cache
    def files(format):
        make, name = _MAKERS[format]
        return make(tmp_path_factory.mktemp(format) / name)

    return files


@pytest.fixture
def tiny_artifact(tmp_path, tiny_model_files):
    """Function: makes an artifact of the tiny model that takes texts, in `tmp_path`.

    Other model files and fields of the manifest may be given. The words bad, film and
    good are the tokens 2, 3 and 4; a text has 4 tokens.
    """
    from tfcompress.artifact import create_artifact
    from tfcompress.data.word_tokenizer import train_word_tokenizer
    from tfcompress.manifest import Manifest
    from tfcompress.runtime import TensorSpec
    from tfcompress.tasks import ClassHead

    def make(format="onnx", model_files=None, **fields):
        is_text = fields.get("is_text", True)
        defaults = {
            "inputs": (TensorSpec("tokens", (None, 4), "int32"),),
            "outputs": (TensorSpec("logits", (None, 1), "float32"),),
            "heads": (
                ClassHead(labels=("negative", "positive"), activation="sigmoid"),
            ),
            "is_text": is_text,
            "sequence_length": 4 if is_text else None,
        }
        manifest = Manifest(format=format, **defaults | fields)
        texts = ["bad bad bad film film good"]
        tokenizer = train_word_tokenizer(texts, vocabulary_size=5, length=4)
        return create_artifact(
            tmp_path / "artifact",
            model_files=model_files or tiny_model_files(format),
            manifest=manifest,
            tokenizer=tokenizer if is_text else None,
        )

    return make


@pytest.fixture
def run_result():
    """`RunResult` of a run of one record, of which there is nothing to say."""
    from tfcompress.record import new_record
    from tfcompress.report import RunResult

    record = new_record(
        row="a",
        format="onnx",
        precision="float32",
        coding="dense",
        runtime="onnxruntime",
        device="cpu",
        status="ok",
        dataset={"name": "x", "num_examples": 3},
    )
    lists = ("heads", "rows", "comparisons", "training_times", "latency_ratios")
    return RunResult(
        experiment="title",
        command={"name": "title", "arguments": []},
        dataset=record["dataset"] | {"warning": None},
        records=[record],
        noise={"a": {"batch_1": 1.0, "batch_32": 1.1}},
        search=None,
        chosen=None,
        **{name: [] for name in (*lists, "warnings", "failures", "published")},
    )


@pytest.fixture(scope="session")
def make_token_dataset():
    """Function: number of words, length -> `Dataset` of random texts in two classes."""
    from tfcompress.data.dataset import Dataset, Split

    def make(num_words, length):
        rng = np.random.default_rng(0)

        def split(count):
            tokens = rng.integers(0, num_words, (count, length)).astype(np.int32)
            is_high = tokens.mean(1) > num_words / 2
            return Split({"tokens": tokens}, is_high.astype(np.int32))

        return Dataset.from_splits(split(64), split(16), split(16), ["low", "high"])

    return make


@pytest.fixture
def training(make_token_dataset):
    """`ArrayTraining` of two epochs on texts of 8 tokens below 50, of two classes."""
    from tfcompress.training import ArrayTraining, TrainingConfig

    config = TrainingConfig(epochs=2, batch_size=8, learning_rate=0.01)
    return ArrayTraining(make_token_dataset(50, 8), config)


@pytest.fixture(scope="session")
def needs_bfloat16():
    """Skips a test where TensorFlow cannot compute in bfloat16."""
    from tfcompress.errors import InvalidValueError
    from tfcompress.training.precision import arithmetic

    try:
        with arithmetic("bfloat16"):
            return
    except InvalidValueError:
        pytest.skip("TensorFlow computes no bfloat16 on this processor")


@pytest.fixture(scope="session")
def make_text_model():
    """Function: Keras model of the texts of `training`, with random weights.

    Its layers with weights are embedding, norm, hidden and logits.
    """
    import keras

    def make(dimension=8, width=12):
        layers = keras.layers
        tokens = keras.Input((8,), dtype="int32", name="tokens")
        x = layers.Embedding(50, dimension, name="embedding")(tokens)
        x = layers.LayerNormalization(name="norm")(x)
        x = layers.GlobalAveragePooling1D(name="pooling")(x)
        x = layers.Dense(width, activation="relu", name="hidden")(x)
        model = keras.Model(tokens, layers.Dense(1, name="logits")(x))
        rng = np.random.default_rng(1)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        return model

    return make


@pytest.fixture(autouse=True)
def _logging_as_python_has_it():
    """Undoes what absl and others do to the root logger: caplog listens there.

    Before the test, not after: fixtures of a whole module come before this one.
    """
    logging.root.setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
