"""Models that cannot cross, there or back: each ends in one line that says why."""

import keras
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras

from tfcompress.bridge import to_keras3, to_tf_keras
from tfcompress.errors import InvalidValueError, UnsupportedModelError

L = keras.layers


def test_missing_and_extra_layers_raise():
    flat = to_tf_keras(keras.Sequential([keras.Input((4,)), L.Dense(2, name="other")]))
    source = keras.Sequential([keras.Input((4,)), L.Dense(2, name="dense")], name="m")
    with pytest.raises(
        UnsupportedModelError,
        match=r"does not fit 'm': layers with weights missing: 'dense'; without a "
        r"place in the source: 'other'; pass the model that to_tf_keras made",
    ):
        to_keras3(source, flat)


def test_wrapped_layers_raise():
    source = keras.Sequential([keras.Input((4,)), L.Dense(2, name="dense")])
    wrapped = tfmot.sparsity.keras.prune_low_magnitude(to_tf_keras(source))
    with pytest.raises(
        UnsupportedModelError,
        match=r"strip the wrappers first \('prune_low_magnitude_dense'\)",
    ):
        to_keras3(source, wrapped)


def test_weights_of_another_shape_raise():
    flat = to_tf_keras(keras.Sequential([keras.Input((4,)), L.Dense(3, name="dense")]))
    source = keras.Sequential([keras.Input((4,)), L.Dense(2, name="dense")])
    with pytest.raises(
        UnsupportedModelError,
        match=r"'dense' of the tf_keras model has weights of the shapes "
        r"\[\(4, 3\), \(3,\)\], but its source asks for \[\(4, 2\), \(2,\)\]",
    ):
        to_keras3(source, flat)


def test_compressed_that_is_no_tf_keras_model_raises():
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    with pytest.raises(InvalidValueError, match=r"compressed must be a tf_keras model"):
        to_keras3(model, model)


def test_model_that_is_no_keras_3_model_raises():
    model = tf_keras.Sequential([tf_keras.layers.Dense(2)])
    with pytest.raises(
        InvalidValueError, match=r"must be a Keras 3 model.*got a tf_keras.*Sequential"
    ):
        to_tf_keras(model)


def test_sequential_model_that_is_not_built_raises():
    model = keras.Sequential([L.Dense(2)], name="loose")
    with pytest.raises(
        UnsupportedModelError, match=r"Model 'loose' \(Sequential\) is not built: give"
    ):
        to_tf_keras(model)


class Subclassed(keras.Model):
    """A model whose graph nobody can see."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def test_subclassed_model_raises():
    model = Subclassed(name="mine")
    model(np.ones((1, 4), "float32"))
    with pytest.raises(
        UnsupportedModelError, match=r"Model 'mine' \(Subclassed\) is subclassed.*build"
    ):
        to_tf_keras(model)


def test_subclassed_model_inside_another_raises():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Subclassed(name="mine")(inputs))
    with pytest.raises(
        UnsupportedModelError, match=r"'mine' \(Subclassed\).*rules={Subclassed: rule}"
    ):
        to_tf_keras(model)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: L.Lambda(lambda x: x, name="odd"),
            r"Layer 'odd' \(Lambda\).*pass rules={Lambda: rule}, or put its function",
        ),
        (
            lambda: L.RMSNormalization(name="odd"),
            r"Layer 'odd' \(RMSNormalization\) cannot cross .*replace it by standard",
        ),
        (
            lambda: L.TimeDistributed(L.Dense(2), name="odd"),
            r"Layer 'odd' \(TimeDistributed\) cannot cross .*call the inner layer",
        ),
    ],
    ids=["lambda", "rms_normalization", "time_distributed"],
)
def test_layer_without_rule_raises(make, words):
    layer, inputs = make(), keras.Input((4, 4))
    with pytest.raises(UnsupportedModelError, match=words) as caught:
        to_tf_keras(keras.Model(inputs, layer(inputs)))
    assert "\n" not in str(caught.value)


def test_sparse_input_raises():
    inputs = keras.Input((4,), sparse=True, name="bag")
    model = keras.Model(inputs, L.Dense(2)(inputs))
    with pytest.raises(UnsupportedModelError, match="Input 'bag' is sparse or ragged"):
        to_tf_keras(model)


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize`")
def test_quantized_layer_raises():
    model = keras.Sequential([keras.Input((4,)), L.Dense(2, name="dense")])
    model.quantize("int8")
    with pytest.raises(
        UnsupportedModelError, match="'dense'.*quantization_mode='int8'.*before"
    ):
        to_tf_keras(model)


def test_layer_with_lora_raises():
    model = keras.Sequential([keras.Input((4,)), L.Dense(2, name="dense")])
    model.get_layer("dense").enable_lora(1)
    with pytest.raises(UnsupportedModelError, match="lora_enabled=True.*merge LoRA"):
        to_tf_keras(model)


def test_weight_shared_by_two_layers_raises():
    one, two = L.Dense(4, name="one"), L.Dense(4, name="two")
    model = keras.Sequential([keras.Input((4,)), one, two])
    object.__setattr__(two, "_kernel", one._kernel)
    with pytest.raises(
        UnsupportedModelError,
        match=r"'two' \(Dense\) shares its weight 'kernel' with Layer 'one'",
    ):
        to_tf_keras(model)


def test_two_names_written_alike_raise():
    model = keras.Sequential(
        [keras.Input((4,)), L.Dense(3, name="a b"), L.Dense(2, name="a_b")]
    )
    with pytest.raises(
        UnsupportedModelError, match=r"'a_b' \(Dense\) makes a second leaf.*rename"
    ):
        to_tf_keras(model)
