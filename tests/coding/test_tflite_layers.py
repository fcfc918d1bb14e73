"""Tests of how .tflite layers run on decoded weights, against the dense file."""

import numpy as np
import pytest

from tfcompress.coding.tflite.graph import Graph
from tfcompress.formats.tflite_file import schema


def test_code_dense_layer_becomes_a_matmul(files):
    import tensorflow as tf

    kernel, bias = files.clustered(64, 128), np.float32(np.arange(128) / 100)
    path = files.convert(
        lambda x: tf.nn.relu(x @ kernel + bias), files.floats(None, 64)
    )
    coded, result = files.code(path)
    row = files.row(result)
    assert (row.code, row.num_bits, row.num_values) == ("codebook", 4, 16)
    assert (row.shape, row.dtype, row.dense_bytes) == ((128, 64), "float32", 32768)
    assert not row.is_slower
    assert result.source_bytes == path.stat().st_size
    assert result.target_bytes == coded.stat().st_size
    assert result.compression_ratio > 3
    assert files.kinds(coded)[0] == [
        *("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "BATCH_MATMUL", "ADD")
    ]
    files.check_same_outputs(path, coded)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "tanh"])
@pytest.mark.parametrize("has_bias", [True, False])
def test_code_dense_layer_keeps_bias_and_activation(files, activation, has_bias):
    import tensorflow as tf

    kernel, bias = files.clustered(64, 128), np.float32(np.arange(128) / 100)

    def function(x):
        y = x @ kernel + (bias if has_bias else 0.0)
        return getattr(tf.nn, activation)(y) if activation else y

    path = files.convert(function, files.floats(None, 64))
    coded, _ = files.code(path)
    assert "FULLY_CONNECTED" not in files.kinds(coded)[0]
    files.check_same_outputs(path, coded)


def test_code_dense_layer_with_an_activation_add_lacks_reads_its_weights(files):
    def edit(model):
        options = model.subgraphs[0].operators[0].builtinOptions
        options.fusedActivationFunction = schema().ActivationFunctionType.SIGN_BIT

    kernel = files.clustered(64, 128)
    path = files.convert(lambda x: x @ kernel, files.floats(None, 64), edit=edit)
    coded, result = files.code(path)
    assert files.row(result).is_slower
    assert "FULLY_CONNECTED" in files.kinds(coded)[0]


def test_code_dense_layer_on_rank_3_keeps_dimensions(files):
    import tensorflow as tf

    kernel = files.clustered(64, 128)
    path = files.convert(
        lambda x: tf.tensordot(x, kernel, 1) + 0.5, files.floats(None, None, 64)
    )
    coded, _ = files.code(path)
    assert "FULLY_CONNECTED" not in files.kinds(coded)[0]
    files.check_same_outputs(path, coded)


@pytest.mark.parametrize(
    ("shape", "is_left"),
    [
        ((None, 64), False),  # a batch of single rows
        ((15, 64), False),
        ((16, 64), True),
        ((None, None, 64), True),
        ((None, 4, 64), False),
        ((None, 20, 64), True),
        ((None, None, None, 64), False),  # lines of an image
    ],
)
def test_code_dense_layer_multiplies_many_rows_from_the_left(files, shape, is_left):
    import tensorflow as tf

    kernel = files.clustered(64, 128)
    path = files.convert(
        lambda x: tf.nn.relu(tf.matmul(x, kernel) + 0.5), files.floats(*shape)
    )
    coded, _ = files.code(path)
    assert ("TRANSPOSE" in files.kinds(coded)[0]) == is_left
    batches = (None,) if shape[0] else (1, 3, 1)
    files.check_same_outputs(path, coded, batches=batches)


@pytest.mark.parametrize("length", [1, 7, 40])
def test_code_dense_layer_on_the_left_takes_any_length(files, length):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernel = files.clustered(64, 128)
    path = files.convert(
        lambda x: tf.matmul(x, kernel) + 0.5, files.floats(None, None, 64)
    )
    coded, _ = files.code(path)
    x = np.random.default_rng(0).normal(size=(3, length, 64)).astype(np.float32)
    for resolver in (
        OpResolverType.AUTO,
        OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        OpResolverType.BUILTIN_REF,
    ):
        interpreter = Interpreter(str(coded), experimental_op_resolver_type=resolver)
        interpreter.resize_tensor_input(0, x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(0, x)
        interpreter.invoke()
        (output,) = interpreter.get_output_details()
        found = interpreter.get_tensor(output["index"])
        np.testing.assert_allclose(found, x @ kernel + 0.5, rtol=1e-5, atol=1e-4)


def test_code_dense_layer_that_flattens_keeps_its_shape(files):
    def make_rank_3(model):
        source = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        source.shape, source.shapeSignature = (
            np.int32([1, 5, 64]),
            np.int32([-1, 5, 64]),
        )

    kernel = files.clustered(64, 128)
    path = files.convert(lambda x: x @ kernel, files.floats(None, 64), edit=make_rank_3)
    assert files.outputs(files.interpreter(path), 2)[0].shape == (10, 128)
    coded, _ = files.code(path)
    assert files.kinds(coded)[0][-2:] == ["RESHAPE", "BATCH_MATMUL"]
    files.check_same_outputs(path, coded)


@pytest.mark.parametrize("num_values", [2, 4, 7, 16, 30, 60, 120, 250])
def test_code_embedding_stays_packed(files, num_values):
    import tensorflow as tf

    table = files.clustered(2000, 10, num_values=num_values)
    path = files.convert(
        lambda x: tf.reduce_mean(tf.gather(table, x), 1), files.ids(None, 7)
    )
    coded, result = files.code(path)
    assert files.row(result).code == "codebook"
    assert "CALL_ONCE" not in files.kinds(coded)[0]
    files.check_same_outputs(path, coded, atol=0)


def test_code_embedding_lookup_operator_stays_packed(files):
    def edit(model):
        gather = model.subgraphs[0].operators[0]
        table, ids = gather.inputs
        graph = Graph(model, model.subgraphs[0], {})
        model.subgraphs[0].operators[0] = graph.operator(
            "EMBEDDING_LOOKUP", [ids, table], gather.outputs
        )

    import tensorflow as tf

    table = files.clustered(500, 12)
    path = files.convert(lambda x: tf.gather(table, x), files.ids(None), edit=edit)
    coded, result = files.code(path)
    assert files.row(result).code == "codebook"
    assert "EMBEDDING_LOOKUP" not in files.kinds(coded)[0]
    files.check_same_outputs(path, coded, atol=0)


@pytest.mark.parametrize(
    ("num_rows", "code"), [(6000, "bitmap_codebook"), (1000, "codebook")]
)
def test_code_pruned_embedding_has_a_bitmap_where_it_saves(files, num_rows, code):
    import tensorflow as tf

    table = files.clustered(num_rows, 64, num_values=15, sparsity=0.9)
    path = files.convert(
        lambda x: tf.reduce_mean(tf.gather(table, x), 1), files.ids(None, None)
    )
    coded, result = files.code(path)
    assert files.row(result).code == code
    assert not files.row(result).is_slower
    assert "CALL_ONCE" not in files.kinds(coded)[0]
    files.check_same_outputs(path, coded, atol=0)


def test_code_pruned_embedding_is_read_whole_or_left(files):
    import tensorflow as tf

    table = files.clustered(500, 16, num_values=2000, sparsity=0.9)
    path = files.convert(lambda x: tf.gather(table, x), files.ids(None, 3))
    coded, result = files.code(path)
    assert (files.row(result).code, files.row(result).is_slower) == ("bitmap", True)
    files.check_same_outputs(path, coded, atol=0)
    _, result = files.code(path, slow_layers="leave")
    assert files.row(result).reason == "a lookup would be slower in a decoded table"
    assert not result.is_coded


def test_code_tied_embedding_is_packed_once(files):
    import tensorflow as tf

    table = files.clustered(500, 24)
    path = files.convert(
        lambda x: tf.gather(table, x) @ tf.transpose(table), files.ids(None)
    )
    coded, result = files.code(path)
    row = files.row(result)
    assert row.code == "codebook"
    assert result.target_bytes < 500 * 12 + 8192
    files.check_same_outputs(path, coded)


@pytest.mark.parametrize(
    ("num_values", "sparsity", "code"),
    [
        (15, 0.5, "bitmap_codebook"),
        (5000, 0.5, "bitmap"),
        (15, 0.9, "positions_codebook"),
        (5000, 0.9, "positions"),
    ],
)
def test_code_pruned_dense_layer_keeps_what_is_there(files, num_values, sparsity, code):
    kernel = files.clustered(101, 203, num_values=num_values, sparsity=sparsity)
    path = files.convert(lambda x: x @ kernel, files.floats(None, 101))
    coded, result = files.code(path)
    assert files.row(result).code == code
    files.check_same_outputs(path, coded)


def test_code_1x1_convolution_becomes_a_matmul(files):
    import tensorflow as tf

    kernel, bias = files.clustered(1, 1, 32, 64), np.float32(np.arange(64) / 50)
    path = files.convert(
        lambda x: tf.nn.relu6(tf.nn.conv2d(x, kernel, 1, "SAME") + bias),
        files.floats(None, None, None, 32),
    )
    coded, result = files.code(path, slow_layers="leave_slowest")
    assert not files.row(result).is_slower
    assert files.kinds(coded)[0][-2:] == ["BATCH_MATMUL", "ADD"]
    files.check_same_outputs(path, coded)
    _, result = files.code(path, slow_layers="leave")
    assert files.row(result).reason == "CONV_2D would be slower with decoded weights"


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
def test_code_other_convolutions_read_their_weights(files, name, kind):
    import tensorflow as tf

    layers = {
        "conv2d": lambda x: tf.nn.conv2d(x, files.clustered(3, 3, 32, 16), 1, "SAME"),
        "strided_1x1": lambda x: tf.nn.conv2d(
            x, files.clustered(1, 1, 32, 64), 2, "SAME"
        ),
        "grouped_1x1": lambda x: tf.nn.conv2d(
            x, files.clustered(1, 1, 16, 96), 1, "SAME"
        ),
        "depthwise": lambda x: tf.nn.depthwise_conv2d(
            x, files.clustered(5, 5, 32, 1), [1, 1, 1, 1], "SAME"
        ),
        "transposed": lambda x: tf.nn.conv2d_transpose(
            x, files.clustered(3, 3, 16, 32), [1, 12, 12, 16], 2
        ),
    }
    path = files.convert(layers[name], files.floats(1, 6, 6, 32))
    coded, result = files.code(path)
    assert files.row(result).code == "codebook"
    assert files.row(result).is_slower
    assert kind in files.kinds(coded)[0]
    files.check_same_outputs(path, coded, batches=(None, None))
    _, result = files.code(path, slow_layers="leave_slowest")
    assert files.row(result).reason == f"{kind} would be slower with decoded weights"


def test_code_elementwise_constant_is_read(files):
    constant = files.clustered(40, 30)
    path = files.convert(lambda x: x * constant, files.floats(None, 40, 30))
    coded, result = files.code(path, slow_layers="leave")
    assert files.row(result).code == "codebook"
    files.check_same_outputs(path, coded, atol=0)


def test_code_operator_that_needs_a_constant_is_left(files):
    import tensorflow as tf

    constant = files.clustered(40, 30)
    path = files.convert(
        lambda x: tf.where(x > 0, x, constant), files.floats(None, 40, 30)
    )
    coded, result = files.code(path)
    assert files.row(result).reason == "SELECT_V2 needs it as a constant"
    assert coded.read_bytes() == path.read_bytes()


def test_code_two_weights_of_one_operator_are_both_read(files):
    import tensorflow as tf

    def add_product_of_constants(model):
        # A converter would have folded it.
        subgraph = model.subgraphs[0]
        graph = Graph(model, subgraph, {})
        constants = [operator.inputs[1] for operator in subgraph.operators]
        product = graph.tensor([64, 64], "FLOAT32")
        result = graph.tensor([64, 64], "FLOAT32")
        subgraph.operators += [
            graph.operator("MUL", constants, [product], "MulOptions"),
            graph.operator(
                "ADD", [subgraph.outputs[0], product], [result], "AddOptions"
            ),
        ]
        subgraph.outputs = np.int32([result])

    first, second = files.clustered(64, 64), files.clustered(64, 64, seed=1)
    path = files.convert(
        lambda x: tf.matmul(x, first) * second,
        files.floats(64, 64),
        edit=add_product_of_constants,
    )
    coded, result = files.code(path)
    assert [row.code for row in result.tensors] == ["codebook"] * 2
    files.check_same_outputs(path, coded, batches=(None, None))


def test_code_lstm_reads_its_kernels(files):
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((5, 96)), tf_keras.layers.LSTM(96)])
    kernels = files.clustered(96, 384), files.clustered(96, 384, seed=1)
    model.set_weights([*kernels, np.zeros(384, np.float32)])
    path = files.convert(lambda x: model(x), files.floats(1, 5, 96), module=model)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in files.kinds(path)[0]
    coded, result = files.code(path, slow_layers="leave")
    assert sum(row.code == "codebook" for row in result.tensors) == 8
    files.check_same_outputs(path, coded, batches=(None, None))


def test_code_weight_in_a_loop_is_decoded_once(files):
    import tensorflow as tf

    kernel = files.clustered(64, 64)

    def function(x):
        steps = tf.constant(0)
        return tf.while_loop(
            lambda step, _: step < 3,
            lambda step, y: (step + 1, tf.tanh(y @ kernel)),
            [steps, x],
        )[1]

    path = files.convert(function, files.floats(None, 64))
    coded, result = files.code(path)
    assert files.row(result).code == "codebook"
    assert files.kinds(coded)[-1].count("ASSIGN_VARIABLE") == 1
    files.check_same_outputs(path, coded)
