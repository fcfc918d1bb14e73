"""Models with attention, beside layers that cross as they are, in every format."""

import keras
import numpy as np
import pytest

from tfcompress import export_model
from tfcompress.runtime import load_session

L = keras.layers


class Gate(L.Layer):
    """A user's layer without rule, with a weight of its own."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), name="scale")

    def call(self, inputs):
        return inputs * keras.ops.sigmoid(inputs * self.scale)


@pytest.fixture(scope="module")
def model():
    steps = keras.Input((5, 8), name="steps")
    x = Gate(name="gate")(L.MultiHeadAttention(2, 4)(steps, steps))
    one, two = keras.ops.split(L.RMSNormalization()(x), 2, axis=-1)
    outputs = L.Dense(3, name="logits")(keras.ops.std(one * two, axis=1))
    made = keras.Model(steps, outputs)
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(size=w.shape) for w in made.get_weights()])
    return made


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_flat_twin_with_kept_layers_gives_the_same_outputs(format, model, tmp_path):
    exported = export_model(model, format, tmp_path)
    arrays = np.random.default_rng(1).normal(size=(3, 5, 8)).astype("float32")
    session = load_session(format, tmp_path, exported.files)
    expected = model(arrays, training=False).numpy()
    received = session.run({"steps": arrays})["logits"]
    np.testing.assert_allclose(received, expected, atol=1e-5 * abs(expected).max())
