"""Kinds of model through every format: right beside Keras, or refused in one line."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.export import export_model
from tfcompress.runtime import load_session

every_format = pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
BFLOAT16, FLOAT16 = 5e-2, 5e-3  # of the largest number, for values of some layers


def chain(*stack, shape=(4,), dtype=None, name="x"):
    x = y = keras.Input(shape, dtype=dtype, name=name)
    for layer in stack:
        y = layer(y)
    return keras.Model(x, y)


def adapted(**options):
    layer = layers.Normalization(**options)
    layer.adapt(np.random.default_rng(0).normal(3, 5, (64, 200)).astype("float32"))
    return chain(layer, layers.Dense(2), shape=(200,))


def eager_constant():
    factors = ops.convert_to_tensor(np.linspace(-1, 1, 300, dtype="float32"))
    scalar = ops.convert_to_tensor(3.0)
    x = keras.Input((300,), name="x")
    return keras.Model(x, layers.Dense(2)(x * factors * scalar))


def nested_gelu():
    inner = chain(layers.Dense(4, activation="gelu"), name="inner")
    steps = layers.TimeDistributed(layers.Dense(3, activation="gelu"))
    return chain(inner, layers.Reshape((2, 2)), steps, layers.LSTM(3, "gelu"))


def operations():
    x = keras.Input((6,), name="x")
    y = ops.erf(x) + ops.gelu(x, approximate=False) + ops.roll(x, 2, axis=-1)
    return keras.Model(x, {
        "y": layers.Activation("celu")(y),
        "most": ops.argmax(x, axis=-1),
        "least": ops.argmin(x, axis=-1, keepdims=True),
        "whole": ops.cast(x, "int32"),
        "positive": x > 0,
    })  # fmt: skip


def recurrent():
    return chain(
        layers.Embedding(10, 4, mask_zero=True),
        layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        layers.GRU(3, return_sequences=True, go_backwards=True),
        layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(2)])),
        shape=(6,),
        dtype="int32",
    )


def channels():
    x = keras.Input((6, 6, 3), name="x")
    y = layers.Conv2D(4, 3, activation="log_softmax")(x)
    return keras.Model(x, ops.log_softmax(layers.Conv2D(3, 1)(y), axis=1))


def groups():
    x = keras.Input((6, 6, 4), name="x")
    y = layers.Conv2D(8, 3, groups=2, padding="same", strides=2)(x)
    y = layers.Conv1D(6, 2, groups=2)(layers.Reshape((9, 8))(y))
    return keras.Model(x, y)


def zeros():
    x = keras.Input((4,), name="x")
    y = layers.UnitNormalization()(layers.ReLU(threshold=0.7)(x))
    return keras.Model(x, ops.concatenate([y, ops.normalize(y - y, order=1)]))


def reduced_steps():
    x = keras.Input((6, 4), name="x")
    y = layers.Conv1D(5, 3, padding="same")(x)
    norm = layers.BatchNormalization()
    pooled = [norm(layers.GlobalMaxPooling1D()(y))]
    scale = np.linspace(0.5, 2, 5, dtype="float32")
    pooled.append(layers.Flatten()(ops.mean(y, axis=1, keepdims=True) * scale))
    model = keras.Model(x, layers.Dense(3)(layers.ReLU()(ops.concatenate(pooled))))
    norm.set_weights([scale] * 4)
    return model


MODELS = {
    "zeros": zeros,
    "reduced_steps": reduced_steps,
    "channels": channels,
    "groups": groups,
    "normalization": adapted,
    "inverted": lambda: adapted(invert=True),
    "given": lambda: chain(layers.Normalization(mean=3.0, variance=2.0)),
    "constant": eager_constant,
    "gelu": nested_gelu,
    "operations": operations,
    "recurrent": recurrent,
    "any_length": lambda: chain(layers.LSTM(3, return_sequences=True), shape=(None, 4)),
    "convlstm": lambda: chain(layers.ConvLSTM2D(2, 3), shape=(3, 6, 6, 2)),
    "buckets": lambda: chain(
        layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0]), layers.Embedding(4, 3)
    ),
    "categories": lambda: chain(
        layers.CategoryEncoding(8, output_mode="multi_hot"), dtype="int32"
    ),
}


def example(spec, batch):
    rng = np.random.default_rng(1)
    shape = [6 if size is None else size for size in spec.shape]
    shape[0] = batch if spec.shape[0] is None else spec.shape[0]
    if spec.dtype.startswith("float"):
        return rng.normal(size=shape).astype(spec.dtype)
    return rng.integers(0, 8, shape).astype(spec.dtype)


def check(model, format, folder, bound=1e-5, **options):
    """Compares a file with Keras; returns what `export_model` returned."""
    exported = export_model(model, format, folder, **options)
    session = load_session(format, folder, list(exported.files))
    assert {spec.name for spec in session.inputs} == {s.name for s in exported.inputs}
    for batch in (1, 3):
        inputs = {spec.name: example(spec, batch) for spec in exported.inputs}
        found = session.run(inputs)
        (x,) = inputs.values()
        wanted = model(ops.convert_to_tensor(x), training=False)
        if not isinstance(wanted, dict):
            wanted = {exported.outputs[0].name: wanted}
        assert set(found) == set(wanted)
        for spec in exported.outputs:
            value = ops.convert_to_numpy(wanted[spec.name]).astype("float64")
            assert found[spec.name].dtype == spec.dtype
            assert found[spec.name].shape == value.shape
            difference = np.abs(found[spec.name].astype("float64") - value).max()
            assert difference <= bound * np.abs(value).max()
    return exported


@every_format
@pytest.mark.parametrize("name", MODELS)
def test_export_is_right_beside_keras(tmp_path, name, format):
    check(MODELS[name](), format, tmp_path)


@every_format
@pytest.mark.parametrize(
    ("policy", "bound"),
    [
        ("mixed_bfloat16", BFLOAT16),
        ("bfloat16", BFLOAT16),
        ("mixed_float16", FLOAT16),
        ("float16", FLOAT16),
    ],
)
def test_export_of_small_floats_computes_in_float32(tmp_path, format, policy, bound):
    model = chain(
        layers.Conv2D(4, 3, dtype=policy),
        layers.BatchNormalization(dtype=policy),
        layers.GlobalAveragePooling2D(dtype=policy),
        layers.Dense(2, activation="gelu", dtype=policy),
        shape=(8, 8, 3),
    )
    before = model.get_weights()
    exported = check(model, format, tmp_path, bound)
    assert exported.outputs[0].dtype == "float32"
    assert model.layers[1].dtype_policy.name == policy
    pairs = zip(before, model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_export_keras_file_keeps_the_policy(tmp_path):
    export_model(chain(layers.Dense(2, dtype="mixed_bfloat16")), "keras", tmp_path)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].dtype_policy.name == "mixed_bfloat16"


def test_export_float64_is_right_in_onnx_and_refused_elsewhere(tmp_path):
    model = chain(layers.Dense(2, dtype="float64"), dtype="float64")
    check(model, "onnx", tmp_path, 1e-14)
    for format, kind in [("tflite", "TFLite"), ("openvino", "OpenVINO IR")]:
        with pytest.raises(UnsupportedModelError, match=f"{kind}: it computes in floa"):
            export_model(model, format, tmp_path / format)


@every_format
def test_export_batch_size_fixes_the_batch(tmp_path, format):
    model = recurrent()
    exported = check(model, format, tmp_path, batch_size=2)
    assert exported.inputs[0].shape == (2, 6)
    assert exported.outputs[0].shape[0] == 2


@pytest.mark.parametrize("size", [0, -1, True, 1.0, "1"])
def test_export_batch_size_that_is_none_raises(tmp_path, size):
    with pytest.raises(InvalidValueError, match=f"at least 1, got {size!r}"):
        export_model(chain(layers.Dense(2)), "onnx", tmp_path, batch_size=size)


def two_heads():
    x = keras.Input((4,), name="x")
    y = layers.Dense(2)(x)
    return x, y


REFUSED = {
    "text": (
        lambda: chain(layers.StringLookup(vocabulary=["a"]), dtype="string"),
        ["tflite", "onnx", "openvino"],
        "takes or puts out texts at 'x', and files take numbers. Export the part",
    ),
    "table": (
        lambda: chain(
            layers.IntegerLookup(vocabulary=[1, 2], name="lookup"),
            layers.Embedding(4, 2),
            dtype="int64",
        ),
        ["tflite", "onnx", "openvino"],
        r"layer 'lookup' \(IntegerLookup.* Leave it out of the model",
    ),
    "layer_name": (
        lambda: chain(layers.Dense(2, name="größe")),
        ["tflite", "onnx", "openvino"],
        "a layer of the name 'größe', which TensorFlow cannot put into a graph. Name",
    ),
    "input_name": (
        lambda: chain(layers.Dense(2), name="my input"),
        ["tflite", "onnx", "openvino"],
        "an input of the name 'my input', which TensorFlow cannot",
    ),
    "nested": (
        lambda: nested_outputs(),
        ["tflite", "onnx", "openvino"],
        "puts out lists or dictionaries inside of others",
    ),
    "input_as_output": (
        chain,
        ["onnx", "openvino"],
        "an input and an output are both called 'x'. Give the model a dictionary",
    ),
    "dropout": (
        lambda: chain(layers.Dropout(0.5)),
        ["openvino"],
        "an output of it is one of its inputs as it is. Leave that output out",
    ),
    "one_tensor": (
        lambda: keras.Model((h := two_heads())[0], {"a": h[1], "b": h[1]}),
        ["tflite", "openvino"],
        "outputs 'a' and 'b' are one tensor",
    ),
    "broken": (
        lambda: chain(layers.Dense(8), layers.Activation("glu"), layers.Dense(2)),
        ["tflite", "onnx", "openvino"],
        "cannot be exported, because it cannot be run: ValueError in",
    ),
    "two_layers": (
        lambda: chain(layers.Dense(2, name="fine"), Erfinv(name="a"), Erfinv(name="b")),
        ["tflite", "onnx", "openvino"],
        r"layers 'a' \(Erfinv: .*\), 'b' \(Erfinv: .*\) have no counterpart in",
    ),
}


class Erfinv(layers.Layer):
    def call(self, inputs):
        return ops.erfinv(ops.tanh(inputs))


def nested_outputs():
    x, y = two_heads()
    return keras.Model(x, {"a": [y, layers.ReLU()(y)], "b": x})


@pytest.mark.parametrize(
    ("name", "format"), [(name, f) for name in REFUSED for f in REFUSED[name][1]]
)
def test_export_refuses_in_one_line(tmp_path, name, format):
    make, _, message = REFUSED[name]
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        export_model(make(), format, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "format"),
    [
        ("keras", "tflite"),
        ("tensorflow", "tflite"),
        ("tf_keras", "onnx"),
        ("onnx", "onnx"),
        ("tf2onnx", "onnx"),
        ("openvino", "openvino"),
    ],
)
def test_export_without_a_package_says_what_to_install(tmp_path, module, format):
    code = f"""
import sys
make = {module!r} not in ("keras", "tensorflow")
if make:
    import keras
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
for name in [n for n in sys.modules if n.partition(".")[0] == {module!r}]:
    del sys.modules[name]
sys.modules[{module!r}] = None
from tfcompress import export_model
from tfcompress.errors import MissingDependencyError
try:
    export_model(model if make else None, {format!r}, "out")
except MissingDependencyError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    name = module.replace("_", "-")
    assert f"pip install {name} (it belongs to the extra 'export'" in done.stdout, (
        done.stderr
    )
