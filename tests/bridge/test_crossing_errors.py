"""Models that cannot cross, there or back: each ends in one line that says why."""

import keras
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras

from tfcompress.bridge import check_crossing, to_keras3, to_tf_keras
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


def test_subclassed_model_says_how_it_may_cross(check_kept):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Subclassed(name="mine")(inputs))
    arrays = np.ones((2, 4), "float32")
    check_kept(model, arrays, r"'mine' \(Subclassed\).*subclassed model has no graph")


def _chain(*layers):
    tensor = inputs = keras.Input((4,))
    for layer in layers:
        tensor = layer(tensor)
    return keras.Model(inputs, tensor, name="chain")


def test_lambda_raises():
    with pytest.raises(
        UnsupportedModelError,
        match=r"^Layer 'odd' \(Lambda\) cannot cross: its Python function can be "
        r"neither copied nor saved; write it with keras.ops, or as a layer class of "
        r"your own\.$",
    ):
        to_tf_keras(_chain(L.Lambda(lambda x: x, name="odd")))


def test_all_that_stops_a_model_is_named_at_once():
    lora = L.Dense(4, name="lora")
    lambdas = [L.Lambda(lambda x: x, name=f"odd_{number}") for number in range(5)]
    model = _chain(*lambdas, lora)
    lora.enable_lora(1)
    with pytest.raises(UnsupportedModelError) as caught:
        to_tf_keras(model)
    words = str(caught.value)
    assert "\n" not in words
    assert words.startswith(
        "Model 'chain' cannot cross to tf_keras because of 6 of its"
    )
    assert words.count("(Lambda) cannot cross") + words.count("lora_enabled=True") == 5
    assert "; (5) Layer" in words
    assert words.endswith("; and 1 more.")


def test_obstacles_of_nested_models_and_of_the_way_back_are_among_them():
    class NoConfig(L.Layer):
        def __init__(self, size, **kwargs):
            super().__init__(**kwargs)
            self.size = np.float32(size)

        def call(self, inputs):
            return inputs * self.size

        def get_config(self):
            return super().get_config()

    inner = keras.Sequential(
        [keras.Input((4,)), L.Lambda(lambda x: x, name="odd")], name="inner"
    )
    model = _chain(inner, NoConfig(2.0, name="own"))
    with pytest.raises(
        UnsupportedModelError,
        match=r"of 2 of its layers and operations: \(1\) Layer 'inner/odd' \(Lambda\) "
        r"cannot cross.*; \(2\) Layer 'own' \(NoConfig\) cannot come back, because "
        r"Keras cannot copy it \(TypeError: .*\); let its get_config\(\) give",
    ):
        check_crossing(model)
    with pytest.raises(UnsupportedModelError, match=r"^Layer 'inner/odd'"):
        to_tf_keras(model)


def test_part_of_a_layer_called_by_itself_raises_early():
    class Tied(L.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.table = L.ReversibleEmbedding(9, 4, name="table")

        def call(self, inputs):
            return self.table(inputs)

    ids, tied = keras.Input((3,), dtype="int32"), Tied(name="tied")
    model = keras.Model(ids, tied.table(tied(ids), reverse=True))
    with pytest.raises(
        UnsupportedModelError,
        match=r"Layer 'table' \(ReversibleEmbedding\) is a part of Layer 'tied' "
        r"\(Tied\) and is called by itself too, which Keras neither copies nor saves; "
        "make it a layer of the model itself",
    ):
        check_crossing(model)


def test_layer_of_two_models_raises_early():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, name="d")], name="inner")
    model = _chain(inner, inner.get_layer("d"))
    with pytest.raises(
        UnsupportedModelError,
        match=r"Layer 'd' \(Dense\) is called in 'inner/d' too, another of the models",
    ):
        check_crossing(model)


def test_keras_function_raises():
    inputs = keras.Input((4,))
    function = keras.Function(inputs, keras.ops.sin(inputs))
    with pytest.raises(
        UnsupportedModelError,
        match=r"\(Function\) is a keras.Function, which Keras neither copies nor saves",
    ):
        to_tf_keras(_chain(function))


def test_python_on_values_raises():
    class Branch(L.Layer):
        def call(self, inputs):
            return inputs if keras.ops.sum(inputs) > 0 else -inputs

        def compute_output_spec(self, inputs):
            return keras.KerasTensor(inputs.shape, inputs.dtype)

    with pytest.raises(
        UnsupportedModelError,
        match=r"Layer 'branch' \(Branch\) has no rule, and as it is it does not run in "
        r"a TensorFlow graph \(\w+: .*\): let its call use keras.ops",
    ) as caught:
        to_tf_keras(_chain(Branch(name="branch")))
    assert "\n" not in str(caught.value)


def test_saved_leaf_of_a_layer_that_crossed_as_it_is_cannot_be_loaded():
    flat = to_tf_keras(_chain(L.RMSNormalization(name="norm")))
    config = flat.get_layer("norm").get_config()
    with pytest.raises(InvalidValueError, match=r"leaf of 'norm' holds .* again\.$"):
        type(flat.get_layer("norm")).from_config({**config, "key": "norm#gone"})


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
