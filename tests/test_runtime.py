"""Sessions on the real runtimes, with a tiny model whose answers are known."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfcompress.errors import ArtifactError, InvalidValueError, MissingDependencyError
from tfcompress.formats import FORMATS, RUNTIMES
from tfcompress.runtime import (
    TensorSpec,
    check_inputs,
    import_runtime,
    load_session,
    onnxruntime,
    openvino,
    operators_elsewhere,
)
from tfcompress.runtime.devices import find_devices

TOKENS = np.array([[0, 0, 0, 0], [4, 4, 4, 4], [1, 2, 3, 4]], np.int32)
LOGITS = np.array([[-1.0], [1.0], [0.25]], np.float32)

every_format = pytest.mark.parametrize("format", FORMATS)


def load(paths, format, **options):
    return load_session(format, paths[0].parent, [p.name for p in paths], **options)


def copy_files(paths, folder):
    return [shutil.copy(path, folder) and folder / path.name for path in paths]


@every_format
def test_session_tiny_model_gives_known_logits(format, tiny_model_files):
    with load(tiny_model_files(format), format) as session:
        assert session.inputs == (TensorSpec("tokens", (None, 4), "int32"),)
        outputs = session.run({"tokens": TOKENS})
    np.testing.assert_allclose(outputs["logits"], LOGITS, rtol=1e-6)
    assert outputs["logits"].dtype == np.float32


@every_format
def test_session_changing_batch_size_keeps_each_answer(format, tiny_model_files):
    session = load(tiny_model_files(format), format, num_threads=1)
    one = session.run({"tokens": TOKENS[:1]})["logits"]
    three = session.run({"tokens": TOKENS})["logits"]
    again = session.run({"tokens": TOKENS[1:2]})["logits"]
    # `one` and `three` are copies, which a later run leaves alone.
    np.testing.assert_allclose(one, LOGITS[:1], rtol=1e-6)
    np.testing.assert_allclose(three, LOGITS, rtol=1e-6)
    np.testing.assert_allclose(again, LOGITS[1:2], rtol=1e-6)


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_session_of_openvino_has_the_names_and_answers_of_the_file(
    format, tiny_model_files
):
    with load(tiny_model_files(format), format, runtime="openvino") as session:
        assert session.inputs == (TensorSpec("tokens", (None, 4), "int32"),)
        outputs = session.run({"tokens": TOKENS})
    np.testing.assert_allclose(outputs["logits"], LOGITS, rtol=1e-6)


@pytest.mark.parametrize(
    ("format", "runtime", "message"),
    [
        ("onnx", "onnxruntime", "^ONNX Runtime cannot use 'CUDAExecutionProvider' he"),
        ("keras", "tensorflow", "^TensorFlow finds no 'gpu' here, only [^\n]*CPU:0. I"),
        ("openvino", "openvino", "^openvino cannot load '[^\n]*$"),
    ],
)
def test_load_session_on_a_device_that_is_not_here_is_one_line(
    format, runtime, message, tiny_model_files
):
    """The request reaches the runtime; where it has the device, it is used."""
    paths = tiny_model_files(format)
    if "gpu" in find_devices(runtime).values():
        outputs = load(paths, format, device="gpu").run({"tokens": TOKENS})
        np.testing.assert_allclose(outputs["logits"], LOGITS, rtol=1e-3)
        return
    with pytest.raises((ArtifactError, InvalidValueError), match=message):
        load(paths, format, device="gpu")


def test_load_session_on_a_device_that_the_runtime_has_not_raises(tiny_model_files):
    message = "^No runtime 'litert' of format 'tflite' runs on the device 'gpu': its f"
    with pytest.raises(InvalidValueError, match=message):
        load(tiny_model_files("tflite"), "tflite", device="gpu")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_finds_the_cpu(runtime):
    assert "cpu" in find_devices(runtime).values()


def test_operators_elsewhere_are_none_on_the_cpu(tiny_model_files):
    path = tiny_model_files("onnx")[0]
    assert operators_elsewhere("onnx", path.parent, [path.name]) == ()
    for module in (onnxruntime, openvino):  # as the runtime itself says
        assert module.operators_elsewhere(path, "cpu") == ()


def test_operators_elsewhere_are_those_that_another_provider_runs(
    tiny_model_files, monkeypatch
):
    """ONNX Runtime's package has a second provider, without a kernel of its own."""
    path = tiny_model_files("onnx")[0]
    pair = ("AzureExecutionProvider", "CPUExecutionProvider")
    monkeypatch.setitem(onnxruntime._PROVIDERS, "gpu", pair)
    found = operators_elsewhere("onnx", path.parent, [path.name], device="gpu")
    assert found == ("Gather", "Gemm", "ReduceMean")
    session = load([path], "onnx", device="gpu")
    outputs = session.run({"tokens": TOKENS})["logits"]
    np.testing.assert_allclose(outputs, LOGITS, rtol=1e-6)


def test_session_tflite_without_signature_has_the_names_of_tensors(
    tmp_path, tiny_model_files
):
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    content = tiny_model_files("tflite")[0].read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    model.signatureDefs = []
    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "model.tflite").write_bytes(builder.Output())
    session = load_session("tflite", tmp_path, ["model.tflite"])
    name = session.inputs[0].name
    outputs = session.run({name: TOKENS})
    assert name != "tokens"
    np.testing.assert_allclose(next(iter(outputs.values())), LOGITS, rtol=1e-6)


def test_session_keras_dict_of_outputs_has_its_keys(tmp_path):
    import keras

    a = keras.Input((1,), name="a")
    b = keras.Input((1,), name="b")
    minus = keras.layers.Subtract(name="minus")([a, b])
    plus = keras.layers.Add(name="plus")([a, b])
    model = keras.Model({"b": b, "a": a}, {"y": plus, "x": minus})
    model.save(tmp_path / "model.keras")
    session = load_session("keras", tmp_path, ["model.keras"])
    three, two = np.full((1, 1), 3, np.float32), np.full((1, 1), 2, np.float32)
    outputs = session.run({"b": two, "a": three})
    assert {name: float(array[0, 0]) for name, array in outputs.items()} == {
        "x": 1.0,
        "y": 5.0,
    }


def product_model(folder):
    """Writes an IR that multiplies by 64 weights; gives an input and the output."""
    import openvino
    from openvino import opset13 as ops

    x = ops.parameter([-1, 64], np.float32, name="x")
    weights = np.random.default_rng(0).normal(size=(64, 1)).astype(np.float32)
    product = ops.matmul(x, ops.constant(weights), False, False)
    x.output(0).set_names({"x"})
    product.output(0).set_names({"y"})
    model = openvino.Model([product], [x], "product")
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    values = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    return {"x": values}, values @ weights


def test_session_openvino_computes_in_float32_unless_asked(tmp_path):
    inputs, exact = product_model(tmp_path)
    session = load_session("openvino", tmp_path, ["model.xml", "model.bin"])
    np.testing.assert_allclose(session.run(inputs)["y"], exact, rtol=1e-4)


def test_session_openvino_bfloat16_needs_a_cpu_that_has_it(tmp_path):
    import openvino

    inputs, exact = product_model(tmp_path)

    def run():
        files = ["model.xml", "model.bin"]
        session = load_session("openvino", tmp_path, files, precision="bfloat16")
        return session.run(inputs)["y"]

    # The message and the arithmetic: each machine tests the one that it can.
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        difference = np.abs(run() - exact).max() / np.abs(exact).max()
        assert 1e-5 < difference < 0.1
    else:
        with pytest.raises(InvalidValueError, match="cannot compute in bfloat16: it"):
            run()


def test_load_session_unknown_format_names_the_choices(tmp_path):
    message = "Unknown format 'torch'; choose one of 'tflite', 'onnx', 'openvino', 'ker"
    with pytest.raises(InvalidValueError, match=message):
        load_session("torch", tmp_path, ["model.pt"])
    with pytest.raises(InvalidValueError, match=message):
        import_runtime("torch")


def test_load_session_no_threads_raises(tiny_model_files):
    with pytest.raises(InvalidValueError, match="num_threads must be positive, got 0"):
        load(tiny_model_files("onnx"), "onnx", num_threads=0)


def test_load_session_without_main_file_raises(tmp_path):
    message = (
        r"needs one file of each suffix \.onnx, of one name; its files are \['a'\]"
    )
    with pytest.raises(ArtifactError, match=message):
        load_session("onnx", tmp_path, ["a"])


def test_load_session_openvino_without_named_weights_raises(tiny_model_files):
    paths = tiny_model_files("openvino")
    with pytest.raises(
        ArtifactError, match=r"each suffix \.xml and \.bin, of one name"
    ):
        load_session("openvino", paths[0].parent, ["model.xml"])


def test_load_session_missing_file_raises(tmp_path):
    with pytest.raises(ArtifactError, match=r"model\.onnx' is missing"):
        load_session("onnx", tmp_path, ["model.onnx"])


@every_format
@pytest.mark.parametrize("content", [b"", b"this is no model"])
def test_load_session_damaged_file_is_one_line(
    format, content, tmp_path, tiny_model_files
):
    paths = copy_files(tiny_model_files(format), tmp_path)
    paths[0].write_bytes(content)
    message = (
        f"^{FORMATS[format].runtime.name} cannot load '.*{paths[0].name}': [^\n]+$"
    )
    with pytest.raises(ArtifactError, match=message):
        load(paths, format)


@every_format
def test_load_session_truncated_file_is_one_line(format, tmp_path, tiny_model_files):
    paths = copy_files(tiny_model_files(format), tmp_path)
    last = paths[-1]  # of OpenVINO's two the weights
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    with pytest.raises(ArtifactError, match="^[a-z]+ cannot load '[^\n]+': [^\n]+$"):
        load(paths, format)


def test_load_session_keras_lambda_is_refused(tmp_path):
    import keras

    x = keras.Input((3,))
    keras.Model(x, keras.layers.Lambda(lambda y: 2 * y)(x)).save(
        tmp_path / "model.keras"
    )
    with pytest.raises(ArtifactError, match="tensorflow cannot load .*Lambda"):
        load_session("keras", tmp_path, ["model.keras"])


def test_load_session_keras_other_backend_raises(tiny_model_files):
    folder = tiny_model_files("keras")[0].parent
    code = (
        "import os; os.environ['KERAS_BACKEND'] = 'openvino'\n"
        "from tfcompress.runtime import load_session\n"
        f"load_session('keras', {str(folder)!r}, ['model.keras'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        "Keras backend of this process is 'openvino'; set KERAS_BACKEND" in done.stderr
    )


@pytest.mark.parametrize(
    ("format", "package", "extra"),
    [
        ("tflite", "ai_edge_litert", "tflite"),
        ("onnx", "onnxruntime", "onnx"),
        ("openvino", "openvino", "openvino"),
        ("keras", "tensorflow", "compress"),
    ],
)
def test_import_runtime_not_installed_names_the_extra(
    format, package, extra, monkeypatch
):
    class Absent:
        """Finds no module of the package, as where it is not installed."""

        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    name = package.replace("_", "-")
    message = rf"'{name}' is needed .*pip install {name} .*extra '{extra}'"
    with pytest.raises(MissingDependencyError, match=message):
        import_runtime(format)


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_session_token_out_of_range_is_one_line(format, tiny_model_files):
    session = load(tiny_model_files(format), format)
    message = (
        f"^{FORMATS[format].runtime.name} cannot run '[^\n]*': [^\n]*out of[^\n]*$"
    )
    with pytest.raises(ArtifactError, match=message):
        session.run({"tokens": np.full((1, 4), 99, np.int32)})


def test_session_closed_raises(tiny_model_files):
    session = load(tiny_model_files("onnx"), "onnx")
    session.close()
    session.close()
    with pytest.raises(InvalidValueError, match=r"session of .* is closed; open anot"):
        session.run({"tokens": TOKENS})


@every_format
def test_session_wrong_length_raises(format, tiny_model_files):
    session = load(tiny_model_files(format), format)
    message = r"'tokens' must have shape \(None, 4\), got \(1, 5\)"
    with pytest.raises(InvalidValueError, match=message):
        session.run({"tokens": np.zeros((1, 5), np.int32)})


SPECS = (TensorSpec("a", (None, 2), "int32"), TensorSpec("b", (None,), "float32"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c": np.zeros(3)}, r"no input 'c'; its inputs are \['a', 'b'\]"),
        ({"b": None}, "Input 'b' must be a numpy array, got NoneType"),
        ({"a": [[1, 2]]}, "Input 'a' must be a numpy array, got list"),
        (
            {"a": np.zeros((3, 2), np.int64)},
            r"must have dtype 'int32', got 'int64'. Convert it with .astype\('int32'\)",
        ),
        ({"b": np.zeros((3, 1), np.float32)}, r"shape \(None,\), got \(3, 1\)"),
        ({"b": np.zeros((), np.float32)}, r"shape \(None,\), got \(\)"),
        (
            {"b": np.zeros(4, np.float32)},
            r"same leading dimension \(the batch\), got 3 for 'a', 4 for 'b'",
        ),
    ],
)
def test_check_inputs_wrong_array_raises(change, message):
    right = {"a": np.zeros((3, 2), np.int32), "b": np.zeros(3, np.float32)}
    check_inputs(SPECS, right)
    with pytest.raises(InvalidValueError, match=message):
        check_inputs(SPECS, right | change)


def test_check_inputs_missing_input_raises():
    with pytest.raises(InvalidValueError, match="Input 'b' is missing; the model's in"):
        check_inputs(SPECS, {"a": np.zeros((3, 2), np.int32)})


def test_session_tflite_of_integers_takes_and_gives_real_numbers(tmp_path):
    import tensorflow as tf

    weights = tf.constant([[1.0, -2.0], [0.5, 3.0]])
    values = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 2), name="values")])
    def product(values):
        return {"logits": tf.matmul(values, weights)}

    function = product.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in values)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    with load_session("tflite", tmp_path, ["model.tflite"]) as session:
        assert session.inputs[0].dtype == "float32"
        inputs = {session.inputs[0].name: np.array([[0.5, -0.25]], np.float32)}
        (outputs,) = session.run(inputs).values()
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, [[0.375, -1.75]], atol=0.05)
    far = {session.inputs[0].name: np.array([[9.0, 0.0]], np.float32)}
    with load_session("tflite", tmp_path, ["model.tflite"]) as session:
        (clipped,) = session.run(far).values()
    np.testing.assert_allclose(clipped, [[1.0, -2.0]], atol=0.05)  # as 1.0 would give
