"""Weights stored as float16 in ONNX and OpenVINO, and arithmetic in bfloat16."""

import keras
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from tfcompress.coding import code_file
from tfcompress.errors import UnsupportedModelError
from tfcompress.export import export_model
from tfcompress.models import embedding_classifier
from tfcompress.runtime import load_session


def has_bfloat16():
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


SMALLER = [
    ("onnx", "float16"),
    ("openvino", "float16"),
    pytest.param(
        "openvino",
        "bfloat16",
        marks=pytest.mark.skipif(not has_bfloat16(), reason="this CPU lacks bfloat16"),
    ),
]
every_format = pytest.mark.parametrize("format", ["onnx", "openvino"])


def dense_model():
    x = keras.Input((64,), name="x")
    y = keras.layers.Dense(128, activation="relu", name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(64, name="y")(y), name="dense")
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.2, w.shape) for w in model.weights])
    return model


def attention_model():
    x = keras.Input((None, 64), name="x")
    y = keras.layers.MultiHeadAttention(4, 16, name="attention")(x, x)
    y = keras.layers.LayerNormalization(name="norm")(keras.layers.Add()([x, y]))
    return keras.Model(x, keras.layers.Dense(64, name="y")(y), name="attention")


MODELS = {"dense": dense_model, "attention": attention_model}


def file_bytes(folder):
    return sum(path.stat().st_size for path in folder.glob("model.[ob][ni]*"))


@pytest.mark.parametrize(("format", "precision"), SMALLER)
@pytest.mark.parametrize("name", MODELS)
def test_export_smaller_precision_halves_the_weights(tmp_path, name, format, precision):
    model = MODELS[name]()
    folders = {"float32": tmp_path / "float32", precision: tmp_path / precision}
    outputs = {}
    shape = (3, 64) if name == "dense" else (3, 5, 64)
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    for each, folder in folders.items():
        files = export_model(model, format, folder, precision=each).files
        with load_session(format, folder, files, precision=each) as session:
            outputs[each] = session.run({"x": x})["y"]
    exact = outputs["float32"]
    difference = np.abs(outputs[precision] - exact).max() / np.abs(exact).max()
    assert 0 < difference < (3e-2 if precision == "bfloat16" else 2e-3)
    sizes = {each: file_bytes(folder) for each, folder in folders.items()}
    assert sizes[precision] < 0.6 * sizes["float32"]


def test_export_onnx_float16_is_read_back_at_load(tmp_path):
    export_model(dense_model(), "onnx", tmp_path, precision="float16")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    kernels = [t for t in model.graph.initializer if len(t.dims) == 2]
    assert {t.data_type for t in kernels} == {onnx.TensorProto.FLOAT16}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(tmp_path / "model.onnx", options)
    optimized = onnx.load(tmp_path / "optimized.onnx").graph
    assert "Cast" not in {node.op_type for node in optimized.node}


@every_format
def test_export_float16_can_be_coded(tmp_path, format):
    model = embedding_classifier(2, vocabulary_size=400, length=20, dimension=8)
    table = np.linspace(-1, 1, 16, dtype=np.float32)
    random = np.random.default_rng(0)
    embedding = next(layer for layer in model.layers if layer.weights)
    embedding.set_weights([table[random.integers(0, 16, embedding.embeddings.shape)]])
    files = export_model(model, format, tmp_path, precision="float16").files
    target = tmp_path / "coded" / files[0]
    target.parent.mkdir()
    result = code_file(tmp_path / files[0], target)
    (coded,) = [row for row in result.tensors if row.code != "dense"]
    assert (coded.dtype, coded.num_values) == ("float16", 16)
    tokens = {"tokens": random.integers(0, 400, (2, 20)).astype(np.int32)}
    outputs = [
        load_session(format, folder, files).run(tokens)["logits"]
        for folder in (tmp_path, target.parent)
    ]
    np.testing.assert_array_equal(*outputs)


@every_format
def test_export_float16_weight_beyond_its_range_raises(tmp_path, format):
    model = dense_model()
    kernel, bias = model.get_layer("hidden").get_weights()
    kernel[3, 5] = -70000.0
    model.get_layer("hidden").set_weights([kernel, bias])
    message = r"'dense' cannot be written in float16: '.*' holds 70000.0, and float16 e"
    with pytest.raises(UnsupportedModelError, match=message):
        export_model(model, format, tmp_path, precision="float16")
    assert list(tmp_path.iterdir()) == []
