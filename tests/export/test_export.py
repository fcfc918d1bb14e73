"""Tiny models through every format: outputs on the stock runtimes, weights, names."""

import hashlib
import json
import zipfile

import ai_edge_litert.interpreter as litert
import keras
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.bridge import fold_batch_norm
from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.export import export_model
from tfcompress.formats import FORMATS
from tfcompress.models import embedding_classifier

RUNTIME_FORMATS = ("tflite", "onnx", "openvino")


def cluster(model, num_clusters=16):
    """Gives every weight with two axes or more `num_clusters` random values at most."""
    random = np.random.RandomState(0)
    weights = []
    for values in model.get_weights():
        codebook = random.normal(0, 0.2, num_clusters).astype(np.float32)
        shape = values.shape
        many = len(shape) > 1
        weights.append(codebook[random.randint(0, num_clusters, shape)] if many else
                       random.normal(0, 0.2, shape).astype(np.float32))  # fmt: skip
    model.set_weights(weights)
    return model


def embedding_model():
    model = embedding_classifier(2, vocabulary_size=300, length=20, dimension=8)
    return cluster(model)


def convolution_model():
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    maps = layers.Conv2D(8, 3, strides=2, name="stem")(image)
    maps = layers.ReLU(6.0)(maps)
    maps = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(maps)
    maps = layers.Conv2D(16, 1, activation="relu", name="pointwise")(maps)
    maps = layers.GlobalAveragePooling2D()(maps)
    return cluster(keras.Model(image, layers.Dense(4, name="classes")(maps)))


def two_in_two_out_model():
    layers = keras.layers
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="a-right")
    hidden = layers.Dense(4, name="hidden")(left)
    both = layers.Concatenate(name="both")([hidden, right])
    return cluster(keras.Model([left, right], [both, hidden]))


def sequential_model():
    return cluster(
        keras.Sequential([keras.Input((5,), name="x"), keras.layers.Dense(3, name="y")])
    )


MODELS = {
    "embedding": embedding_model,
    "convolution": convolution_model,
    "two_in_two_out": two_in_two_out_model,
    "sequential": sequential_model,
}


def make_inputs(exported, batch):
    random = np.random.RandomState(1)
    return {
        spec.name: random.randint(0, 300, (batch, *spec.shape[1:])).astype(np.int32)
        if spec.dtype == "int32"
        else random.normal(0, 1, (batch, *spec.shape[1:])).astype(np.float32)
        for spec in exported.inputs
    }


def run(format, folder, inputs):
    if format == "tflite":
        runner = litert.Interpreter(str(folder / "model.tflite")).get_signature_runner(
            "serving_default"
        )
        return runner(**inputs)
    if format == "onnx":
        session = onnxruntime.InferenceSession(folder / "model.onnx")
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))
    model = openvino.Core().compile_model(
        folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    results = model(inputs)
    return {port.get_any_name(): results[port] for port in model.outputs}


def constants(format, folder):
    """Reads all float32 constants of a file."""
    if format == "tflite":
        interpreter = litert.Interpreter(
            str(folder / "model.tflite"),
            experimental_op_resolver_type=(
                litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            ),
        )
        interpreter.allocate_tensors()
        values = [
            interpreter.get_tensor(detail["index"])
            for detail in interpreter.get_tensor_details()
            if detail["dtype"] == np.float32 and detail["shape"].size
        ]
    elif format == "onnx":
        graph = onnx.load(folder / "model.onnx").graph
        values = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    else:
        model = openvino.Core().read_model(folder / "model.xml")
        values = [
            op.get_data() for op in model.get_ops() if op.get_type_name() == "Constant"
        ]
    return [array for array in values if array.dtype == np.float32]


def hashes(exported, folder):
    return [
        hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in exported.files
    ]


@pytest.mark.parametrize("format", RUNTIME_FORMATS)
@pytest.mark.parametrize("name", MODELS)
def test_export_outputs_agree_with_keras(tmp_path, name, format):
    model = MODELS[name]()
    exported = export_model(model, format, tmp_path)
    for batch in (1, 5):
        inputs = make_inputs(exported, batch)
        values = list(inputs.values())
        expected = model.predict(values[0] if len(values) == 1 else values, verbose=0)
        expected = expected if isinstance(expected, list) else [expected]
        outputs = run(format, tmp_path, inputs)
        assert set(outputs) == {spec.name for spec in exported.outputs}
        for spec, reference in zip(exported.outputs, expected, strict=True):
            scale = np.abs(reference).max()
            assert np.abs(outputs[spec.name] - reference).max() < 1e-5 * scale


@pytest.mark.parametrize("format", RUNTIME_FORMATS)
@pytest.mark.parametrize("name", ["embedding", "convolution"])
def test_export_clustered_weights_keep_their_values(tmp_path, name, format):
    model = MODELS[name]()
    export_model(model, format, tmp_path)
    found = constants(format, tmp_path)
    for weight in model.weights:
        values = np.sort(weight.numpy(), axis=None)
        if weight.shape[0] > 1 and len(weight.shape) > 1:
            assert any(
                array.size == values.size
                and np.array_equal(np.sort(array, axis=None), values)
                for array in found
            ), weight.path


def mobilenet_model():
    """Builds a narrow MobileNetV2 whose BatchNormalizations have something to fold."""
    model = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, classes=10, classifier_activation=None
    )
    random = np.random.RandomState(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights(
                [random.uniform(0.5, 1.5, shape).astype(np.float32) for _ in range(4)]
            )
    return model


@pytest.mark.parametrize("format", RUNTIME_FORMATS)
def test_export_folded_mobilenet_keeps_sixteen_values_a_kernel(tmp_path, format):
    model = fold_batch_norm(mobilenet_model())
    for layer in model.layers:
        if layer.weights:
            kernel, *rest = layer.get_weights()
            steps = np.linspace(kernel.min(), kernel.max(), 16, dtype=np.float32)
            nearest = np.abs(kernel[..., None] - steps).argmin(axis=-1)
            layer.set_weights([steps[nearest], *rest])
    exported = export_model(model, format, tmp_path)
    inputs = make_inputs(exported, 2)
    reference = model.predict(next(iter(inputs.values())), verbose=0)
    (logits,) = run(format, tmp_path, inputs).values()
    assert np.abs(logits - reference).max() < 1e-5 * np.abs(reference).max()
    found = [np.sort(array, axis=None) for array in constants(format, tmp_path)]
    kernels = [layer.get_weights()[0] for layer in model.layers if layer.weights]
    assert len(kernels) == 53
    for kernel in kernels:
        values = np.sort(kernel, axis=None)
        assert len(np.unique(values)) <= 16
        assert any(np.array_equal(array, values) for array in found)


def test_export_batch_normalization_may_stay_in_the_model(tmp_path):
    model = mobilenet_model()
    inputs = make_inputs(export_model(model, "onnx", tmp_path), 1)
    reference = model.predict(next(iter(inputs.values())), verbose=0)
    (logits,) = run("onnx", tmp_path, inputs).values()
    assert np.abs(logits - reference).max() < 1e-5 * np.abs(reference).max()


@pytest.mark.parametrize("format", RUNTIME_FORMATS)
def test_export_same_model_gives_same_bytes(tmp_path, format):
    first, other, second = MODELS["embedding"](), MODELS["convolution"](), None
    before = hashes(export_model(first, format, tmp_path / "1"), tmp_path / "1")
    export_model(other, format, tmp_path / "2")  # moves the converters' counters
    second = hashes(export_model(first, format, tmp_path / "3"), tmp_path / "3")
    assert before == second


@pytest.mark.parametrize(
    ("format", "files"),
    [
        ("keras", ("model.keras",)),
        ("tflite", ("model.tflite",)),
        ("onnx", ("model.onnx",)),
        ("openvino", ("model.xml", "model.bin")),
    ],
)
def test_export_describes_and_writes_its_files_only(tmp_path, format, files):
    exported = export_model(MODELS["embedding"](), format, tmp_path / "a" / "b")
    assert exported.files == files
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == set(files)
    (tokens,), (logits,) = exported.inputs, exported.outputs
    assert (tokens.name, tokens.shape, tokens.dtype) == ("tokens", (None, 20), "int32")
    assert (logits.name, logits.shape, logits.dtype) == ("logits", (None, 1), "float32")


def test_export_dictionary_model_takes_the_keys_as_names(tmp_path):
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="before")
    total = keras.layers.Add(name="add")([left, right])
    model = keras.Model(
        {"left": left, "before": right},
        {"z": total, "a": keras.layers.Subtract()([left, right])},
    )
    exported = export_model(model, "tflite", tmp_path)
    outputs = run("tflite", tmp_path, {
        "left": np.full((1, 3), 5, np.float32), "before": np.ones((1, 3), np.float32)
    })  # fmt: skip
    assert {spec.name for spec in exported.outputs} == {"a", "z"}
    assert outputs["z"].tolist() == [[6, 6, 6]]
    assert outputs["a"].tolist() == [[4, 4, 4]]


def test_export_keras_file_holds_no_time_and_repeats_its_bytes(tmp_path):
    def build():
        policy = keras.DTypePolicy("float32")  # named in the file where it is shared
        x = inputs = keras.Input((3,), name="x")
        for name in ("y", "z"):
            x = keras.layers.Dense(
                3, dtype=policy, name=name, kernel_initializer="ones"
            )(x)
        return keras.Model(inputs, x, name="model"), policy

    (model, kept), (other, _) = build(), build()
    export_model(model, "keras", tmp_path / "one")
    path = tmp_path / "one" / "model.keras"
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        metadata = json.loads(archive.read("metadata.json"))
        assert b'"shared_object_id": 0' in archive.read("config.json")
    assert metadata["date_saved"] == "1980-01-01@00:00:00"
    assert metadata["keras_version"] == keras.__version__
    assert kept.name == "float32"  # it lives on: the other model's is elsewhere
    export_model(other, "keras", tmp_path / "two")
    assert len(keras.models.load_model(path).layers) == 3
    assert (tmp_path / "two" / "model.keras").read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        *("model.keras", "model.keras", "one", "two")
    ]


def test_export_keras_file_loads_with_the_same_weights(tmp_path):
    model = MODELS["convolution"]()
    export_model(model, "keras", tmp_path)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    pairs = zip(model.get_weights(), loaded.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_export_tflite_smaller_precisions_are_smaller(tmp_path):
    model = embedding_classifier(2)
    sizes = {}
    for precision in FORMATS["tflite"].exporter.precisions:
        folder = tmp_path / precision
        export_model(model, "tflite", folder, precision=precision)
        sizes[precision] = (folder / "model.tflite").stat().st_size
        inputs = {"tokens": np.arange(500, dtype=np.int32).reshape(2, 250)}
        reference = model.predict(inputs["tokens"], verbose=0)
        logits = run("tflite", folder, inputs)["logits"]
        np.testing.assert_allclose(logits, reference, atol=1e-3)
    assert sizes["float16"] < 0.51 * sizes["float32"]
    assert sizes["dynamic_range_wi8"] < 0.26 * sizes["float32"]


def test_export_onnx_names_are_the_layers(tmp_path):
    export_model(MODELS["embedding"](), "onnx", tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    assert model.opset_import[0].version == 18
    names = {tensor.name for tensor in model.graph.initializer}
    assert any("/embedding" in name for name in names)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    onnx.checker.check_model(model, full_check=True)


def lstm_model():
    sequence = keras.Input((6, 3), name="sequence")
    return keras.Model(sequence, keras.layers.LSTM(4, name="state")(sequence))


@pytest.mark.parametrize("format", RUNTIME_FORMATS)
def test_export_model_with_a_loop_still_agrees(tmp_path, format):
    model = lstm_model()
    inputs = make_inputs(export_model(model, format, tmp_path), 2)
    (output,) = run(format, tmp_path, inputs).values()
    reference = model.predict(inputs["sequence"], verbose=0)
    np.testing.assert_allclose(output, reference, atol=1e-5)


def test_export_leaves_the_model_as_it_was(tmp_path):
    model = MODELS["embedding"]()
    before = model.get_weights()
    for format in FORMATS:
        export_model(model, format, tmp_path)
    pairs = zip(before, model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_export_unknown_format_raises(tmp_path):
    with pytest.raises(
        InvalidValueError, match="format 'coreml'; choose one of 'tflite', 'onnx', 'o"
    ):
        export_model(MODELS["embedding"](), "coreml", tmp_path)


@pytest.mark.parametrize(
    ("format", "precision", "choices"),
    [
        ("onnx", "bfloat16", "float32, float16"),
        ("openvino", "int8", "float32, float16, bfloat16"),
        ("tflite", "int4", "float32, float16, dynamic_range_wi8"),
    ],
)
def test_export_precision_that_a_format_lacks_raises(
    tmp_path, format, precision, choices
):
    message = f"{format}' is written in {choices}, got precision='{precision}'"
    with pytest.raises(InvalidValueError, match=message):
        export_model(MODELS["embedding"](), format, tmp_path, precision=precision)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (Subclassed, UnsupportedModelError, "is subclassed"),
        (keras.Sequential, UnsupportedModelError, "is not built"),
        (tf_keras.Sequential, InvalidValueError, "must be a Keras 3 model"),
        (str, InvalidValueError, "must be a Keras 3 model"),
    ],
)
def test_export_other_model_raises_and_makes_no_folder(tmp_path, make, error, message):
    with pytest.raises(error, match=message):
        export_model(make(), "keras", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_export_two_outputs_of_one_layer_raises(tmp_path):
    layer = keras.layers.Dense(2, name="shared")
    first, second = keras.Input((3,), name="x"), keras.Input((3,), name="y")
    model = keras.Model([first, second], [layer(first), layer(second)])
    with pytest.raises(UnsupportedModelError, match="two outputs of the name 'shared'"):
        export_model(model, "tflite", tmp_path)


class Betainc(keras.layers.Layer):
    def call(self, inputs):
        share = tf.nn.sigmoid(inputs)
        return tf.math.betainc(share, share, share)


@pytest.mark.parametrize(
    ("format", "kind"),
    [
        ("tflite", "TFLite"),
        ("onnx", "ONNX"),
        ("openvino", "OpenVINO IR"),
    ],
)
def test_export_operator_without_counterpart_raises(tmp_path, format, kind):
    message = (
        rf"as {kind}: layer 'odd' \(Betainc: TensorFlow's Betainc\) has no "
        rf"counterpart in {kind}. Replace the layer, or choose another format.$"
    )
    values = keras.Input((4,), name="x")
    model = keras.Model(values, Betainc(name="odd")(values))
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        export_model(model, format, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_export_folder_that_cannot_be_made_raises(tmp_path, format):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        export_model(MODELS["embedding"](), format, tmp_path / "file" / "out")


def test_export_keras_file_leaves_the_optimizer_out(tmp_path):
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(50)])
    export_model(model, "keras", tmp_path / "before")
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 50)), np.zeros((4, 50)), verbose=0)
    export_model(model, "keras", tmp_path / "after")
    before, after = (
        (tmp_path / name / "model.keras").stat().st_size for name in ("before", "after")
    )
    assert after < 1.1 * before
    assert model.optimizer is not None
