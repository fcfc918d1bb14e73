"""One small text classifier for all: its dense files, its inputs, weights on grids."""

import functools

import numpy as np
import pytest

from tfcompress.quantizers import CalibrationData

WORDS, LENGTH, CLASSES = 64, 12, 3
# Name of the layer -> bits of its grid, whether one scale is for all its weights.
GRIDS = {
    "table": (8, True),
    "by_channel": (8, False),
    "by_tensor": (8, True),
    "four_bits": (4, False),
    "logits": (4, True),
}


def _on_grid(shape, num_bits, is_per_tensor, random):
    """Makes integers and the float32 weights that they are with their scales."""
    largest = 2 ** (num_bits - 1) - 1
    integers = random.integers(-largest, largest + 1, shape).astype(np.int8)
    # The largest magnitude gives the scale: of each channel, or of one alone.
    if is_per_tensor:
        integers[:, 1:] //= 2
    integers[0, 0 if is_per_tensor else slice(None)] = largest
    count = 1 if is_per_tensor else shape[1]
    scales = random.uniform(0.001, 0.003, count) * 127 / largest
    return integers, (integers * scales.astype(np.float32)).astype(np.float32)


@functools.cache
def _make_model():
    """Returns a Keras model with weights on `GRIDS`, and layer name -> integers."""
    import keras

    layers = keras.layers
    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    x = layers.Embedding(WORDS, 32, name="table")(tokens)
    x = layers.GlobalAveragePooling1D(name="average")(x)
    for name in ("by_channel", "by_tensor", "four_bits"):
        x = layers.Dense(48, "relu", name=name)(x)
    model = keras.Model(tokens, layers.Dense(CLASSES, name="logits")(x), name="small")
    random = np.random.default_rng(0)
    integers = {}
    for name, grid in GRIDS.items():
        kernel, *bias = model.get_layer(name).get_weights()
        integers[name], kernel = _on_grid(kernel.shape, *grid, random)
        bias = [random.normal(0, 0.1, b.shape) for b in bias]
        model.get_layer(name).set_weights([kernel, *bias])
    return model, integers


@pytest.fixture(scope="session")
def inputs():
    """40 texts for the small classifier: dict of "tokens" to int32 (40, 12)."""
    random = np.random.default_rng(1)
    return {"tokens": random.integers(0, WORDS, (40, LENGTH)).astype(np.int32)}


@pytest.fixture(scope="session")
def calibration(inputs):
    """Calibration data of the small classifier."""
    return CalibrationData(inputs=inputs)


@pytest.fixture(scope="session")
def grid_integers():
    """Layer name -> int8 integers that its weights are made of, inputs by outputs."""
    return _make_model()[1]


@pytest.fixture(scope="session")
def dense_file(tmp_path_factory):
    """Function: format -> path of the dense file of the small classifier."""
    from tfcompress.export import export_model

    @functools.cache
    def make(format):
        folder = tmp_path_factory.mktemp(format)
        return folder / export_model(_make_model()[0], format, folder).files[0]

    return make
