"""Tests of tfcompress.coding.tflite: files of the converter, coded and run."""

import numpy as np
import pytest

from tfcompress.coding.tflite import code_tflite
from tfcompress.coding.tflite_file import model_bytes, parse_model, read_model, schema
from tfcompress.coding.tflite_graph import Graph, operator_name
from tfcompress.errors import InvalidValueError, ModelFileError


def _clustered(*shape, num_values=16, sparsity=0.0, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=num_values).astype(np.float32)
    array = values[rng.integers(0, num_values, int(np.prod(shape)))]
    array[rng.random(array.size) < sparsity] = 0
    return array.reshape(shape)


def _floats(*shape):
    import tensorflow as tf

    return tf.TensorSpec(shape, tf.float32)


def _ids(*shape):
    import tensorflow as tf

    return tf.TensorSpec(shape, tf.int32)


@pytest.fixture
def convert(tmp_path):
    """Returns a function that converts a function of tensors to a .tflite file."""

    def run(function, *specs, precision=None, edit=None, module=None):
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
        path = tmp_path / "dense.tflite"
        path.write_bytes(data)
        return path

    return run


def _code(path, **options):
    target = path.with_name("coded.tflite")
    return target, code_tflite(path, target, **options)


def _kinds(path):
    model = read_model(path)
    return [
        [operator_name(model, operator) for operator in subgraph.operators]
        for subgraph in model.subgraphs
    ]


def _interpreter(path):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path), num_threads=1)


def _outputs(interpreter, batch, seed=0):
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


def _check_same_outputs(dense, coded, *, batches=(1, 3, 1), atol=1e-5):
    """Compares the outputs of two files, each in one interpreter for all batches."""
    interpreters = _interpreter(dense), _interpreter(coded)
    for seed, batch in enumerate(batches):
        expected, found = (_outputs(each, batch, seed) for each in interpreters)
        for first, second in zip(expected, found, strict=True):
            assert first.shape == second.shape
            assert first.dtype == second.dtype
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=atol)


def _row(result, index=0):
    rows = [row for row in result.tensors if row.dense_bytes >= 1024]
    return rows[index]


def test_code_dense_layer_becomes_a_matmul(convert):
    import tensorflow as tf

    kernel, bias = _clustered(64, 128), np.float32(np.arange(128) / 100)
    path = convert(lambda x: tf.nn.relu(x @ kernel + bias), _floats(None, 64))
    coded, result = _code(path)
    row = _row(result)
    assert (row.code, row.num_bits, row.num_values) == ("codebook", 4, 16)
    assert (row.shape, row.dtype, row.dense_bytes) == ((128, 64), "float32", 32768)
    assert not row.is_slower
    assert result.source_bytes == path.stat().st_size
    assert result.target_bytes == coded.stat().st_size
    assert result.compression_ratio > 3
    assert _kinds(coded)[0] == [
        *("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "BATCH_MATMUL", "ADD")
    ]
    _check_same_outputs(path, coded)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "tanh"])
@pytest.mark.parametrize("has_bias", [True, False])
def test_code_dense_layer_keeps_bias_and_activation(convert, activation, has_bias):
    import tensorflow as tf

    kernel, bias = _clustered(64, 128), np.float32(np.arange(128) / 100)

    def function(x):
        y = x @ kernel + (bias if has_bias else 0.0)
        return getattr(tf.nn, activation)(y) if activation else y

    path = convert(function, _floats(None, 64))
    coded, _ = _code(path)
    assert "FULLY_CONNECTED" not in _kinds(coded)[0]
    _check_same_outputs(path, coded)


def test_code_dense_layer_with_an_activation_add_lacks_reads_its_weights(convert):
    def edit(model):
        options = model.subgraphs[0].operators[0].builtinOptions
        options.fusedActivationFunction = schema().ActivationFunctionType.SIGN_BIT

    kernel = _clustered(64, 128)
    path = convert(lambda x: x @ kernel, _floats(None, 64), edit=edit)
    coded, result = _code(path)
    assert _row(result).is_slower
    assert "FULLY_CONNECTED" in _kinds(coded)[0]


def test_code_dense_layer_on_rank_3_keeps_dimensions(convert):
    import tensorflow as tf

    kernel = _clustered(64, 128)
    path = convert(lambda x: tf.tensordot(x, kernel, 1) + 0.5, _floats(None, None, 64))
    coded, _ = _code(path)
    assert "FULLY_CONNECTED" not in _kinds(coded)[0]
    _check_same_outputs(path, coded)


def test_code_dense_layer_that_flattens_keeps_its_shape(convert):
    def make_rank_3(model):
        source = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        source.shape, source.shapeSignature = (
            np.int32([1, 5, 64]),
            np.int32([-1, 5, 64]),
        )

    kernel = _clustered(64, 128)
    path = convert(lambda x: x @ kernel, _floats(None, 64), edit=make_rank_3)
    assert _outputs(_interpreter(path), 2)[0].shape == (10, 128)
    coded, _ = _code(path)
    assert _kinds(coded)[0][-2:] == ["RESHAPE", "BATCH_MATMUL"]
    _check_same_outputs(path, coded)


@pytest.mark.parametrize("num_values", [2, 4, 7, 16, 30, 60, 120, 250])
def test_code_embedding_stays_packed(convert, num_values):
    import tensorflow as tf

    table = _clustered(2000, 10, num_values=num_values)
    path = convert(lambda x: tf.reduce_mean(tf.gather(table, x), 1), _ids(None, 7))
    coded, result = _code(path)
    assert _row(result).code == "codebook"
    assert "CALL_ONCE" not in _kinds(coded)[0]
    _check_same_outputs(path, coded, atol=0)


def test_code_embedding_lookup_operator_stays_packed(convert):
    def edit(model):
        gather = model.subgraphs[0].operators[0]
        table, ids = gather.inputs
        graph = Graph(model, model.subgraphs[0], {})
        model.subgraphs[0].operators[0] = graph.operator(
            "EMBEDDING_LOOKUP", [ids, table], gather.outputs
        )

    import tensorflow as tf

    table = _clustered(500, 12)
    path = convert(lambda x: tf.gather(table, x), _ids(None), edit=edit)
    coded, result = _code(path)
    assert _row(result).code == "codebook"
    assert "EMBEDDING_LOOKUP" not in _kinds(coded)[0]
    _check_same_outputs(path, coded, atol=0)


def test_code_pruned_embedding_is_read_whole_or_left(convert):
    import tensorflow as tf

    table = _clustered(500, 16, num_values=2000, sparsity=0.9)
    path = convert(lambda x: tf.gather(table, x), _ids(None, 3))
    coded, result = _code(path)
    assert (_row(result).code, _row(result).is_slower) == ("bitmap", True)
    _check_same_outputs(path, coded, atol=0)
    _, result = _code(path, slow_layers="leave")
    assert _row(result).reason == "a lookup would be slower in a decoded table"
    assert not result.is_coded


def test_code_tied_embedding_is_packed_once(convert):
    import tensorflow as tf

    table = _clustered(500, 24)
    path = convert(lambda x: tf.gather(table, x) @ tf.transpose(table), _ids(None))
    coded, result = _code(path)
    row = _row(result)
    assert row.code == "codebook"
    assert result.target_bytes < 500 * 12 + 8192
    _check_same_outputs(path, coded)


@pytest.mark.parametrize(
    ("num_values", "code"), [(15, "bitmap_codebook"), (5000, "bitmap")]
)
def test_code_pruned_dense_layer_is_a_bitmap(convert, num_values, code):
    kernel = _clustered(101, 203, num_values=num_values, sparsity=0.8)
    path = convert(lambda x: x @ kernel, _floats(None, 101))
    coded, result = _code(path)
    assert _row(result).code == code
    _check_same_outputs(path, coded)


def test_code_1x1_convolution_becomes_a_matmul(convert):
    import tensorflow as tf

    kernel, bias = _clustered(1, 1, 32, 64), np.float32(np.arange(64) / 50)
    path = convert(
        lambda x: tf.nn.relu6(tf.nn.conv2d(x, kernel, 1, "SAME") + bias),
        _floats(None, None, None, 32),
    )
    coded, result = _code(path, slow_layers="leave")
    assert not _row(result).is_slower
    assert _kinds(coded)[0][-2:] == ["BATCH_MATMUL", "ADD"]
    _check_same_outputs(path, coded)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("conv2d", "CONV_2D"),
        ("strided_1x1", "CONV_2D"),
        ("grouped_1x1", "CONV_2D"),
        ("depthwise", "DEPTHWISE_CONV_2D"),
        ("transposed", "TRANSPOSE_CONV"),
    ],
)
def test_code_other_convolutions_read_their_weights(convert, name, kind):
    import tensorflow as tf

    layers = {
        "conv2d": lambda x: tf.nn.conv2d(x, _clustered(3, 3, 32, 16), 1, "SAME"),
        "strided_1x1": lambda x: tf.nn.conv2d(x, _clustered(1, 1, 32, 64), 2, "SAME"),
        "grouped_1x1": lambda x: tf.nn.conv2d(x, _clustered(1, 1, 16, 96), 1, "SAME"),
        "depthwise": lambda x: tf.nn.depthwise_conv2d(
            x, _clustered(5, 5, 32, 1), [1, 1, 1, 1], "SAME"
        ),
        "transposed": lambda x: tf.nn.conv2d_transpose(
            x, _clustered(3, 3, 16, 32), [1, 12, 12, 16], 2
        ),
    }
    path = convert(layers[name], _floats(1, 6, 6, 32))
    coded, result = _code(path)
    assert _row(result).code == "codebook"
    assert _row(result).is_slower
    assert kind in _kinds(coded)[0]
    _check_same_outputs(path, coded, batches=(None, None))
    _, result = _code(path, slow_layers="leave")
    assert _row(result).reason == f"{kind} would be slower with decoded weights"


def test_code_elementwise_constant_is_read(convert):
    constant = _clustered(40, 30)
    path = convert(lambda x: x * constant, _floats(None, 40, 30))
    coded, result = _code(path, slow_layers="leave")
    assert _row(result).code == "codebook"
    _check_same_outputs(path, coded, atol=0)


def test_code_operator_that_needs_a_constant_is_left(convert):
    import tensorflow as tf

    constant = _clustered(40, 30)
    path = convert(lambda x: tf.where(x > 0, x, constant), _floats(None, 40, 30))
    coded, result = _code(path)
    assert _row(result).reason == "SELECT_V2 needs it as a constant"
    assert coded.read_bytes() == path.read_bytes()


def test_code_constant_that_is_an_output_is_left(convert):
    import tensorflow as tf

    kernel = _clustered(64, 64)
    path = convert(lambda x: (x @ kernel, tf.transpose(kernel)), _floats(None, 64))
    _, result = _code(path)
    assert _row(result).reason == "it is an input or output of the model"


def test_code_float16_file_decodes_to_float32(convert):
    import tensorflow as tf

    kernel, table = _clustered(64, 128), _clustered(300, 64)
    path = convert(
        lambda x: tf.reduce_mean(tf.gather(table, x), 1) @ kernel,
        _ids(None, 5),
        precision="float16",
    )
    assert "DEQUANTIZE" in _kinds(path)[0]
    coded, result = _code(path)
    assert {row.dtype for row in result.tensors} == {"float16"}
    assert [row.code for row in result.tensors] == ["codebook"] * 2
    assert "DEQUANTIZE" not in _kinds(coded)[0]
    _check_same_outputs(path, coded)


def test_code_int8_file_is_copied(convert):
    kernel = _clustered(64, 128)
    path = convert(lambda x: x @ kernel, _floats(None, 64), precision="int8")
    coded, result = _code(path)
    assert coded.read_bytes() == path.read_bytes()
    assert _row(result).dtype == "int8"
    assert _row(result).reason == "INT8 is left in the file's own precision"
    assert not result.is_coded


def test_code_ordinary_weights_are_copied(convert):
    kernel = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    path = convert(lambda x: x @ kernel, _floats(None, 64))
    coded, result = _code(path)
    assert coded.read_bytes() == path.read_bytes()
    assert not result.is_coded
    assert result.compression_ratio == 1
    assert _row(result).reason == "more than 256 distinct values, 0% zeros"


def test_code_file_that_would_grow_is_copied(convert):
    kernel = _clustered(20, 30, num_values=4)
    path = convert(lambda x: x @ kernel, _floats(None, 20))
    coded, result = _code(path)
    assert coded.read_bytes() == path.read_bytes()
    assert _row(result).reason == "the file as a whole would not be smaller"


def test_code_lstm_reads_its_kernels(convert):
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((5, 96)), tf_keras.layers.LSTM(96)])
    kernels = _clustered(96, 384), _clustered(96, 384, seed=1)
    model.set_weights([*kernels, np.zeros(384, np.float32)])
    path = convert(lambda x: model(x), _floats(1, 5, 96), module=model)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in _kinds(path)[0]
    coded, result = _code(path, slow_layers="leave")
    assert sum(row.code == "codebook" for row in result.tensors) == 8
    _check_same_outputs(path, coded, batches=(None, None))


def test_code_weight_in_a_loop_is_decoded_once(convert):
    import tensorflow as tf

    kernel = _clustered(64, 64)

    def function(x):
        steps = tf.constant(0)
        return tf.while_loop(
            lambda step, _: step < 3,
            lambda step, y: (step + 1, tf.tanh(y @ kernel)),
            [steps, x],
        )[1]

    path = convert(function, _floats(None, 64))
    coded, result = _code(path)
    assert _row(result).code == "codebook"
    assert _kinds(coded)[-1].count("ASSIGN_VARIABLE") == 1
    _check_same_outputs(path, coded)


@pytest.fixture
def signatures_path(tmp_path):
    """Two signatures that share a kernel; the second also counts its runs."""
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.shared = tf.constant(_clustered(64, 64))
            self.own = tf.constant(_clustered(64, 32, seed=1))
            self.table = tf.constant(_clustered(200, 64, seed=2))
            self.count = tf.Variable(5.0)

        @tf.function(input_signature=[_floats(None, 64)])
        def encode(self, x):
            return {"code": x @ self.shared}

        @tf.function(input_signature=[_ids(None, 4)])
        def count_up(self, ids):
            self.count.assign_add(1.0)
            x = tf.reduce_mean(tf.gather(self.table, ids), 1)
            return {"y": x @ self.shared @ self.own, "runs": self.count.read_value()}

    module, folder = Module(), tmp_path / "saved_model"
    tf.saved_model.save(
        module, folder, signatures={"encode": module.encode, "count": module.count_up}
    )
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.experimental_enable_resource_variables = True
    path = tmp_path / "dense.tflite"
    path.write_bytes(converter.convert())
    return path


def test_code_signatures_share_weights_and_keep_state(signatures_path):
    assert "CALL_ONCE" in _kinds(signatures_path)[0]  # the model's own variable
    coded, result = _code(signatures_path)
    assert [row.code for row in result.tensors if row.dense_bytes > 256] == (
        ["codebook"] * 3
    )
    runs = []
    ids = np.int32([[1, 2, 3, 4], [5, 6, 7, 8]])
    x = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    for path in (signatures_path, coded):
        interpreter = _interpreter(path)
        assert interpreter.get_signature_list().keys() == {"encode", "count"}
        count = interpreter.get_signature_runner("count")
        encode = interpreter.get_signature_runner("encode")
        runs.append([count(ids=ids), encode(x=x), count(ids=ids[:1]), encode(x=x[:1])])
    assert [float(run["runs"]) for run in runs[1][::2]] == [6.0, 7.0]
    for dense_run, coded_run in zip(*runs, strict=True):
        for name, value in dense_run.items():
            np.testing.assert_allclose(coded_run[name], value, rtol=1e-5, atol=1e-5)


def test_code_each_signature_alone_decodes(signatures_path):
    coded, _ = _code(signatures_path)
    x = np.ones((1, 64), np.float32)
    for path in (coded, signatures_path):
        runner = _interpreter(path).get_signature_runner("encode")
        np.testing.assert_allclose(
            runner(x=x)["code"], x @ _clustered(64, 64), rtol=1e-5, atol=1e-5
        )


def test_code_keeps_metadata_and_details(signatures_path):
    coded, _ = _code(signatures_path)
    dense_model, coded_model = read_model(signatures_path), read_model(coded)
    assert coded_model.description == dense_model.description
    entries = {
        entry.name: model.buffers[entry.buffer].data.tobytes()
        for model in (dense_model, coded_model)
        for entry in model.metadata
    }
    assert entries.pop(b"tfcompress.coding") == b"1"
    assert entries.keys() == {entry.name for entry in dense_model.metadata}
    for path_pair in zip(*map(_details, (signatures_path, coded)), strict=True):
        assert path_pair[0] == path_pair[1]


def _details(path):
    interpreter = _interpreter(path)
    return [
        (d["name"], d["shape"].tolist(), d["shape_signature"].tolist(), d["dtype"])
        for d in interpreter.get_input_details() + interpreter.get_output_details()
    ]


def test_code_twice_gives_the_same_bytes(signatures_path):
    first = _code(signatures_path)[0].read_bytes()
    assert _code(signatures_path)[0].read_bytes() == first


def test_code_leave_keeps_the_named_tensors(convert):
    first, second = _clustered(64, 80), _clustered(80, 64, seed=1)
    path = convert(lambda x: x @ first @ second, _floats(None, 64))
    names = [row.name for row in _code(path)[1].tensors]
    coded, result = _code(path, leave=["no such name", names[0]])
    assert [row.code for row in result.tensors] == ["dense", "codebook"]
    assert result.tensors[0].reason == f"left as asked by {names[0]!r}"
    _check_same_outputs(path, coded)


def test_code_coded_file_raises(convert):
    kernel = _clustered(64, 128)
    coded, _ = _code(convert(lambda x: x @ kernel, _floats(None, 64)))
    with pytest.raises(ModelFileError, match=r"coded.tflite' is coded already. Give"):
        code_tflite(coded, coded.with_name("again.tflite"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slow_layers": "skip"}, r"slow_layers must be one of \('code', 'leave'\)"),
        ({"leave": ["("]}, r"leave must be regular expressions, got '\('"),
    ],
)
def test_code_with_a_bad_option_raises(tmp_path, options, message):
    with pytest.raises(InvalidValueError, match=message):
        code_tflite(tmp_path / "dense.tflite", tmp_path / "coded.tflite", **options)
