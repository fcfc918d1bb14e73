"""Tests of tfcompress.coding.onnx: files of every kind, opened by ONNX Runtime."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfcompress.coding.onnx.coder import code_onnx
from tfcompress.errors import InvalidValueError, ModelFileError

_ROWS, _COLUMNS = 64, 96


def _weights(*shape, num_values=16, sparsity=0.0, dtype=np.float32, seed=0):
    """Weights with exactly `num_values` distinct values beside the zero."""
    rng = np.random.default_rng(seed)
    codebook = np.unique(rng.normal(size=4 * num_values).astype(dtype))
    codebook = rng.permutation(codebook[codebook != 0])[:num_values]
    weights = codebook[rng.permutation(np.arange(np.prod(shape)) % num_values)]
    weights[rng.random(weights.size) < sparsity] = 0
    return weights.reshape(shape)


def _info(name, shape, dtype=np.float32):
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
    )


def _model(nodes, inputs, outputs, constants, *, opset=17, ir_version=8, **more):
    tensors = [numpy_helper.from_array(array, name) for name, array in constants]
    if ir_version < 4:
        inputs = [*inputs, *(_info(n, a.shape, a.dtype) for n, a in constants)]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, tensors)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(
        graph, opset_imports=imports, ir_version=ir_version, **more
    )


def _matmul(weights, **version):
    rows, columns = weights.shape
    dtype = weights.dtype
    return _model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [_info("x", ["n", rows], dtype)],
        [_info("y", ["n", columns], dtype)],
        [("w", weights)],
        **version,
    )


def _gemm():
    return _model(
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["g"], transB=1),
            helper.make_node("Relu", ["g"], ["y"]),
        ],
        [_info("x", ["n", _ROWS])],
        [_info("y", ["n", _COLUMNS])],
        [("w", _weights(_COLUMNS, _ROWS)), ("b", np.ones(_COLUMNS, np.float32))],
    )


def _convolution():
    scale = [(f"s{i}", np.linspace(0.5, 1.5, 32, dtype=np.float32)) for i in range(4)]
    return _model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
            helper.make_node(
                "BatchNormalization", ["c", *(n for n, _ in scale)], ["n"]
            ),
            helper.make_node("Relu", ["n"], ["y"]),
        ],
        [_info("x", ["n", 16, 8, 8])],
        [_info("y", ["n", 32, 8, 8])],
        [("w", _weights(32, 16, 3, 3)), *scale],
    )


def _lstm():
    return _model(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=32)],
        [_info("x", [5, "n", 24])],
        [_info("y", [5, 1, "n", 32])],
        [("w", _weights(1, 128, 24)), ("r", _weights(1, 128, 32, seed=1))],
    )


def _embedding():
    return _model(
        [helper.make_node("Gather", ["w", "x"], ["y"])],
        [_info("x", ["n", 7], np.int64)],
        [_info("y", ["n", 7, 16])],
        [("w", _weights(500, 16))],
    )


def _shared():
    return _model(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Gemm", ["m", "w"], ["y"], transB=1),
        ],
        [_info("x", ["n", _ROWS])],
        [_info("y", ["n", _ROWS])],
        [("w", _weights(_ROWS, _COLUMNS))],
    )


def _constant_node():
    weights = numpy_helper.from_array(_weights(_ROWS, _COLUMNS), "any")
    return _model(
        [
            helper.make_node("Constant", [], ["w"], value=weights),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        [_info("x", ["n", _ROWS])],
        [_info("y", ["n", _COLUMNS])],
        [],
    )


def _typed_data():
    model = _matmul(_weights(_ROWS, _COLUMNS))
    weights = numpy_helper.to_array(model.graph.initializer[0])
    del model.graph.initializer[:]
    model.graph.initializer.append(
        helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.reshape(-1))
    )
    return model


def _branches(opset=17, ir_version=8):
    """Both branches hold a weight of the same name, one of them as a Constant node."""
    graphs = []
    for seed in range(2):
        weights = numpy_helper.from_array(_weights(_ROWS, _COLUMNS, seed=seed), "w")
        nodes = [helper.make_node("MatMul", ["x", "w"], [f"y{seed}"])]
        is_initializer = seed == 0 and ir_version >= 4
        if not is_initializer:
            nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weights))
        outputs = [_info(f"y{seed}", ["n", _COLUMNS])]
        tensors = [weights] if is_initializer else []
        graphs.append(helper.make_graph(nodes, f"g{seed}", [], outputs, tensors))
    branches = dict(zip(("then_branch", "else_branch"), graphs, strict=True))
    return _model(
        [helper.make_node("If", ["c"], ["y"], **branches)],
        [_info("c", [], np.bool_), _info("x", ["n", _ROWS])],
        [_info("y", ["n", _COLUMNS])],
        [],
        opset=opset,
        ir_version=ir_version,
    )


def _loop():
    weights = numpy_helper.from_array(_weights(_ROWS, _ROWS), "w")
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w"], ["m"]),
            helper.make_node("Tanh", ["m"], ["new_state"]),
            helper.make_node("Identity", ["go_on"], ["still"]),
        ],
        "body",
        [
            _info("step", [], np.int64),
            _info("go_on", [], np.bool_),
            _info("state", ["n", _ROWS]),
        ],
        [_info("still", [], np.bool_), _info("new_state", ["n", _ROWS])],
        [weights],
    )
    return _model(
        [helper.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)],
        [_info("x", ["n", _ROWS])],
        [_info("y", ["n", _ROWS])],
        [("trips", np.array(3)), ("yes", np.array(True))],
    )


def _function():
    weights = numpy_helper.from_array(_weights(_ROWS, _COLUMNS), "any")
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function(
        "mine",
        "Dense",
        ["x"],
        ["y"],
        [
            helper.make_node("Constant", [], ["w"], value=weights),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        imports,
    )
    model = _model(
        [helper.make_node("Dense", ["x"], ["y"], domain="mine")],
        [_info("x", ["n", _ROWS])],
        [_info("y", ["n", _COLUMNS])],
        [],
        functions=[function],
    )
    model.opset_import.append(helper.make_opsetid("mine", 1))
    return model


def _output_is_a_weight():
    model = _matmul(_weights(_ROWS, _COLUMNS))
    model.graph.output.append(_info("w", [_ROWS, _COLUMNS]))
    return model


_MODELS = {
    "gemm": _gemm,
    "convolution": _convolution,
    "lstm": _lstm,
    "embedding": _embedding,
    "shared": _shared,
    "constant node": _constant_node,
    "typed data": _typed_data,
    "branches": _branches,
    "old branches": lambda: _branches(opset=7, ir_version=3),
    "loop": _loop,
    "function": _function,
    "output is a weight": _output_is_a_weight,
}


def _save(model, folder):
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def _code(model, tmp_path, **options):
    """Codes a model; returns (source, target, result)."""
    source = _save(model, tmp_path)
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "model.onnx"
    return source, target, code_onnx(source, target, **options)


def _run(path, optimized=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    feeds = {}
    for value in session.get_inputs():
        shape = [size if isinstance(size, int) else 3 for size in value.shape]
        if value.type == "tensor(bool)":
            feeds[value.name] = np.array(True)
        elif value.type == "tensor(int64)":
            feeds[value.name] = rng.integers(0, 500, shape)
        else:
            dtype = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
            values = rng.normal(size=shape)
            feeds[value.name] = values.astype(dtype.get(value.type, np.float32))
    return session.run(None, feeds)


def _assert_same_results(source, target):
    for dense, coded in zip(_run(source), _run(target), strict=True):
        assert dense.dtype == coded.dtype
        assert dense.tobytes() == coded.tobytes()


def _operators(graph):
    """All operators of a graph and its subgraphs, sorted; a Constant is none."""
    found = []
    for node in graph.node:
        if node.op_type != "Constant":
            found.append(node.op_type)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += _operators(attribute.g)
    return sorted(found)


@pytest.mark.parametrize("build", _MODELS.values(), ids=_MODELS)
def test_code_onnx_model_gives_the_same_bits_and_graph(build, tmp_path):
    source, target, result = _code(build(), tmp_path)
    assert result.is_coded
    assert target.stat().st_size == result.target_bytes < 0.5 * result.source_bytes
    _assert_same_results(source, target)
    graphs = []
    for path in (source, target):
        _run(path, optimized=tmp_path / "optimized.onnx")
        graphs.append(_operators(onnx.load(tmp_path / "optimized.onnx").graph))
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize(
    ("opset", "ir_version"),
    [(7, 3), (8, 3), (9, 4), (11, 6), (13, 7), (17, 8), (21, 10), (23, 11)],
)
@pytest.mark.parametrize("num_values", [8, 16])
@pytest.mark.parametrize("sparsity", [0.0, 0.7])
def test_code_onnx_opset_keeps_it_and_gives_the_same_bits(
    opset, ir_version, num_values, sparsity, tmp_path
):
    weights = _weights(63, 97, num_values=num_values, sparsity=sparsity)
    model = _matmul(weights, opset=opset, ir_version=ir_version)
    source, target, result = _code(model, tmp_path)
    _assert_same_results(source, target)
    coded = onnx.load(target)
    onnx.checker.check_model(coded)
    assert coded.ir_version == ir_version
    assert list(coded.opset_import) == list(model.opset_import)
    kind = "bitmap_codebook" if sparsity and opset >= 11 else "codebook"
    assert [tensor.code for tensor in result.tensors] == [kind]


@pytest.mark.parametrize("num_values", [2, 4, 7, 15, 30, 60, 100, 256])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_code_onnx_number_of_values_gives_the_bits_of_an_index(
    num_values, dtype, tmp_path
):
    weights = _weights(127, 93, num_values=num_values, dtype=dtype)
    source, target, result = _code(_matmul(weights), tmp_path)
    _assert_same_results(source, target)
    (tensor,) = result.tensors
    bits = (num_values - 1).bit_length()
    # 7 bits are three planes and 8 one: more nodes against an eighth of the bytes.
    assert tensor.num_bits in (bits, bits + 1)
    assert (tensor.num_values, tensor.dtype) == (num_values, np.dtype(dtype).name)


def test_code_onnx_large_codebook_uses_a_table_of_values(tmp_path):
    source, target, _ = _code(_matmul(_weights(512, 600)), tmp_path)
    _assert_same_results(source, target)
    operators = _operators(onnx.load(target).graph)
    assert operators == ["Cast", "Gather", "MatMul", "Reshape"]


def test_code_onnx_pruned_weights_become_a_bitmap(tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(63, 97)).astype(np.float32)
    weights[rng.random(weights.shape) < 0.6] = 0
    source, target, result = _code(_matmul(weights), tmp_path)
    _assert_same_results(source, target)
    assert [tensor.code for tensor in result.tensors] == ["bitmap"]


def test_code_onnx_pruned_weights_of_an_old_opset_stay_and_say_why(tmp_path):
    weights = np.zeros((64, 64), np.float32)
    weights[::2] = np.random.default_rng(0).normal(size=(32, 64))
    model = _matmul(weights, opset=10, ir_version=5)
    source, target, result = _code(model, tmp_path)
    (tensor,) = result.tensors
    assert tensor.code == "dense"
    assert tensor.reason == "opset 10 has no operators to decode a bitmap of float32"
    assert target.read_bytes() == source.read_bytes()


def test_code_onnx_bfloat16_is_decoded_to_the_bits(tmp_path):
    import ml_dtypes

    weights = _weights(64, 63).astype(ml_dtypes.bfloat16)
    model = _model(
        [helper.make_node("Cast", ["w"], ["y"], to=TensorProto.FLOAT)],
        [],
        [_info("y", [64, 63])],
        [("w", weights)],
    )
    source, target, result = _code(model, tmp_path)
    _assert_same_results(source, target)
    assert [tensor.dtype for tensor in result.tensors] == ["bfloat16"]


def test_code_onnx_odd_bits_survive(tmp_path):
    weights = _weights(64, 64)
    weights[:8] = np.float32(-0.0)
    weights[8:16] = np.float32(np.nan)
    weights[16:24] = np.float32(np.inf)
    weights.view(np.uint32)[24:32] = 0xFFC12345
    model = _matmul(weights)
    model.graph.output.append(_info("w", [64, 64]))
    _, target, result = _code(model, tmp_path)
    assert result.is_coded
    assert _run(target)[1].tobytes() == weights.tobytes()


def test_code_onnx_overridable_initializer_is_left(tmp_path):
    model = _matmul(_weights(_ROWS, _COLUMNS))
    model.graph.input.append(_info("w", [_ROWS, _COLUMNS]))
    _, target, result = _code(model, tmp_path)
    (tensor,) = result.tensors
    assert tensor.reason == "a graph input too, which a caller may override"
    assert result.target_bytes == target.stat().st_size == result.source_bytes


def test_code_onnx_small_and_dense_tensors_are_left_with_a_reason(tmp_path):
    model = _gemm()
    noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    model.graph.node.append(helper.make_node("MatMul", ["x", "noise"], ["z"]))
    model.graph.initializer.append(numpy_helper.from_array(noise, "noise"))
    model.graph.initializer.append(
        numpy_helper.from_array(np.zeros(8, np.float32), "small")
    )
    model.graph.output.append(_info("z", ["n", 64]))
    _, _, result = _code(model, tmp_path)
    assert {tensor.name: tensor.reason for tensor in result.tensors} == {
        "w": None,
        "b": "a code with its decoder would not be smaller",
        "noise": "more than 256 distinct values, 0% zeros",
        "small": "only 32 bytes",
    }


def test_code_onnx_tiny_file_is_copied(tmp_path):
    source, target, result = _code(_matmul(_weights(40, 8, num_values=2)), tmp_path)
    assert [t.reason for t in result.tensors] == [
        "the file as a whole would not be smaller"
    ]
    assert target.read_bytes() == source.read_bytes()


def test_code_onnx_names_metadata_and_shapes_are_kept(tmp_path):
    model = _gemm()
    model.producer_name, model.doc_string = "someone", "a model"
    model.metadata_props.add(key="license", value="free")
    model.graph.value_info.append(_info("w", [_COLUMNS, _ROWS]))
    # A name like ours, so that ours has to become another.
    model.graph.node[1].input[0] = model.graph.node[0].output[0] = "coded/0/shape"
    _, target, _ = _code(model, tmp_path)
    coded = onnx.load(target)
    assert (coded.producer_name, coded.doc_string) == ("someone", "a model")
    assert coded.metadata_props[0] == model.metadata_props[0]
    assert list(coded.graph.input) == list(model.graph.input)
    assert list(coded.graph.output) == list(model.graph.output)
    assert list(coded.graph.value_info) == list(model.graph.value_info)
    names = [tensor.name for tensor in coded.graph.initializer]
    assert names[0] == "b"
    names += itertools.chain.from_iterable(node.output for node in coded.graph.node)
    assert len(names) == len(set(names))


def test_code_onnx_twice_gives_the_same_bytes(tmp_path):
    source = _save(_branches(), tmp_path)
    for name in ("a.onnx", "b.onnx"):
        code_onnx(source, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_code_onnx_leave_keeps_what_matches(tmp_path):
    _, _, result = _code(_lstm(), tmp_path, exclude=["r|none"])
    assert {tensor.name: tensor.reason for tensor in result.tensors} == {
        "w": None,
        "r": "left as asked by 'r|none'",
    }


def test_code_onnx_leave_no_expression_raises(tmp_path):
    with pytest.raises(InvalidValueError, match=r"regular expressions, got '\('"):
        _code(_lstm(), tmp_path, exclude=["("])


def test_code_onnx_coded_file_raises(tmp_path):
    _, target, _ = _code(_gemm(), tmp_path)
    before = target.read_bytes()
    with pytest.raises(ModelFileError, match=r"is coded already\. Give the dense"):
        code_onnx(target, tmp_path / "again.onnx")
    assert target.read_bytes() == before
    assert not (tmp_path / "again.onnx").exists()


def test_code_onnx_old_opset_raises(tmp_path):
    model = _matmul(_weights(_ROWS, _COLUMNS), opset=6, ir_version=3)
    with pytest.raises(ModelFileError, match="has opset 6, and the decoder needs 7"):
        _code(model, tmp_path)
