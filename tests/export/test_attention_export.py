"""Encoders through ONNX and OpenVINO: outputs, operators, lengths, coding."""

import collections

import keras
import keras_nlp
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from tfcompress.coding import code_file
from tfcompress.export import export_model
from tfcompress.runtime import load_session

MAIN_FILES = {"onnx": "model.onnx", "openvino": "model.xml"}
LAYERS, HEADS, WIDTH, WORDS = 2, 4, 64, 300

every_format = pytest.mark.parametrize("format", MAIN_FILES)


def classifier(backbone, pooled):
    """Puts a head on a backbone, and random values into every weight."""
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name) for name in backbone.input
    }
    outputs = backbone(inputs)
    vector = outputs["pooled_output"] if pooled else outputs[:, 0]
    logits = keras.layers.Dense(3, name="logits")(keras.layers.Dropout(0.1)(vector))
    model = keras.Model(inputs, logits, name="classifier")
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.2, w.shape) for w in model.weights])
    return model


def bert(dtype=None):
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=WORDS,
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=WIDTH,
        intermediate_dim=2 * WIDTH,
        max_sequence_length=40,
        name="backbone",
        dtype=dtype,
    )
    return classifier(backbone, pooled=True)


def roberta():
    backbone = keras_nlp.models.RobertaBackbone(
        vocabulary_size=WORDS,
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=WIDTH,
        intermediate_dim=2 * WIDTH,
        max_sequence_length=40,
        name="backbone",
    )
    return classifier(backbone, pooled=False)


def exact_gelu():
    """Builds an encoder block by hand, with the GELU that is no approximation."""
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="token_ids")
    x = layers.Embedding(WORDS, WIDTH, mask_zero=True)(tokens)
    y = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name="attention")(x, x)
    x = layers.LayerNormalization(name="norm")(layers.Add()([x, y]))
    x = layers.Dense(WIDTH, activation="gelu", name="hidden")(x)
    return keras.Model(tokens, layers.Dense(3, name="logits")(x), name="classifier")


MODELS = {"bert": bert, "roberta": roberta, "exact_gelu": exact_gelu}
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    """One of `MODELS`."""
    return MODELS[request.param]()


def make_inputs(model, batch, length, seed=0):
    """Makes texts of random lengths, padded, of two segments each."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, length + 1, batch)
    sizes[0] = length
    there = np.arange(length) < sizes[:, None]
    ids = random.integers(1, WORDS, (batch, length)) * there
    values = {
        "token_ids": ids,
        "padding_mask": there,
        "segment_ids": (np.arange(length) > length // 2) * there,
    }
    return {
        tensor.name: values[tensor.name].astype(np.int32) for tensor in model.inputs
    }


def predict(model, inputs):
    taken = inputs if isinstance(model.input, dict) else inputs["token_ids"]
    return keras.ops.convert_to_numpy(model(taken, training=False))


def error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def open_session(format, folder, **options):
    files = [path.name for path in folder.iterdir()]
    return load_session(format, folder, files, **options)


@every_format
def test_export_attention_agrees_for_every_batch_and_length(tmp_path, model, format):
    exported = export_model(model, format, tmp_path)
    assert [spec.name for spec in exported.outputs] == ["logits"]
    with open_session(format, tmp_path) as session:
        assert {spec.name for spec in session.inputs} == {x.name for x in model.inputs}
        assert all(spec.shape == (None, None) for spec in session.inputs)
        for seed, (batch, length) in enumerate([(1, 40), (5, 7), (3, 16), (1, 1)]):
            inputs = make_inputs(model, batch, length, seed)
            logits = session.run(inputs)["logits"]
            kept = inputs["token_ids"] != 0 if logits.ndim == 3 else slice(None)
            assert error(logits[kept], predict(model, inputs)[kept]) < 1e-5


def test_export_attention_shares_the_names_of_free_sizes(tmp_path):
    export_model(bert(), "onnx", tmp_path)
    graph = onnx.load(tmp_path / "model.onnx").graph
    sizes = {
        tuple(size.dim_param for size in value.type.tensor_type.shape.dim)
        for value in graph.input
    }
    assert sizes == {("batch", "sequence_length")}


def file_operators(path):
    return collections.Counter(node.op_type for node in onnx.load(path).graph.node)


def optimized_operators(path):
    """Counts what ONNX Runtime makes of a file on the CPU."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path.with_name("optimized.onnx"))
    options.log_severity_level = 3  # a warning that the file is for this machine
    providers = ["CPUExecutionProvider"]
    onnxruntime.InferenceSession(path, options, providers=providers)
    return file_operators(path.with_name("optimized.onnx"))


def test_export_bert_reaches_onnx_runtime_whole(tmp_path):
    export_model(bert(), "onnx", tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx.ml"}
    dense = LAYERS * 6 + 2
    in_file = file_operators(tmp_path / "model.onnx")
    assert in_file["LayerNormalization"] == 2 * LAYERS + 1
    assert in_file["MatMul"] == dense + 2 * LAYERS
    assert in_file["Reshape"] == in_file["Transpose"] == 4 * LAYERS
    assert in_file["Softmax"] == LAYERS
    assert in_file["Gather"] == 3
    run = optimized_operators(tmp_path / "model.onnx")
    assert run["FastGelu"] == LAYERS
    assert run["FusedMatMul"] == LAYERS  # the factor of the scores is a part of it
    assert run["LayerNormalization"] == 2 * LAYERS + 1
    # ONNX Runtime's is slower on a CPU than the two operators that it joins.
    assert run["SkipLayerNormalization"] == 0


def test_export_without_optimized_attention_writes_what_keras_computes(tmp_path):
    model = bert()
    export_model(model, "onnx", tmp_path, optimize_attention=False)
    assert file_operators(tmp_path / "model.onnx")["LayerNormalization"] == 0
    inputs = make_inputs(model, 3, 16, 0)
    with open_session("onnx", tmp_path) as session:
        logits = session.run(inputs)["logits"]
    assert error(logits, predict(model, inputs)) < 1e-5


def test_export_exact_gelu_is_one_operator_in_onnx_runtime(tmp_path):
    export_model(exact_gelu(), "onnx", tmp_path)
    run = optimized_operators(tmp_path / "model.onnx")
    assert run["Gelu"] + run["BiasGelu"] == 1
    assert run["Erf"] == 0


@every_model
def test_export_attention_is_one_operator_in_openvino(tmp_path, name):
    export_model(MODELS[name](), "openvino", tmp_path)
    model = openvino.Core().read_model(tmp_path / "model.xml")
    count = collections.Counter(node.get_type_name() for node in model.get_ops())
    num_layers = 1 if name == "exact_gelu" else LAYERS
    assert count["ScaledDotProductAttention"] == count["Gelu"] == num_layers
    assert count["MVN"] == (1 if name == "exact_gelu" else 2 * LAYERS + 1)
    assert count["Einsum"] == count["ReduceMean"] == 0


@pytest.mark.parametrize("num_heads", [1, 3])
@pytest.mark.parametrize("format", ["tflite", *MAIN_FILES])
def test_export_attention_of_any_number_of_heads_agrees(tmp_path, format, num_heads):
    x = keras.Input((12, 10), name="x")
    attention = keras.layers.MultiHeadAttention(num_heads, 4, name="y")
    model = keras.Model(x, attention(x, x))
    assert export_model(model, format, tmp_path).verification.error < 1e-5


@every_format
def test_export_attention_same_model_gives_same_bytes(tmp_path, format):
    model, contents = bert(), []
    for folder in (tmp_path / "1", tmp_path / "2"):
        files = export_model(model, format, folder).files
        contents.append([(folder / name).read_bytes() for name in files])
        export_model(exact_gelu(), format, tmp_path / "other")
    assert contents[0] == contents[1]


def test_export_attention_keeps_the_weights_and_their_names(tmp_path):
    model = roberta()
    export_model(model, "onnx", tmp_path)
    graph = onnx.load(tmp_path / "model.onnx").graph
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    path = "backbone/transformer_layer_1"
    kernel = stored[f"{path}/query/kernel"]
    query = model.get_layer("backbone").get_layer("transformer_layer_1")
    expected = query._self_attention_layer.query_dense.kernel.numpy()
    np.testing.assert_array_equal(kernel, expected.reshape(WIDTH, WIDTH))
    found = sorted(np.sort(array, axis=None).tobytes() for array in stored.values())
    for weight in model.get_weights():
        assert np.sort(weight, axis=None).tobytes() in found


@every_format
@pytest.mark.parametrize(
    ("policy", "bound"), [("mixed_float16", 1e-2), ("mixed_bfloat16", 5e-2)]
)
def test_export_attention_in_mixed_precision_agrees(tmp_path, format, policy, bound):
    model = bert(dtype=policy)
    export_model(model, format, tmp_path)
    inputs = make_inputs(model, 3, 16)
    logits = open_session(format, tmp_path).run(inputs)["logits"]
    assert error(logits, predict(model, inputs)) < bound


@every_format
def test_export_attention_takes_ids_of_any_integer_type(tmp_path, format):
    tokens = keras.Input((None,), dtype="uint8", name="token_ids")
    x = keras.layers.Embedding(100, 8)(tokens)
    x = keras.layers.MultiHeadAttention(2, 4, name="logits")(x, x)
    model = keras.Model(tokens, x)
    export_model(model, format, tmp_path)
    ids = np.arange(12, dtype=np.uint8).reshape(2, 6)
    logits = open_session(format, tmp_path).run({"token_ids": ids})["logits"]
    assert error(logits, predict(model, {"token_ids": ids})) < 1e-5


def clustered_bert():
    model = bert()
    random = np.random.default_rng(1)
    for weight in model.weights:
        if len(weight.shape) > 1:
            codebook = random.normal(0, 0.2, 16).astype(np.float32)
            weight.assign(codebook[random.integers(0, 16, weight.shape)])
    return model


@every_format
def test_export_clustered_attention_is_coded_and_decoded_at_load(tmp_path, format):
    model, name = clustered_bert(), MAIN_FILES[format]
    (tmp_path / "coded").mkdir()
    export_model(model, format, tmp_path / "dense")
    result = code_file(tmp_path / "dense" / name, tmp_path / "coded" / name)
    large = [row for row in result.tensors if row.dense_bytes >= 4096]
    assert len(large) == 6 * LAYERS + 3  # the layers', two embeddings', the pooler's
    assert all(row.code == "codebook" and row.num_values == 16 for row in large)
    inputs = make_inputs(model, 2, 12)
    outputs = [
        open_session(format, tmp_path / folder).run(inputs)["logits"]
        for folder in ("dense", "coded")
    ]
    np.testing.assert_array_equal(*outputs)
    if format == "onnx":
        dense, after = (
            optimized_operators(tmp_path / folder / name)
            for folder in ("dense", "coded")
        )
        assert dense == after
