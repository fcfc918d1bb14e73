"""Tests that ONNX files of other people are quantized right, or refused in one line."""

import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.quantizers import foreign_onnx
from tfcompress.errors import ModelFileError, TfcompressError, UnsupportedModelError
from tfcompress.formats import FORMATS, Precision
from tfcompress.quantizers import (
    CalibrationData,
    quantize_file,
    quantized_operators,
)

PRECISIONS = FORMATS["onnx"].quantizer.precisions
LEVELS = ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL")


def _examples(proto, count, seed):
    """Returns random inputs; integers are rows of the tables."""
    rng, inputs = np.random.default_rng(seed), {}
    constants = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        kind = value.type.tensor_type
        shape = [count, *(size.dim_value for size in kind.shape.dim[1:])]
        if value.name in constants:
            continue
        if kind.elem_type == onnx.TensorProto.INT64:
            inputs[value.name] = rng.integers(0, 40, shape)
        else:
            inputs[value.name] = rng.normal(size=shape).astype(np.float32)
    return inputs


def _batch(proto):
    """Returns the size of a batch that a model takes."""
    sizes = [value.type.tensor_type.shape.dim[0] for value in proto.graph.input]
    return max(1, sizes[0].dim_value) if sizes[0].dim_value else 16


def _run(folder, inputs, paths):
    """Runs files in a process of their own; returns name -> outputs."""
    np.savez(folder / "inputs.npz", **inputs)
    script = pathlib.Path(__file__).with_name("run_onnx.py")
    done = subprocess.run(
        [sys.executable, script, folder / "inputs.npz", folder / "out.npz", *paths],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-600:]}"
    with np.load(folder / "out.npz") as arrays:
        return dict(arrays)


def _quantize(path, folder, precision, proto):
    calibration = None
    if Precision(precision).needs_calibration:
        calibration = CalibrationData(inputs=_examples(proto, 48, seed=1))
    quantize_file(path, folder, "onnx", precision=precision, calibration=calibration)
    return folder / path.name


def _error(found, expected):
    """Returns the root mean square of what differs, relative to what is expected."""
    size = np.sqrt(np.mean(np.square(expected.astype(np.float64))))
    return np.sqrt(np.mean(np.square(found - expected.astype(np.float64)))) / size


@pytest.mark.parametrize("make", foreign_onnx.RIGHT, ids=lambda make: make.__name__)
def test_quantize_file_of_a_foreign_graph_is_right(tmp_path, make):
    proto = make()
    onnx.checker.check_model(proto)
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    paths = [path]
    paths += [_quantize(path, tmp_path / p, p, proto) for p in PRECISIONS]
    for each in paths:
        onnx.checker.check_model(str(each))
    found = _run(tmp_path, _examples(proto, _batch(proto), seed=2), paths)
    for value in proto.graph.output:
        expected = found[f"0 ORT_ENABLE_ALL {value.name}"]
        for index, precision in enumerate(PRECISIONS, 1):
            for level in LEVELS:
                error = _error(found[f"{index} {level} {value.name}"], expected)
                assert error < 0.05, (precision, level, value.name, error)


@pytest.fixture
def quantized(tmp_path):
    """Function: quantizes a model; returns its path and the quantized file's."""

    def make(proto, precision, **options):
        path = tmp_path / "model.onnx"
        onnx.save(proto, path)
        if Precision(precision).needs_calibration:
            inputs = _examples(proto, 48, seed=1)
            options["calibration"] = CalibrationData(inputs=inputs)
        quantize_file(path, tmp_path / "new", "onnx", precision=precision, **options)
        return path, tmp_path / "new" / "model.onnx"

    return make


@pytest.mark.parametrize("make", [foreign_onnx.tied_by_transpose, foreign_onnx.loop])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_quantize_file_keeps_a_shared_weight_once(quantized, precision, make):
    proto = make()
    path, target = quantized(proto, precision)
    weights = sum(np.prod(tensor.dims) for tensor in proto.graph.initializer)
    found = [np.prod(t.dims) for t in onnx.load(target).graph.initializer]
    assert max(found) * 1.0 == max(np.prod(t.dims) for t in proto.graph.initializer)
    assert sum(found) < 1.2 * weights
    assert target.stat().st_size < 0.5 * path.stat().st_size


@pytest.mark.parametrize(
    ("precision", "integer", "floating"),
    [
        ("dynamic_range_wi8", {"ConvInteger": 5, "DynamicQuantizeMatMul": 1}, 0),
        ("static_range_wi8_ai8", {"QLinearConv": 5, "QGemm": 1, "QLinearAdd": 1}, 0),
        ("weight_only_wi8", {"MatMulNBits": 1}, 5),
    ],
)
def test_quantize_file_makes_convolutions_integer(
    quantized, precision, integer, floating
):
    _, target = quantized(foreign_onnx.convolutions(), precision)
    found = quantized_operators(target)
    assert found.integer == integer
    floats = sum(n for name, n in found.floating.items() if name.endswith("Conv"))
    assert floats == floating


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid", "LeakyRelu"])
def test_quantize_file_static_product_before_an_activation_is_integer(
    quantized, activation
):
    nodes = [
        foreign_onnx.node("MatMul", "x w", "m"),
        foreign_onnx.node("Add", "m b", "h"),
        foreign_onnx.node(activation, "h", "a"),
        foreign_onnx.node("Exp", "a", "y"),
    ]
    constants = {"w": foreign_onnx.array(32, 16), "b": foreign_onnx.array(16)}
    outputs = foreign_onnx.Y("n", 16)
    proto = foreign_onnx.model(nodes, foreign_onnx.X, outputs, constants)
    _, target = quantized(proto, "static_range_wi8_ai8")
    assert quantized_operators(target).integer == {"QGemm": 1}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_quantize_file_rule_leaves_a_convolution_and_a_table_in_float(
    quantized, precision
):
    proto = foreign_onnx.convolution_1d()
    proto.graph.node[0].name, proto.graph.node[2].name = "words/Gather", "stem/Conv"
    rules = {"words": None, "Conv": None}
    _, target = quantized(proto, precision, layers=rules)
    types = {t.name: t.data_type for t in onnx.load(target).graph.initializer}
    assert types["t"] == types["w"] == onnx.TensorProto.FLOAT
    assert "v" not in types  # of the ConvTranspose, whose name no rule has


@pytest.mark.parametrize("precision", PRECISIONS)
def test_quantize_file_keeps_convolutions_on_their_grid(quantized, precision):
    random = np.random.default_rng(0)
    values = np.append(0, random.choice(np.arange(-126, 127), 14, replace=False))
    integers = {
        "w": random.choice([*values, 127], (16, 4, 3, 3)),
        "v": random.choice([*values, 127], (16, 6, 2, 2)),
    }
    integers["w"][0, 0, 0, 0] = integers["v"][0, 0, 0, 0] = 127
    nodes = [
        foreign_onnx.node("Conv", "x w", "c", group=2),
        foreign_onnx.node("ConvTranspose", "c v", "y", group=2),
    ]
    weights = {name: np.float32(a * np.float32(0.003)) for name, a in integers.items()}
    outputs = foreign_onnx.Y("n", 12, 11, 11)
    proto = foreign_onnx.model(nodes, foreign_onnx.IMAGE, outputs, weights)
    _, target = quantized(proto, precision)
    found = {
        tensor.name: onnx.numpy_helper.to_array(tensor).astype(int)
        for tensor in onnx.load(target).graph.initializer
        if len(tensor.dims) == 4
    }
    for name, wanted in integers.items():
        array = found[f"{name}_int8"]
        assert np.array_equal(array, wanted) or np.array_equal(array - 128, wanted)


def test_quantize_file_products_of_large_numbers_are_exact(quantized, tmp_path):
    """On CPUs without VNNI two products of 255 * 127 do not fit into 16 bits."""
    weights = np.where(np.arange(64)[:, None] < 32, 1, -0.5) * np.ones((1, 8))
    proto = foreign_onnx.model(
        [foreign_onnx.node("MatMul", "x w", "y")],
        {"x": (onnx.TensorProto.FLOAT, ["n", 64])},
        foreign_onnx.Y("n", 8),
        {"w": weights.astype(np.float32)},
    )
    for precision in PRECISIONS:
        path, target = quantized(proto, precision)
        inputs = {"x": np.full((4, 64), 3, np.float32)}
        found = _run(tmp_path, inputs, [path, target])
        for level in LEVELS:
            np.testing.assert_allclose(found[f"1 {level} y"], 48, rtol=0.03)


def test_quantize_file_static_activation_without_numbers_stays_float(quantized):
    nodes = [
        foreign_onnx.node("Slice", "x start start axis", "none"),
        foreign_onnx.node("MatMul", "none w", "z"),
        foreign_onnx.node("MatMul", "x w", "y"),
    ]
    constants = {"w": foreign_onnx.array(32, 8), "start": np.int64([0])}
    constants["axis"] = np.int64([0])
    outputs = foreign_onnx.Y("n", 8) | foreign_onnx.Y("m", 8, name="z")
    proto = foreign_onnx.model(nodes, foreign_onnx.X, outputs, constants)
    _, target = quantized(proto, "static_range_wi8_ai8")
    kinds = [node.op_type for node in onnx.load(target).graph.node]
    assert kinds.count("QuantizeLinear") == 1
    assert kinds.count("MatMul") == 2


def test_quantize_file_reads_weights_from_other_files(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(
        foreign_onnx.constant_nodes(),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    files = quantize_file(path, tmp_path / "new", "onnx", precision="dynamic_range_wi8")
    assert files.files == ("model.onnx",)
    found = _run(
        tmp_path,
        _examples(foreign_onnx.constant_nodes(), 4, seed=0),
        [path, tmp_path / "new" / "model.onnx"],
    )
    assert _error(found["1 ORT_ENABLE_ALL y"], found["0 ORT_ENABLE_ALL y"]) < 0.05
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(
        ModelFileError, match="keeps the weight .* cannot be read there"
    ):
        quantize_file(path, tmp_path / "x", "onnx", precision="dynamic_range_wi8")


def test_quantize_file_too_large_for_one_file_writes_two(tmp_path, monkeypatch):
    monkeypatch.setattr("tfcompress.formats.onnx_file.MAX_SINGLE_FILE_BYTES", 1000)
    proto = foreign_onnx.convolutions()
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    for precision in PRECISIONS:
        folder = tmp_path / precision
        target = _quantize(path, folder, precision, proto)
        names = sorted(file.name for file in folder.iterdir())
        assert names == ["model.onnx", "model.onnx.data"]
        found = _run(tmp_path, _examples(proto, 4, seed=0), [path, target])
        assert _error(found["1 ORT_ENABLE_ALL y"], found["0 ORT_ENABLE_ALL y"]) < 0.05


def _trees():
    """scikit-learn's exporter: a tree, and a normalization of its inputs."""
    tree = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_featureids=[0, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_truenodeids=[1, 0, 0],
        nodes_hitrates=[1.0] * 3,
        nodes_missing_value_tracks_true=[0] * 3,
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_nodeids=[0, 1, 2],
        nodes_treeids=[0] * 3,
        nodes_values=[0.5, 0.0, 0.0],
        target_ids=[0, 0],
        target_nodeids=[1, 2],
        target_treeids=[0, 0],
        target_weights=[1.0, 2.0],
    )
    return foreign_onnx.model(
        [tree], foreign_onnx.X, foreign_onnx.Y("n", 1), {}, domains=["ai.onnx.ml"]
    )


def _weights_as_inputs():
    """PyTorch with keep_initializers_as_inputs: a caller may give other weights."""
    proto = foreign_onnx.used_twice()
    proto.graph.input.append(
        helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [32, 24])
    )
    return proto


def _unknown_operator():
    nodes = [
        foreign_onnx.node("MatMul", "x w", "h"),
        foreign_onnx.node("Magic", "h", "y", domain="com.example"),
    ]
    constants = {"w": foreign_onnx.array(32, 8)}
    outputs = foreign_onnx.Y("n", 8)
    return foreign_onnx.model(
        nodes, foreign_onnx.X, outputs, constants, domains=["com.example"]
    )


def _of_opset(opset):
    nodes = [foreign_onnx.node("MatMul", "x w", "y")]
    constants = {"w": foreign_onnx.array(32, 8)}
    return foreign_onnx.model(
        nodes, foreign_onnx.X, foreign_onnx.Y("n", 8), constants, opset=opset
    )


@pytest.mark.parametrize(
    ("proto", "precision", "message"),
    [
        (_trees(), PRECISIONS[0], "has nothing to quantize: no product, convolution"),
        (_weights_as_inputs(), PRECISIONS[1], "has nothing to quantize: no product"),
        (_of_opset(10), PRECISIONS[0], "has opset 10, and 'dynamic_range_wi8' needs 1"),
        (_of_opset(12), PRECISIONS[2], "has opset 12, and 'static_range_wi8_ai8' need"),
        (_of_opset(6), PRECISIONS[1], "has opset 6, and 'weight_only_wi8' needs 7 or"),
    ],
)
def test_quantize_file_that_it_cannot_treat_raises(
    quantized, tmp_path, proto, precision, message
):
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        quantized(proto, precision)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_quantize_file_that_is_quantized_already_raises(quantized, tmp_path, precision):
    proto = foreign_onnx.convolutions()
    _, target = quantized(proto, precision)
    message = "is quantized already: it holds the operator "
    with pytest.raises(UnsupportedModelError, match=message):
        quantize_file(target, tmp_path / "x", "onnx", precision=PRECISIONS[0])
    assert not (tmp_path / "x").exists()


def test_quantize_file_of_an_operator_that_is_unknown_is_one_line(quantized):
    quantized(_unknown_operator(), "dynamic_range_wi8")  # where its library is loaded
    with pytest.raises(TfcompressError, match="cannot load '.*model.onnx'") as caught:
        quantized(_unknown_operator(), "static_range_wi8_ai8")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x08\x08\xff\xff", b"no model at all"])
def test_quantize_file_that_is_no_model_raises(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match="is (not a(n| whole) ONNX model|empty)"):
        quantize_file(
            tmp_path / "m.onnx", tmp_path / "x", "onnx", precision=PRECISIONS[0]
        )


@pytest.mark.parametrize(
    ("index", "damage"),
    [
        (0, lambda node: node.input.pop()),
        (0, lambda node: node.ClearField("output")),
        (1, lambda node: node.attribute[0].ints.append(7)),
    ],
    ids=["a lookup without ids", "no output", "a third axis"],
)
def test_quantize_file_of_an_invalid_graph_is_one_line(tmp_path, index, damage):
    proto = foreign_onnx.tied_by_transpose()
    damage(proto.graph.node[index])
    onnx.save(proto, tmp_path / "m.onnx")
    for precision in PRECISIONS[:2]:
        with pytest.raises(ModelFileError, match="is no valid ONNX model: ") as caught:
            quantize_file(
                tmp_path / "m.onnx", tmp_path / "x", "onnx", precision=precision
            )
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "x").exists()
