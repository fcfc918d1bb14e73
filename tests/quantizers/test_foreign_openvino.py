"""Tests that IRs of other models are quantized right, and keep their grids."""

import functools
import importlib.util
import pathlib

import numpy as np
import openvino
import pytest

from tfcompress.errors import ModelFileError, UnsupportedModelError
from tfcompress.formats import FORMATS, Precision
from tfcompress.quantizers import (
    CalibrationData,
    quantize_file,
    quantized_operators,
)
from tfcompress.runtime import load_session

_PATH = pathlib.Path(__file__).with_name("foreign_openvino.py")
_SPEC = importlib.util.spec_from_file_location("foreign_openvino", _PATH)
foreign_openvino = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(foreign_openvino)
GRAPHS = foreign_openvino.GRAPHS

PRECISIONS = FORMATS["openvino"].quantizer.precisions
KEEP_GRIDS = ("static_range_wi8_ai8", "weight_only_wi8", "weight_only_wi4")
BOUNDS = {
    "static_range_wi8_ai8": 0.1,
    "weight_only_wi8": 0.05,
    "weight_only_wi4": 0.2,
    "weight_only_nf4": 0.2,
    "weight_only_cb4": 0.3,
}


@pytest.fixture(scope="module")
def dense_path(tmp_path_factory):
    """Function: name of the graph -> path of its dense file."""
    folder = tmp_path_factory.mktemp("foreign")

    @functools.cache
    def make(name):
        return GRAPHS[name][0](folder / f"{name}.xml")

    return make


def _inputs(name, count=40):
    shape, dtype = GRAPHS[name][1]
    random = np.random.default_rng(1)
    return {"x": random.normal(size=(count, *shape)).astype(dtype)}


def _quantize(path, name, precision, folder):
    data = CalibrationData(inputs=_inputs(name))
    quantize_file(
        path,
        folder,
        "openvino",
        precision=precision,
        calibration=data if Precision(precision).needs_calibration else None,
    )
    return folder / path.name


def _run(path, inputs):
    files = [path.name, path.with_suffix(".bin").name]
    with load_session("openvino", path.parent, files) as session:
        (result,) = session.run(inputs).values()
    return result


def _static_error(folder, x, y, values, num_run=None):
    """Returns how far static int8 is from a graph of one input, of its largest output.

    Args:
        folder: where the files go.
        x, y: the graph's parameter and result.
        values: calibration data.
        num_run: how many of them are run and compared; all by default.
    """
    x.output(0).set_names({"x"})
    y.output(0).set_names({"y"})
    source = folder / "small.xml"
    openvino.save_model(openvino.Model([y], [x], "small"), source)
    quantize_file(
        source,
        folder / "new",
        "openvino",
        precision="static_range_wi8_ai8",
        calibration=CalibrationData(inputs={"x": values}),
    )
    paths = (source, folder / "new" / source.name)
    dense, quantized = (_run(path, {"x": values[:num_run]}) for path in paths)
    return np.abs(dense - quantized).max() / np.abs(dense).max()


def _integers(path):
    """Returns the int8 constants of a file, the packed ones of 4 bits left out."""
    return [
        node.data
        for node in openvino.Core().read_model(path).get_ops()
        if node.get_type_name() == "Constant"
        and node.get_element_type().get_type_name() == "i8"
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "no_weights"])
def test_foreign_ir_is_right(tmp_path, dense_path, name, precision):
    source = dense_path(name)
    path = _quantize(source, name, precision, tmp_path)
    inputs = {key: values[:12] for key, values in _inputs(name).items()}
    dense, quantized = _run(source, inputs), _run(path, inputs)
    error = ((dense - quantized) ** 2).mean() / (dense**2).mean()
    assert error**0.5 < BOUNDS[precision]
    # Next to the weights a file holds biases, scales and shapes.
    sizes = [p.with_suffix(".bin").stat().st_size for p in (source, path)]
    assert sizes[1] < sizes[0] * (0.6 if name == "halves" else 0.4)


@pytest.mark.parametrize("name", ["convolutions", "halves"])
@pytest.mark.parametrize("precision", KEEP_GRIDS)
def test_sixteen_values_stay_sixteen_in_convolutions(
    tmp_path, dense_path, name, precision
):
    found = _integers(_quantize(dense_path(name), name, precision, tmp_path))
    assert len(found) == 8  # of all kinds, and the product
    steps = np.float32(foreign_openvino.CODEBOOK / foreign_openvino.STEP)
    for integers in found:
        assert set(np.unique(integers)) <= set(steps.astype(np.int8))


@pytest.mark.parametrize("precision", KEEP_GRIDS)
def test_sixteen_values_stay_sixteen_in_recurrent_layers(
    tmp_path, dense_path, precision
):
    found = _integers(
        _quantize(dense_path("recurrent"), "recurrent", precision, tmp_path)
    )
    lstm = [values for values in found if len(values) == 2]
    assert len(lstm) == 2
    steps = np.float32(foreign_openvino.CODEBOOK / foreign_openvino.STEP)
    for integers in lstm:
        assert set(np.unique(integers)) <= set(steps.astype(np.int8))


def _plain(*shape, seed=0):
    """Makes weights of 16 values that lie on no grid, one of them zero."""
    random = np.random.default_rng([seed, *shape])
    centroids = np.append(random.normal(size=15), 0).astype(np.float32)
    fan_in = int(np.prod(shape)) / max(shape[:2])
    return random.choice(centroids, shape) * np.float32(1.4 / fan_in**0.5)


@pytest.mark.parametrize("precision", ["static_range_wi8_ai8", "weight_only_wi8"])
def test_zeros_of_weights_on_no_grid_stay_zeros(tmp_path, precision):
    source = foreign_openvino.convolutions(tmp_path / "plain.xml", _plain)
    found = _integers(_quantize(source, "convolutions", precision, tmp_path / "new"))
    sizes = {values.shape: (values == 0).sum() for values in found}
    expected = {}
    for node in openvino.Core().read_model(source).get_ops():
        if node.get_friendly_name().startswith("weights_"):
            expected[tuple(node.shape)] = (node.data == 0).sum()
    assert len(expected) == 8
    for shape, count in expected.items():
        assert sizes[shape] >= count > 0


def test_static_file_computes_convolutions_in_integers(tmp_path, dense_path):
    path = _quantize(
        dense_path("convolutions"), "convolutions", "static_range_wi8_ai8", tmp_path
    )
    found = quantized_operators(path)
    assert found.integer == {"Convolution": 5, "FullyConnected": 1}
    # The CPU plugin dequantizes the weights of transposed ones.
    assert found.floating["Deconvolution"] == 2


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_few_inputs_do_not_overflow_sixteen_bits(tmp_path, activation):
    """Weights of +-127, activations far from the least: 255 x (127 + 127) > 32,767."""
    from openvino import opset13 as ops

    random = np.random.default_rng(0)
    x = ops.parameter([-1, 16], np.float32, name="x")
    kernel = random.choice(np.float32([-1, 1, 0.9]), (8, 16))
    activations = getattr(ops, activation)(x)
    product = ops.matmul(activations, ops.constant(kernel), False, True)
    values = random.normal(0, 3, (40, 16)).astype(np.float32)
    assert _static_error(tmp_path, x, product, values) < 0.03


@pytest.mark.parametrize("precision", PRECISIONS)
def test_ir_without_weights_is_refused(tmp_path, dense_path, precision):
    message = r"has no layer with constant float32 weights that .* its operators are Co"
    with pytest.raises(UnsupportedModelError, match=message):
        _quantize(dense_path("no_weights"), "no_weights", precision, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_damaged_ir_is_refused(tmp_path, dense_path):
    source = dense_path("convolutions")
    path = tmp_path / "damaged.xml"
    path.write_bytes(source.read_bytes()[:4000])
    path.with_suffix(".bin").write_bytes(source.with_suffix(".bin").read_bytes())
    with pytest.raises(ModelFileError, match="is not an OpenVINO IR, or is truncated"):
        quantize_file(path, tmp_path / "new", "openvino", precision="weight_only_wi8")


def test_product_of_transposed_activations_is_quantized(tmp_path):
    """NNCF's correction of biases takes their first axis for the channels."""
    from openvino import opset13 as ops

    x = ops.parameter([-1, 38], np.float32, name="x")
    kernel = ops.constant(foreign_openvino.clustered(38, 8))
    columns = ops.transpose(ops.relu(x), np.int64([1, 0]))
    product = ops.matmul(columns, kernel, True, False)
    y = ops.add(product, ops.constant(np.ones((1, 8), np.float32)))
    values = np.random.default_rng(0).normal(size=(40, 38)).astype(np.float32)
    assert _static_error(tmp_path, x, y, values) < 0.05


def test_batch_that_the_model_fixes_is_kept(tmp_path):
    from openvino import opset13 as ops

    x = ops.parameter([2, 64], np.float32, name="x")
    kernel = foreign_openvino.clustered(64, 64)
    product = ops.matmul(x, ops.constant(kernel), False, True)
    values = np.random.default_rng(0).normal(size=(41, 64)).astype(np.float32)
    assert _static_error(tmp_path, x, product, values, num_run=2) < 0.05
