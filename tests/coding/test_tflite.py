"""Tests of tfcompress.coding.tflite: whole files, what stays, bad input."""

import numpy as np
import pytest

from tfcompress.coding.tflite.coder import code_tflite
from tfcompress.errors import InvalidValueError, ModelFileError
from tfcompress.formats.tflite_file import read_model, schema


def test_code_constant_that_is_an_output_is_left(files):
    import tensorflow as tf

    kernel = files.clustered(64, 64)
    path = files.convert(
        lambda x: (x @ kernel, tf.transpose(kernel)), files.floats(None, 64)
    )
    _, result = files.code(path)
    assert files.row(result).reason == "it is an input or output of the model"


def _weight_tensor(model):
    """Returns the largest constant of a model's first subgraph."""
    return max(
        (t for t in model.subgraphs[0].tensors if t.shape is not None),
        key=lambda t: len(b) if (b := model.buffers[t.buffer].data) is not None else 0,
    )


def _make_unused(model):
    (source,) = model.subgraphs[0].inputs
    model.subgraphs[0].operators[0].inputs = np.int32([source, source, -1])


def _make_sparse(model):
    _weight_tensor(model).sparsity = schema().SparsityParametersT()


def _make_state(model):
    _weight_tensor(model).isVariable = True


def _share_as_another_shape(model):
    other = schema().TensorT()
    tensor = _weight_tensor(model)
    other.shape, other.buffer = np.int32([8192]), tensor.buffer
    model.subgraphs[0].tensors.append(other)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_make_unused, "no operator uses it"),
        (_make_sparse, "it is stored as a sparse tensor already"),
        (_make_state, "it is the state of an operator"),
        (_share_as_another_shape, "tensors of several shapes or types share it"),
    ],
)
def test_code_odd_constant_is_left(files, edit, reason):
    kernel = files.clustered(64, 128)
    path = files.convert(lambda x: x @ kernel, files.floats(None, 64), edit=edit)
    coded, result = files.code(path)
    assert files.row(result).reason == reason
    assert coded.read_bytes() == path.read_bytes()


def test_code_float16_file_decodes_to_float32(files):
    import tensorflow as tf

    kernel, table = files.clustered(64, 128), files.clustered(300, 64)
    path = files.convert(
        lambda x: tf.reduce_mean(tf.gather(table, x), 1) @ kernel,
        files.ids(None, 5),
        precision="float16",
    )
    assert "DEQUANTIZE" in files.kinds(path)[0]
    coded, result = files.code(path)
    assert {row.dtype for row in result.tensors} == {"float16"}
    assert [row.code for row in result.tensors] == ["codebook"] * 2
    assert "DEQUANTIZE" not in files.kinds(coded)[0]
    files.check_same_outputs(path, coded)


def test_code_int8_file_is_copied(files):
    kernel = files.clustered(64, 128)
    path = files.convert(lambda x: x @ kernel, files.floats(None, 64), precision="int8")
    coded, result = files.code(path)
    assert coded.read_bytes() == path.read_bytes()
    assert files.row(result).dtype == "int8"
    assert files.row(result).reason == (
        "FULLY_CONNECTED computes with integers where they are constant"
    )
    assert not result.is_coded


def test_code_ordinary_weights_are_copied(files):
    kernel = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    path = files.convert(lambda x: x @ kernel, files.floats(None, 64))
    coded, result = files.code(path)
    assert coded.read_bytes() == path.read_bytes()
    assert not result.is_coded
    assert result.compression_ratio == 1
    assert files.row(result).reason == "more than 256 distinct values, 0% zeros"


def test_code_file_that_would_grow_is_copied(files):
    kernel = files.clustered(20, 30, num_values=4)
    path = files.convert(lambda x: x @ kernel, files.floats(None, 20))
    coded, result = files.code(path)
    assert coded.read_bytes() == path.read_bytes()
    assert files.row(result).reason == "the file as a whole would not be smaller"


@pytest.fixture
def signatures_path(files):
    """Two signatures that share a kernel; the second also counts its runs."""
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.shared = tf.constant(files.clustered(64, 64))
            self.own = tf.constant(files.clustered(64, 32, seed=1))
            self.table = tf.constant(files.clustered(200, 64, seed=2))
            self.count = tf.Variable(5.0)

        @tf.function(input_signature=[files.floats(None, 64)])
        def encode(self, x):
            return {"code": x @ self.shared}

        @tf.function(input_signature=[files.ids(None, 4)])
        def count_up(self, ids):
            self.count.assign_add(1.0)
            x = tf.reduce_mean(tf.gather(self.table, ids), 1)
            return {"y": x @ self.shared @ self.own, "runs": self.count.read_value()}

    module, folder = Module(), files.folder / "saved_model"
    tf.saved_model.save(
        module, folder, signatures={"encode": module.encode, "count": module.count_up}
    )
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.experimental_enable_resource_variables = True
    path = files.folder / "dense.tflite"
    path.write_bytes(converter.convert())
    return path


def test_code_signatures_share_weights_and_keep_state(files, signatures_path):
    assert "CALL_ONCE" in files.kinds(signatures_path)[0]  # the model's own variable
    coded, result = files.code(signatures_path)
    assert [row.code for row in result.tensors if row.dense_bytes > 256] == (
        ["codebook"] * 3
    )
    runs = []
    ids = np.int32([[1, 2, 3, 4], [5, 6, 7, 8]])
    x = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    for path in (signatures_path, coded):
        interpreter = files.interpreter(path)
        assert interpreter.get_signature_list().keys() == {"encode", "count"}
        count = interpreter.get_signature_runner("count")
        encode = interpreter.get_signature_runner("encode")
        runs.append([count(ids=ids), encode(x=x), count(ids=ids[:1]), encode(x=x[:1])])
    assert [float(run["runs"]) for run in runs[1][::2]] == [6.0, 7.0]
    for dense_run, coded_run in zip(*runs, strict=True):
        for name, value in dense_run.items():
            np.testing.assert_allclose(coded_run[name], value, rtol=1e-5, atol=1e-5)


def test_code_each_signature_alone_decodes(files, signatures_path):
    coded, _ = files.code(signatures_path)
    x = np.ones((1, 64), np.float32)
    for path in (coded, signatures_path):
        runner = files.interpreter(path).get_signature_runner("encode")
        np.testing.assert_allclose(
            runner(x=x)["code"], x @ files.clustered(64, 64), rtol=1e-5, atol=1e-5
        )


def test_code_keeps_metadata_and_details(files, signatures_path):
    coded, _ = files.code(signatures_path)
    dense_model, coded_model = read_model(signatures_path), read_model(coded)
    assert coded_model.description == dense_model.description
    entries = {
        entry.name: model.buffers[entry.buffer].data.tobytes()
        for model in (dense_model, coded_model)
        for entry in model.metadata
    }
    assert entries.pop(b"tfcompress.coding") == b"1"
    assert entries.pop(b"model_control_dependencies")
    assert entries.keys() == {entry.name for entry in dense_model.metadata}
    for path_pair in zip(
        *map(_details, map(files.interpreter, (signatures_path, coded))), strict=True
    ):
        assert path_pair[0] == path_pair[1]


def _details(interpreter):
    return [
        (d["name"], d["shape"].tolist(), d["shape_signature"].tolist(), d["dtype"])
        for d in interpreter.get_input_details() + interpreter.get_output_details()
    ]


def test_code_forgets_names_of_activations_and_keeps_those_of_constants(files):
    first, second = files.clustered(64, 80), files.clustered(80, 64, seed=1)
    path = files.convert(lambda x: x @ first @ second, files.floats(None, 64))
    names = [row.name for row in files.code(path)[1].tensors]
    coded, _ = files.code(path, exclude=names[:1])
    graph = read_model(coded).subgraphs[0]
    ends = {*graph.inputs.tolist(), *graph.outputs.tolist()}
    named = {t.name.decode() for t in graph.tensors if t.name is not None}
    assert names[0] in named
    assert all(graph.tensors[index].name for index in ends)
    constants = sum(
        read_model(coded).buffers[t.buffer].data is not None for t in graph.tensors
    )
    assert len(named) == len(ends) + constants < len(graph.tensors)


def test_code_twice_gives_the_same_bytes(files, signatures_path):
    first = files.code(signatures_path)[0].read_bytes()
    assert files.code(signatures_path)[0].read_bytes() == first


def test_code_leave_keeps_the_named_tensors(files):
    first, second = files.clustered(64, 80), files.clustered(80, 64, seed=1)
    path = files.convert(lambda x: x @ first @ second, files.floats(None, 64))
    names = [row.name for row in files.code(path)[1].tensors]
    coded, result = files.code(path, exclude=["no such name", names[0]])
    assert [row.code for row in result.tensors] == ["dense", "codebook"]
    assert result.tensors[0].reason == f"left as asked by {names[0]!r}"
    files.check_same_outputs(path, coded)


def test_code_coded_file_raises(files):
    kernel = files.clustered(64, 128)
    coded, _ = files.code(files.convert(lambda x: x @ kernel, files.floats(None, 64)))
    with pytest.raises(ModelFileError, match=r"coded.tflite' is coded already. Give"):
        code_tflite(coded, coded.with_name("again.tflite"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"slow_layers": "skip"},
            "slow_layers must be one of code, leave_slowest, leave, got",
        ),
        ({"exclude": ["("]}, r"exclude must be regular expressions, got '\('"),
    ],
)
def test_code_with_a_bad_option_raises(tmp_path, options, message):
    with pytest.raises(InvalidValueError, match=message):
        code_tflite(tmp_path / "dense.tflite", tmp_path / "coded.tflite", **options)


def test_code_hints_find_scales_of_blocks(files, graphs):
    import tensorflow as tf

    kernel, kernel_hint = graphs.of_blocks((128, 96), 64, axis=0)
    table, table_hint = graphs.of_blocks((300, 128), 64)
    path = files.convert(
        lambda x: tf.matmul(tf.gather(table, x), kernel), files.ids(None, None)
    )
    _, without = files.code(path)
    assert without.target_bytes > 0.9 * without.source_bytes
    coded, result = files.code(path, structures=[kernel_hint, table_hint])
    assert {row.code for row in result.tensors} == {"block_codebook"}
    assert result.target_bytes < 0.55 * 128 * (96 + 300) + 8192
    files.check_same_outputs(path, coded)


def test_code_hint_of_codebooks_of_channels_is_used(files):
    rng = np.random.default_rng(0)
    codebook = np.sort(rng.normal(size=(64, 16)).astype(np.float32))
    kernel = codebook[np.arange(64), rng.integers(0, 16, (512, 64))]
    path = files.convert(lambda x: x @ kernel, files.floats(None, 512))
    hint = {"codebook": codebook, "axis": 1}
    coded, result = files.code(path, structures=[hint])
    assert files.row(result).code == "channel_codebook"
    files.check_same_outputs(path, coded, atol=1e-4)


def test_code_hint_of_infinite_values_is_ignored(files):
    # MUL makes the largest finite number of infinity.
    codebook = np.float32([-1, 0, 1, np.inf])
    scales = np.arange(1, 129, dtype=np.float16).reshape(64, 2)
    indices = np.random.default_rng(0).integers(0, 3, (64, 128))
    indices[0, 0] = 3
    kernel = codebook[indices] * np.repeat(scales.astype(np.float32), 64, 1)
    path = files.convert(lambda x: x * kernel, files.floats(64, 128))
    hint = {"codebook": codebook, "scales": scales, "axis": 1, "block_size": 64}
    _, result = files.code(path, structures=[hint])
    assert files.row(result).code != "block_codebook"
