"""Tests of the weights' names."""

import pytest
import tf_keras

from tfcompress.methods.layer_weights import (
    compressible_weights,
    trainable_weights,
    weight_place,
)

layers = tf_keras.layers
RECURRENT = ["kernel/0", "recurrent_kernel/0"]
NAMES = {
    "dense": (layers.Dense(2), (3,), ["kernel"], ["bias"]),
    "embedding": (layers.Embedding(4, 2), (3,), ["embeddings"], []),
    "conv": (layers.Conv2D(2, 1), (3, 3, 1), ["kernel"], ["bias"]),
    "depthwise": (layers.DepthwiseConv2D(1), (3, 3, 1), ["depthwise_kernel"], ["bias"]),
    "separable": (
        layers.SeparableConv1D(2, 1),
        (3, 1),
        ["pointwise_kernel"],
        ["depthwise_kernel", "bias"],
    ),
    "norm": (layers.LayerNormalization(), (3,), [], ["gamma", "beta"]),
    "batch_norm": (layers.BatchNormalization(), (3,), [], ["gamma", "beta"]),
    "frozen": (layers.Dense(2, trainable=False), (3,), ["kernel"], ["bias"]),
    "mixed": (layers.Dense(2, dtype="mixed_bfloat16"), (3,), ["kernel"], ["bias"]),
    "lstm": (layers.LSTM(2), (3, 1), RECURRENT, ["bias/0"]),
    "both_ways": (
        layers.Bidirectional(layers.GRU(2)),
        (3, 1),
        [*RECURRENT, "kernel/1", "recurrent_kernel/1"],
        ["bias/0", "bias/1"],
    ),
    "dropout": (layers.Dropout(0.1), (3,), [], []),
}


@pytest.mark.parametrize(
    ("layer", "shape", "compressible", "others"), NAMES.values(), ids=NAMES
)
def test_weights_have_names_that_lead_to_them(layer, shape, compressible, others):
    layer(tf_keras.Input(shape))
    weights = compressible_weights(layer)
    assert list(weights) == compressible
    assert sorted(trainable_weights(layer)) == sorted([*compressible, *others])
    for name, variable in {**weights, **trainable_weights(layer)}.items():
        holder, attribute = weight_place(layer, name)
        assert getattr(holder, attribute) is variable
        assert any(variable is weight for weight in layer.weights)
