"""Rules of a user's own layers, and what a rule may not do."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import Masked, Weight, to_keras3, to_tf_keras
from tfcompress.errors import InvalidValueError, UnsupportedModelError

L = keras.layers


class ScaledDense(L.Layer):
    """A Dense whose kernel lies the other way round, and a factor."""

    def __init__(self, units, factor, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.factor = factor

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(self.units, input_shape[-1]), name="k")
        self.offset = self.add_weight(shape=(1, self.units), name="o")

    def call(self, inputs):
        kernel = keras.ops.transpose(self.kernel)
        return (keras.ops.matmul(inputs, kernel) + self.offset) * self.factor

    def get_config(self):
        return {**super().get_config(), "units": self.units, "factor": self.factor}


def scaled_dense(layer, leaves):
    """The rule of `ScaledDense`: two leaves."""
    dense = leaves.add(
        tf_keras.layers.Dense,
        "dense",
        units=layer.units,
        weights=[
            Weight(layer.kernel, transpose=(1, 0)),
            Weight(layer.offset, shape=(layer.units,)),
        ],
    )
    scale = leaves.add(tf_keras.layers.Rescaling, "scale", scale=layer.factor)
    return lambda inputs: scale(dense(inputs))


class Residual(L.Layer):
    """A layer made of other layers, as a transformer's encoder is."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.norm = L.LayerNormalization(name="norm")
        self.inner = ScaledDense(units, 0.5, name="inner")

    def build(self, input_shape):
        self.norm.build(input_shape)
        self.inner.build(input_shape)

    def call(self, inputs, gate=None):
        outputs = inputs + self.inner(self.norm(inputs))
        return outputs if gate is None else outputs * gate

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def residual(layer, leaves):
    """The rule of `Residual`: it applies the rules of the layers inside."""
    norm, inner = leaves.expand(layer.norm), leaves.expand(layer.inner)
    add = leaves.add(tf_keras.layers.Add, "add")
    multiply = leaves.add(tf_keras.layers.Multiply, "gated")

    def call(inputs, gate=None):
        outputs = add([inputs, inner(norm(inputs))])
        return outputs if gate is None else multiply([outputs, gate])

    return call


RULES = {ScaledDense: scaled_dense, Residual: residual}


def _inputs(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_users_rule_makes_named_leaves(randomize, difference):
    model = randomize(
        keras.Sequential([keras.Input((5,)), ScaledDense(3, 2.0, name="mine")])
    )
    flat = to_tf_keras(model, rules=RULES)
    assert [layer.name for layer in flat.layers[1:]] == ["mine/dense", "mine/scale"]
    assert difference(model(_inputs(2, 5)), flat(_inputs(2, 5))) <= 1e-5


def test_users_rule_brings_the_weights_back(randomize, difference):
    model = randomize(
        keras.Sequential([keras.Input((5,)), ScaledDense(3, 2.0, name="mine")])
    )
    flat = to_tf_keras(model, rules=RULES)
    kernel = np.arange(15.0).reshape(5, 3)
    flat.get_layer("mine/dense").set_weights([kernel, np.arange(3.0)])
    back = to_keras3(model, flat, rules=RULES)
    np.testing.assert_array_equal(back.get_layer("mine").kernel, kernel.T)
    np.testing.assert_array_equal(back.get_layer("mine").offset, [[0.0, 1.0, 2.0]])
    assert difference(flat(_inputs(2, 5)), back(_inputs(2, 5))) <= 1e-5


def test_rule_of_a_composite_layer_uses_the_rules_inside(randomize, difference):
    inputs = keras.Input((5,))
    block = Residual(5, name="block")
    model = randomize(keras.Model(inputs, block(block(inputs), gate=inputs)))
    flat = to_tf_keras(model, rules=RULES)
    names = [layer.name for layer in flat.layers if layer.weights]
    assert names == ["block/norm", "block/inner/dense"]
    assert difference(model(_inputs(2, 5)), flat(_inputs(2, 5))) <= 1e-5
    flat.set_weights([value * 1.5 for value in flat.get_weights()])
    back = to_keras3(model, flat, rules=RULES)
    assert difference(flat(_inputs(2, 5)), back(_inputs(2, 5))) <= 1e-5


def test_users_rule_comes_before_the_standard_one():
    model = keras.Sequential([keras.Input((5,)), L.ReLU(name="relu")])

    def identity(layer, leaves):
        return leaves.compute("identity")

    flat = to_tf_keras(model, rules={L.ReLU: identity})
    np.testing.assert_array_equal(flat(-np.ones((1, 5))), -np.ones((1, 5)))


def test_rule_that_returns_its_input_leaves_the_mask_alone(randomize, difference):
    ids = keras.Input((4,), dtype="int32")
    embedded = L.Embedding(9, 5, mask_zero=True)(ids)
    model = randomize(keras.Model(ids, L.LSTM(3)(L.Dropout(0.5)(embedded))))
    flat = to_tf_keras(model, rules={L.Dropout: lambda layer, leaves: lambda x: x})
    array = np.array([[1, 2, 0, 0]], "int32")
    assert difference(model(array), flat(array)) <= 1e-5


class FirstStepsMask(L.Layer):
    """A layer that computes a mask."""

    def call(self, inputs):
        return inputs * 1.0

    def compute_mask(self, inputs, mask=None):
        return inputs[:, :, 0] > 0.0


def test_rule_may_give_a_mask(difference):
    inputs = keras.Input((4, 5))
    model = keras.Model(
        inputs, L.GlobalAveragePooling1D()(FirstStepsMask(name="mask")(inputs))
    )

    def rule(layer, leaves):
        first = leaves.compute(
            "get_item", "first", key=[{"slice": [None] * 3}, {"slice": [None] * 3}, 0]
        )
        mask = leaves.compute("greater", "mask", operands=[None, 0.0])
        same = leaves.compute("identity")
        return lambda inputs: Masked(same(inputs), mask(first(inputs)))

    flat = to_tf_keras(model, rules={FirstStepsMask: rule})
    assert difference(model(_inputs(3, 4, 5)), flat(_inputs(3, 4, 5))) <= 1e-5


class Attend(L.Layer):
    """A layer that takes the masks of both its arguments, as attention does."""

    def call(self, query, value, value_mask=None):
        weights = keras.ops.cast(value_mask, value.dtype)
        return query + keras.ops.sum(value * weights[..., None], axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking")
def test_rule_may_ask_for_the_mask_of_an_argument(randomize, difference):
    ids = keras.Input((4,), dtype="int32")
    embedded = L.Embedding(9, 5, mask_zero=True)(ids)
    outputs = Attend()(L.Dense(5)(embedded), embedded)
    model = randomize(keras.Model(ids, outputs))

    def rule(layer, leaves):
        masked = leaves.compute("masked", "masked", operands=[None, None])
        total = leaves.compute("sum", "sum", axis=1, keepdims=True)
        add = leaves.add(tf_keras.layers.Add)
        return lambda query, value: add(
            [query, total(masked([value, leaves.mask_of(value)]))]
        )

    flat = to_tf_keras(model, rules={Attend: rule})
    array = np.array([[1, 2, 0, 0], [3, 0, 4, 5]], "int32")
    assert difference(model.predict(array, verbose=0), flat(array)) <= 1e-5


def _model_with(layer):
    return keras.Sequential([keras.Input((5,)), layer])


def test_rule_that_returns_no_function_raises():
    with pytest.raises(
        InvalidValueError,
        match="rule for ScaledDense must return a function.*got None",
    ):
        to_tf_keras(
            _model_with(ScaledDense(3, 1.0)), rules={ScaledDense: lambda *_: None}
        )


def test_rule_that_leaves_a_weight_behind_raises():
    def forgetful(layer, leaves):
        return leaves.add(
            tf_keras.layers.Dense,
            units=3,
            use_bias=False,
            weights=[Weight(layer.kernel, transpose=(1, 0))],
        )

    with pytest.raises(
        UnsupportedModelError,
        match=r"rule of Layer 'mine' \(ScaledDense\) gives no leaf its weight 'o'",
    ):
        to_tf_keras(
            _model_with(ScaledDense(3, 1.0, name="mine")),
            rules={ScaledDense: forgetful},
        )


def test_rule_may_keep_a_weight_as_a_constant(randomize, difference):
    def constant_offset(layer, leaves):
        leaves.keep(layer.offset)
        dense = leaves.add(
            tf_keras.layers.Dense,
            units=3,
            use_bias=False,
            weights=[Weight(layer.kernel, transpose=(1, 0))],
        )
        add = leaves.add(
            tf_keras.layers.Rescaling,
            "add",
            scale=layer.factor,
            offset=(layer.offset.numpy()[0] * layer.factor).tolist(),
        )
        return lambda inputs: add(dense(inputs))

    rules = {ScaledDense: constant_offset}
    model = randomize(_model_with(ScaledDense(3, 2.0, name="mine")))
    flat = to_tf_keras(model, rules=rules)
    assert difference(model(_inputs(2, 5)), flat(_inputs(2, 5))) <= 1e-5
    back = to_keras3(model, flat, rules=rules)
    assert difference(model(_inputs(2, 5)), back(_inputs(2, 5))) <= 1e-5


def test_rule_with_weights_of_another_shape_raises():
    def twisted(layer, leaves):
        return leaves.add(
            tf_keras.layers.Dense, units=3, weights=[layer.kernel, layer.offset]
        )

    with pytest.raises(
        UnsupportedModelError,
        match=r"'mine' of the tf_keras model has weights of the shapes "
        r"\[\(5, 3\), \(3,\)\], but its source asks for \[\(3, 5\), \(1, 3\)\]",
    ):
        to_tf_keras(
            _model_with(ScaledDense(3, 1.0, name="mine")), rules={ScaledDense: twisted}
        )


def test_rule_with_output_of_another_shape_raises():
    def flatten(layer, leaves):
        return leaves.add(tf_keras.layers.RepeatVector, n=2)

    with pytest.raises(
        UnsupportedModelError,
        match=r"rule of Layer 'relu' \(ReLU\) gives \[\(\(None, 2, 5\), 'float32'\)\], "
        r"but the layer gives \[\(\(None, 5\), 'float32'\)\]",
    ):
        to_tf_keras(_model_with(L.ReLU(name="relu")), rules={L.ReLU: flatten})


def test_rule_with_two_leaves_of_one_name_raises():
    def twice(layer, leaves):
        leaves.add(tf_keras.layers.ReLU)
        return leaves.add(tf_keras.layers.ReLU)

    with pytest.raises(UnsupportedModelError, match="makes a second leaf named 'relu'"):
        to_tf_keras(_model_with(L.ReLU(name="relu")), rules={L.ReLU: twice})


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([ScaledDense], r"rules must be a dictionary of layer class to rule"),
        ({"ScaledDense": scaled_dense}, r"rules must map a layer class.*'ScaledDense'"),
        ({ScaledDense: None}, r"rules must map a layer class to a function.*None"),
    ],
    ids=["list", "name", "no_function"],
)
def test_rules_of_another_kind_raise(rules, words):
    with pytest.raises(InvalidValueError, match=words):
        to_tf_keras(_model_with(L.ReLU()), rules=rules)


def test_weight_there_and_back_is_the_same():
    variable = np.arange(24.0).reshape(2, 3, 4)
    weight = Weight(variable, transpose=(2, 0, 1), shape=(8, 3))
    leaf = weight.to_leaf(variable)
    assert leaf.shape == weight.leaf_shape == (8, 3)
    assert leaf[0].tolist() == [0.0, 4.0, 8.0]
    np.testing.assert_array_equal(weight.to_source(leaf), variable)
