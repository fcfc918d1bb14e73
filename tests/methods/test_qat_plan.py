"""Which weights and outputs are quantized, and why others are not."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import to_tf_keras
from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import QatConfig
from tfcompress.methods.qat_plan import plan_quantization
from tfcompress.methods.quantized_weights import WeightGrid

layers = keras.layers


@pytest.fixture(scope="module")
def attention_model():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    mask = keras.Input((6,), dtype="int32", name="padding_mask")
    x = layers.Embedding(20, 8, name="embedding")(tokens)
    attention = layers.MultiHeadAttention(2, 4, dropout=0.1, name="attention")
    attended = attention(x, x, attention_mask=mask[:, None, :])
    x = layers.LayerNormalization(name="norm")(layers.Add(name="add")([x, attended]))
    x = layers.Activation("gelu", name="gelu")(layers.Dense(8, name="hidden")(x))
    x = layers.GlobalAveragePooling1D(name="pooling")(x)
    x = layers.Dense(3, name="logits")(x)
    return to_tf_keras(keras.Model([tokens, mask], x))


def flat(inputs, outputs):
    return to_tf_keras(keras.Model(inputs, outputs))


def ranges(plan):
    return set(plan.work.ranges)


def test_plan_dynamic_range_takes_kernels_and_embeddings_only(attention_model):
    plan = plan_quantization(attention_model, QatConfig())
    grids = plan.work.grids
    assert grids["embedding"] == {"embeddings": WeightGrid(8, (), 1)}
    assert grids["hidden"] == {"kernel": WeightGrid(8, (1,), 1)}
    projections = ["query", "key", "value", "attention_output"]
    assert grids.keys() == {
        *("embedding", "hidden", "logits"),
        *(f"attention/{name}" for name in projections),
    }
    assert not ranges(plan)
    assert plan.row("norm").status == "left_alone"
    assert "kernels and embeddings only" in plan.row("norm").reason


def test_plan_static_range_takes_what_products_read(attention_model):
    plan = plan_quantization(attention_model, QatConfig("static_range"))
    steps = ["query", "key", "value", "softmax", "context"]
    assert ranges(plan) == {
        *("embedding", "norm", "pooling"),
        *(f"attention/{name}" for name in steps),
    }
    assert plan.row("add").reason == "no product of integers reads it"
    assert "output stays float: no product of int" in plan.row("hidden").reason


def test_plan_static_range_of_all_leaves_masks_and_logits_float(attention_model):
    config = QatConfig("static_range", activations="all")
    plan = plan_quantization(attention_model, config)
    steps = ["query", "key", "value", "scores", "softmax", "context"]
    assert ranges(plan) == {
        *("embedding", "add", "norm", "hidden", "gelu", "pooling"),
        *(f"attention/{name}" for name in [*steps, "attention_output"]),
    }
    assert "masked positions" in plan.row("attention/masked_scores").reason
    assert plan.row("logits").status == "compressed"
    assert "the model's output" in plan.row("logits").reason
    assert plan.row("tokens").status == plan.row("padding_mask").status == "left_alone"


def test_plan_static_range_mask_of_the_users_own_stays_float():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 4, name="embedding")(tokens)
    mask = keras.ops.cast(keras.ops.equal(tokens, 0), "float32")
    masked = keras.ops.multiply(mask, -1e9)
    scores = layers.Add(name="add")([keras.ops.sum(x, axis=-1), masked])
    x = layers.Softmax(name="softmax")(scores)
    model = flat(tokens, layers.Dense(2, name="logits")(x))
    plan = plan_quantization(model, QatConfig("static_range", activations="all"))
    reasons = {row.name: row.reason for row in plan.rows}
    (multiply,) = (name for name in reasons if name.startswith("multiply"))
    assert reasons[multiply] == "it computes ids or a mask"
    assert "masked positions" in reasons["add"]
    (total,) = (name for name in reasons if name.startswith("sum"))
    assert ranges(plan) == {"embedding", total, "softmax"}


def test_plan_convolutions_have_scales_by_output_channel():
    images = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, padding="same", name="conv")(images)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.Conv2DTranspose(5, 3, name="transpose")(x)
    x = layers.SeparableConv2D(4, 3, name="separable")(x)
    model = flat(images, layers.GlobalAveragePooling2D(name="pooling")(x))
    plan = plan_quantization(model, QatConfig("static_range", activations="all"))
    axes = {
        (name, weight): grid.channel_axes
        for name, grids in plan.work.grids.items()
        for weight, grid in grids.items()
    }
    assert axes == {
        ("conv", "kernel"): (3,),
        ("depthwise", "depthwise_kernel"): (2, 3),
        ("transpose", "kernel"): (2,),
        ("separable", "depthwise_kernel"): (2, 3),
        ("separable", "pointwise_kernel"): (3,),
    }
    assert ranges(plan) == {"norm", "depthwise", "transpose", "separable"}
    assert "BatchNormalization that follows" in plan.row("conv").reason


def test_plan_rules_set_bits_and_leave_layers_float(attention_model):
    rules = {"hidden": {"weight_bits": 4, "granularity": "per_tensor"}, "norm": None}
    plan = plan_quantization(
        attention_model, QatConfig("static_range", layers=LayerRules(rules))
    )
    assert plan.work.grids["hidden"] == {"kernel": WeightGrid(4, (), 1)}
    assert plan.row("hidden").requested["weight_bits"] == 4
    assert plan.work.grids["logits"] == {"kernel": WeightGrid(8, (1,), 1)}
    assert plan.row("norm").reason == "a rule leaves it alone"
    assert "norm" not in ranges(plan)


def test_plan_rule_for_a_layer_without_kernel_raises(attention_model):
    config = QatConfig(layers=LayerRules({"norm": {"weight_bits": 4}}))
    with pytest.raises(
        InvalidValueError, match=r"'norm' \(LayerNormalization\) cannot be .*no kernel"
    ):
        plan_quantization(attention_model, config)


def test_plan_rule_that_matches_nothing_raises(attention_model):
    config = QatConfig(layers=LayerRules({"nowhere": None}))
    with pytest.raises(InvalidValueError, match="'nowhere' matches no layer"):
        plan_quantization(attention_model, config)


class Strange(tf_keras.layers.Dense):
    """A layer type that no table has."""


def strange_model():
    inputs = tf_keras.Input((3,))
    return tf_keras.Model(inputs, Strange(2, name="strange")(inputs))


def test_plan_unknown_layer_is_skipped_with_its_reason():
    row = plan_quantization(strange_model(), QatConfig()).row("strange")
    assert row.status == "skipped"
    assert row.reason == "the scheme does not know layers of type Strange"


def test_plan_unknown_layer_that_a_rule_names_raises():
    config = QatConfig(layers=LayerRules({"strange": {"weight_bits": 4}}))
    with pytest.raises(InvalidValueError, match="does not know layers of type Strange"):
        plan_quantization(strange_model(), config)


def test_plan_unknown_function_is_skipped_in_static_range():
    inputs = keras.Input((3,))
    x = layers.Dense(4, name="hidden")(inputs)
    model = flat(inputs, layers.Dense(2)(keras.ops.power(x, 3.0)))
    # Keras numbers the operations of a process.
    (name,) = (layer.name for layer in model.layers if "power" in layer.name)
    row = plan_quantization(model, QatConfig("static_range")).row(name)
    assert (row.status, row.reason) == (
        "skipped",
        "the scheme does not know the function 'power'",
    )
    assert plan_quantization(model, QatConfig()).row(name).status == "left_alone"


def test_plan_weight_that_is_not_finite_raises_and_names_it():
    inputs = keras.Input((3,))
    model = flat(inputs, layers.Dense(2, name="logits")(inputs))
    kernel = np.full((3, 2), np.nan, np.float32)
    model.get_layer("logits").set_weights([kernel, np.zeros(2, np.float32)])
    with pytest.raises(InvalidValueError, match="'kernel' of layer 'logits'.*finite"):
        plan_quantization(model, QatConfig())
