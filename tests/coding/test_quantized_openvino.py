"""Tests of coding int8 weights of IRs: the same bits, and integer kernels."""

import logging

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from tfcompress.coding.openvino.coder import code_openvino

_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}


def _integers(*shape, num_values=16, sparsity=0.0, seed=0):
    """int8 of so many values beside the zero; every row has 127."""
    rng = np.random.default_rng(seed)
    others = np.setdiff1d(np.arange(-126, 127), [0])
    values = np.append(rng.choice(others, num_values - 1, replace=False), 127)
    array = values[rng.integers(0, num_values, shape)]
    array[rng.random(shape) < sparsity] = 0
    array.reshape(shape[0], -1)[:, 0] = 127
    return array.astype(np.int8)


def _constant(name, *shape, sparsity, seed=0):
    weights = _integers(*shape, sparsity=sparsity, seed=seed)
    return ops.constant(weights / np.float32(64), name=name)


def _transformer(sparsity):
    ids = ops.parameter([-1, 6], np.int32, name="ids")
    table = _constant("table", 600, 128, sparsity=sparsity)
    y = ops.gather(table, ids, ops.constant(np.int32(0)))
    first = _constant("first", 512, 128, sparsity=sparsity, seed=1)
    second = _constant("second", 128, 512, sparsity=sparsity, seed=2)
    y = ops.relu(ops.matmul(y, first, False, True))
    y = ops.tanh(ops.matmul(y, second, False, True))
    return openvino.Model([ops.result(y)], [ids], "model")


def _convolutions(sparsity):
    x = ops.parameter([1, 32, 12, 12], np.float32, name="x")
    kernel = _constant("kernel", 256, 32, 3, 3, sparsity=sparsity)
    y = ops.convolution(x, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    point = _constant("point", 128, 256, 1, 1, sparsity=sparsity, seed=1)
    y = ops.convolution(ops.relu(y), point, [1, 1], [0, 0], [0, 0], [1, 1])
    return openvino.Model([ops.result(y)], [x], "model")


def _inputs(compiled):
    rng = np.random.default_rng(0)
    (port,) = compiled.inputs
    shape = [d.get_length() if d.is_static else 3 for d in port.partial_shape]
    if port.element_type == openvino.Type.i32:
        return rng.integers(0, 300, shape).astype(np.int32)
    return rng.normal(size=shape).astype(np.float32)


def _run(path):
    """Runs an IR; returns (type, kernel) of what was executed, sorted, and its bits."""
    compiled = openvino.Core().compile_model(path, "CPU", _OPTIONS)
    request = compiled.create_infer_request()
    request.infer([_inputs(compiled)])
    executed = [
        (node.node_type, node.exec_type)
        for node in request.profiling_info
        if node.status == openvino.ProfilingInfo.Status.EXECUTED
    ]
    return sorted(executed), request.get_output_tensor(0).data.tobytes()


def _quantize(model, folder, *, weight_mode=None):
    """Writes an IR that NNCF quantized: weights alone, or activations too."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    path = folder / "dense.xml"
    if weight_mode is not None:
        mode = nncf.CompressWeightsMode[weight_mode]
        model = nncf.compress_weights(model, mode=mode)
    else:
        compiled = openvino.compile_model(model, "CPU")
        options = nncf.AdvancedQuantizationParameters()
        options.smooth_quant_alphas.matmul = -1  # it would change the weights
        examples = nncf.Dataset([{0: _inputs(compiled)[:1]}])
        model = nncf.quantize(
            model, examples, subset_size=1, advanced_parameters=options
        )
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def _code(source):
    target = source.with_name("coded.xml")
    return target, code_openvino(source, target)


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("build", [_transformer, _convolutions])
def test_code_openvino_quantized_file_runs_the_same_integer_kernels(
    build, sparsity, tmp_path
):
    source = _quantize(build(sparsity), tmp_path)
    target, result = _code(source)
    large = [row for row in result.tensors if row.dense_bytes >= 8192]
    assert {row.dtype for row in large} == {"int8"}
    assert {row.code for row in large} <= {"codebook", "bitmap_codebook"}
    executed, bits = _run(source)
    assert _run(target) == (executed, bits)
    layers = [kind for name, kind in executed if name[:4] in ("Full", "Conv")]
    assert len(layers) == 2
    assert all(kind.lower().endswith("i8") for kind in layers)


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize("mode", ["INT8_SYM", "INT8_ASYM"])
def test_code_openvino_weights_of_int8_stay_compressed_in_dense_layers(
    mode, sparsity, tmp_path
):
    source = _quantize(_transformer(sparsity), tmp_path, weight_mode=mode)
    target, result = _code(source)
    assert sum(row.code != "dense" for row in result.tensors) >= 3
    (dense, bits), (coded, coded_bits) = _run(source), _run(target)
    assert coded_bits == bits
    layers = [each for each in dense if each[0] == "FullyConnectedCompressed"]
    assert len(layers) == 2
    assert [each for each in coded if each[0] == "FullyConnectedCompressed"] == layers


@pytest.mark.parametrize("size", [(31, 67), (32, 64), (40, 512), (3, 2001)])
@pytest.mark.parametrize("num_values", [16, 200])
def test_code_openvino_bitmap_of_any_size_comes_back(num_values, size, tmp_path):
    weights = _integers(*size, num_values=num_values, sparsity=0.7)
    node = ops.convert(ops.constant(weights, name="w"), "f32")
    scale = ops.constant(np.ones((size[0], 1), np.float32))
    x = ops.parameter([2, size[1]], np.float32, name="x")
    y = ops.matmul(x, ops.multiply(node, scale), False, True)
    source = tmp_path / "dense.xml"
    # What is shared is large beside one small weight: many of them pay for it.
    others = [ops.constant(_integers(256, 300, seed=seed)) for seed in range(2)]
    more = [ops.reduce_sum(ops.convert(each, "f32"), [0, 1], False) for each in others]
    y = ops.add(y, ops.add(*more))
    model = openvino.Model([ops.result(y)], [x], "model")
    openvino.save_model(model, source, compress_to_fp16=False)
    target, result = _code(source)
    (row,) = [row for row in result.tensors if row.name == "w"]
    assert row.code.startswith("bitmap") or row.dense_bytes < 8192
    assert _run(target)[1] == _run(source)[1]
