"""Tests of tfcompress.coding.openvino: IRs of every kind, compiled by OpenVINO."""

import numpy as np
import openvino
import pytest
from openvino import opset8 as ops
from openvino import preprocess

from tfcompress.coding.openvino.coder import code_openvino
from tfcompress.errors import InvalidValueError, ModelFileError

_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


def _weights(*shape, num_values=16, sparsity=0.0, dtype=np.float32, seed=0):
    """Weights with exactly `num_values` distinct values beside the zero."""
    rng = np.random.default_rng(seed)
    codebook = np.unique(rng.normal(size=4 * num_values).astype(dtype))
    codebook = rng.permutation(codebook[codebook != 0])[:num_values]
    weights = codebook[rng.permutation(np.arange(np.prod(shape)) % num_values)]
    weights[rng.random(weights.size) < sparsity] = 0
    return weights.reshape(shape)


def _constant(array, name="weights"):
    node = ops.constant(array)
    node.set_friendly_name(name)
    return node


def _parameter(shape, dtype=np.float32, name="x"):
    node = ops.parameter(shape, dtype, name=name)
    node.output(0).set_names({name})
    return node


def _model(node, *parameters):
    node.output(0).set_names({"y"})
    return openvino.Model([node.output(0)], list(parameters), "model")


def _matmul(weights):
    x = _parameter([-1, weights.shape[0]])
    return _model(ops.matmul(x, _constant(weights), False, False), x)


def _embedding(**values):
    x = _parameter([-1, -1], np.int64)
    table = _constant(_weights(500, 32, **values))
    return _model(ops.gather(table, x, ops.constant(np.int32(0))), x)


def _convolution(**values):
    x = _parameter([-1, 32, 8, 8])
    weights = _constant(_weights(64, 32, 3, 3, **values))
    y = ops.convolution(x, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    return _model(ops.relu(ops.add(y, ops.constant(np.float32(1)))), x)


def _depthwise(**values):
    x = _parameter([-1, 320, 8, 8])
    weights = _constant(_weights(320, 1, 1, 5, 5, **values))
    return _model(ops.group_convolution(x, weights, [1, 1], [2, 2], [2, 2], [1, 1]), x)


def _lstm(**values):
    x = _parameter([2, 5, 24])
    state = ops.constant(np.zeros((2, 1, 32), np.float32))
    return _model(
        ops.lstm_sequence(
            x,
            state,
            state,
            ops.constant(np.int32([5, 5])),
            _constant(_weights(1, 128, 24, **values), "w"),
            _constant(_weights(1, 128, 32, seed=1, **values), "r"),
            ops.constant(np.zeros((1, 128), np.float32)),
            32,
            "forward",
        ),
        x,
    )


def _branch(**values):
    x, condition = _parameter([-1, 96]), _parameter([], np.bool_, "condition")
    inner = [ops.parameter([-1, 96], np.float32) for _ in range(2)]
    weights = _constant(_weights(96, 96, **values))
    product = ops.matmul(inner[0], weights, False, False)
    bodies = [
        openvino.Model([node.output(0)], [parameter], "body")
        for node, parameter in zip((product, ops.relu(inner[1])), inner, strict=True)
    ]
    node = ops.if_op(condition)
    node.set_then_body(bodies[0])
    node.set_else_body(bodies[1])
    node.set_input(x.output(0), *inner)
    node.set_output(bodies[0].results[0], bodies[1].results[0])
    return _model(node, x, condition)


def _loop(**values):
    x = _parameter([4, 96])
    state = ops.parameter([4, 96], np.float32)
    weights = _constant(_weights(96, 96, **values))
    new_state = ops.tanh(ops.matmul(state, weights, False, False))
    go_on = ops.constant(np.array([True]))
    body = openvino.Model([new_state.output(0), go_on.output(0)], [state], "body")
    loop = ops.loop(ops.constant(np.int64(3)), ops.constant(np.array(True)))
    loop.set_function(body)
    loop.set_special_body_ports([-1, 1])
    loop.set_merged_input(state, x.output(0), new_state.output(0))
    y = loop.get_iter_value(new_state.output(0), -1)
    return openvino.Model([ops.relu(y)], [x], "model")


def _two_consumers(**values):
    """The weights are a weight, and an operand of an addition."""
    x = _parameter([-1, 96])
    weights = _constant(_weights(96, 96, **values))
    product = ops.matmul(x, weights, False, False)
    return _model(ops.matmul(product, ops.add(weights, weights), False, True), x)


_MODELS = {
    "embedding": _embedding,
    "convolution": _convolution,
    "depthwise": _depthwise,
    "lstm": _lstm,
    "branch": _branch,
    "loop": _loop,
    "two consumers": _two_consumers,
}


def _code(model, tmp_path, *, compress_to_fp16=False, **options):
    """Codes a model; returns (source, target, result)."""
    source, target = tmp_path / "model.xml", tmp_path / "out" / "model.xml"
    openvino.save_model(model, source, compress_to_fp16=compress_to_fp16)
    target.parent.mkdir()
    return source, target, code_openvino(source, target, **options)


def _run(path):
    """Returns the outputs for fixed inputs."""
    compiled = openvino.Core().compile_model(path, "CPU", _FLOAT32)
    rng = np.random.default_rng(0)
    inputs = []
    for port in compiled.inputs:
        shape = [d.get_length() if d.is_static else 3 for d in port.partial_shape]
        if port.element_type == openvino.Type.boolean:
            inputs.append(np.array(True))
        elif port.element_type == openvino.Type.i64:
            inputs.append(rng.integers(0, 500, shape))
        else:
            inputs.append(rng.normal(size=shape).astype(np.float32))
    return list(compiled(inputs).values())


def _assert_same_results(source, target):
    for dense, coded in zip(_run(source), _run(target), strict=True):
        assert dense.tobytes() == coded.tobytes()


@pytest.mark.parametrize("compress_to_fp16", [False, True])
@pytest.mark.parametrize("sparsity", [0.0, 0.7])
@pytest.mark.parametrize("build", _MODELS.values(), ids=_MODELS)
def test_code_openvino_model_gives_the_same_bits(
    build, sparsity, compress_to_fp16, tmp_path
):
    source, target, result = _code(
        build(sparsity=sparsity), tmp_path, compress_to_fp16=compress_to_fp16
    )
    files = [target, target.with_suffix(".bin")]
    assert sorted(target.parent.iterdir()) == sorted(files)
    assert result.target_bytes == sum(path.stat().st_size for path in files)
    assert result.is_coded
    assert result.target_bytes < result.source_bytes
    _assert_same_results(source, target)


def test_code_openvino_codebook_is_folded_to_the_dense_graph(tmp_path):
    source, target, _ = _code(_convolution(), tmp_path)
    graphs = []
    for path in (source, target):
        compiled = openvino.Core().compile_model(path, "CPU", _FLOAT32)
        nodes = compiled.get_runtime_model().get_ops()
        graphs.append(sorted(n.get_rt_info()["layerType"].astype(str) for n in nodes))
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize(
    ("num_values", "num_bits"),
    [(2, 1), (4, 2), (7, 3), (15, 4), (30, 5), (60, 6), (100, 7), (256, 8)],
)
def test_code_openvino_number_of_values_gives_the_bits_of_an_index(
    num_values, num_bits, tmp_path
):
    model = _matmul(_weights(301, 203, num_values=num_values))
    source, target, result = _code(model, tmp_path)
    _assert_same_results(source, target)
    (tensor,) = result.tensors
    assert (tensor.code, tensor.num_bits) == ("codebook", num_bits)
    assert (tensor.num_values, tensor.dtype) == (num_values, "float32")


@pytest.mark.parametrize("num_values", [7, 15, 3000])
def test_code_openvino_pruned_weights_become_a_bitmap(num_values, tmp_path):
    weights = _weights(301, 203, num_values=num_values, sparsity=0.7)
    source, target, result = _code(_matmul(weights), tmp_path)
    _assert_same_results(source, target)
    kind = "bitmap" if num_values > 256 else "bitmap_codebook"
    assert [tensor.code for tensor in result.tensors] == [kind]


def test_code_openvino_bytes_are_foreseen(tmp_path):
    for index, model in enumerate(
        [_convolution(), _depthwise(), _matmul(_weights(301, 203, num_values=100))]
    ):
        (folder := tmp_path / str(index)).mkdir()
        _, _, result = _code(model, folder)
        saved = sum(t.dense_bytes - t.coded_bytes for t in result.tensors)
        foreseen = result.source_bytes - saved
        assert abs(result.target_bytes - foreseen) < 600


def test_code_openvino_bfloat16_is_decoded_to_the_bits(tmp_path):
    # A bfloat16 is the upper half of a float32; OpenVINO gives it as float16.
    halves = (_weights(96, 64).view(np.uint32) >> 16).astype(np.uint16)
    tensor = openvino.Tensor(
        halves.view(np.float16), openvino.Shape([96, 64]), openvino.Type.bf16
    )
    x = _parameter([1, 64])
    weights = ops.convert(openvino.op.Constant(tensor), "f32")
    source, target, result = _code(_model(ops.add(x, weights), x), tmp_path)
    _assert_same_results(source, target)
    assert [tensor.dtype for tensor in result.tensors] == ["bfloat16"]


def test_code_openvino_odd_bits_survive(tmp_path):
    weights = _weights(64, 64)
    weights[:8], weights[8:16], weights[16:24] = np.float32(-0.0), np.nan, np.inf
    x = _parameter([64, 64], np.int32)
    table = _constant(weights)
    y = ops.gather_elements(table, x, 0)
    _, target, result = _code(_model(y, x), tmp_path)
    assert result.is_coded
    compiled = openvino.Core().compile_model(target, "CPU", _FLOAT32)
    rows = np.repeat(np.arange(64, dtype=np.int32)[:, None], 64, axis=1)
    assert compiled([rows])[0].tobytes() == weights.tobytes()


def test_code_openvino_names_shapes_and_preprocessing_are_kept(tmp_path):
    model = _convolution()
    steps = preprocess.PrePostProcessor(model)
    steps.input().tensor().set_layout(openvino.Layout("NHWC"))
    steps.input().tensor().set_element_type(openvino.Type.u8)
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    model = steps.build()
    model.set_rt_info("someone", ["author"])
    _, target, _ = _code(model, tmp_path)
    coded = openvino.Core().read_model(target)
    assert coded.input("x").partial_shape.to_string() == "[?,8,8,32]"
    assert coded.input("x").element_type == openvino.Type.u8
    layout = openvino.layout_helpers.get_layout(coded.input("x"))
    assert layout == openvino.Layout("NHWC")
    assert coded.output("y").partial_shape.to_string() == "[?,64,8,8]"
    assert coded.get_rt_info(["author"]).astype(str) == "someone"
    assert coded.get_friendly_name() == "model"


def test_code_openvino_a_constant_that_is_an_output_keeps_its_names(tmp_path):
    x = _parameter([-1, 64])
    weights = _constant(_weights(64, 96))
    weights.output(0).set_names({"w"})
    y = ops.matmul(x, weights, False, False)
    model = openvino.Model([y.output(0), weights.output(0)], [x], "model")
    source, target, result = _code(model, tmp_path)
    assert result.is_coded
    assert openvino.Core().read_model(target).output("w").shape == [64, 96]
    _assert_same_results(source, target)


def test_code_openvino_reasons_are_given(tmp_path):
    x = _parameter([-1, 64])
    noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    y = ops.matmul(x, _constant(noise, "noise"), False, False)
    y = ops.matmul(y, _constant(_weights(64, 64), "left"), False, False)
    y = ops.matmul(y, _constant(_weights(64, 64, seed=1), "coded"), False, False)
    y = ops.add(y, _constant(np.ones(64, np.float32), "bias"))
    y = ops.add(y, _constant(np.ones((1, 8), np.float32).repeat(8, 1), "ones"))
    y = ops.multiply(ops.convert(y, "f64"), _constant(np.ones((1, 64)), "double"))
    _, _, result = _code(_model(y, x), tmp_path, exclude=["le.t"])
    assert {tensor.name: tensor.reason for tensor in result.tensors} == {
        "noise": "more than 256 distinct values, 0% zeros",
        "left": "left as asked by 'le.t'",
        "coded": None,
        "bias": "a code with its decoder would not be smaller",
        "ones": "a code with its decoder would not be smaller",
        "double": "OpenVINO folds no Gather of float64",
    }


def test_code_openvino_nothing_to_gain_copies_both_files(tmp_path):
    noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    source, target, result = _code(_matmul(noise), tmp_path)
    assert not result.is_coded
    assert result.target_bytes == result.source_bytes
    for suffix in (".xml", ".bin"):
        copied = target.with_suffix(suffix).read_bytes()
        assert copied == source.with_suffix(suffix).read_bytes()


def test_code_openvino_leave_no_expression_raises(tmp_path):
    with pytest.raises(InvalidValueError, match=r"regular expressions, got '\['"):
        _code(_embedding(), tmp_path, exclude=["["])


def test_code_openvino_twice_gives_the_same_bytes(tmp_path):
    source = tmp_path / "model.xml"
    openvino.save_model(_lstm(sparsity=0.5), source, compress_to_fp16=False)
    for name in ("a.xml", "b.xml"):
        code_openvino(source, tmp_path / name)
    for suffix in (".xml", ".bin"):
        first = (tmp_path / "a").with_suffix(suffix).read_bytes()
        assert first == (tmp_path / "b").with_suffix(suffix).read_bytes()


def test_code_openvino_coded_file_raises(tmp_path):
    _, target, _ = _code(_embedding(), tmp_path)
    with pytest.raises(ModelFileError, match=r"is coded already\. Give the dense"):
        code_openvino(target, tmp_path / "again.xml")
    assert not (tmp_path / "again.xml").exists()
