"""EinsumDense: which equations are a Dense in disguise, and what the others get."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import to_keras3, to_tf_keras

L = keras.layers


def _model(equation, output_shape, input_shape, **config):
    inputs = keras.Input(input_shape)
    layer = L.EinsumDense(equation, output_shape, name="einsum", **config)
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize(
    ("equation", "output_shape", "input_shape", "bias_axes"),
    [
        ("ab,bc->ac", 4, (6,), "c"),
        ("abc,cd->abd", (None, 4), (None, 6), "d"),
        ("abc,dc->abd", (None, 4), (None, 6), None),
        ("abc,cde->abde", (None, 4, 5), (None, 6), "de"),
        ("abc,edc->abde", (None, 4, 5), (None, 6), "de"),
        ("abcd,cde->abe", (None, 4), (None, 2, 3), "e"),
        ("abcd,dec->abe", (None, 4), (None, 2, 3), "e"),
        ("...x,xy->...y", 4, (7, 6), "y"),
    ],
)
def test_dense_in_disguise_gives_same_output_there_and_back(
    equation, output_shape, input_shape, bias_axes, randomize, difference
):
    model = randomize(_model(equation, output_shape, input_shape, bias_axes=bias_axes))
    shape = [3, *(size or 5 for size in input_shape)]
    inputs = np.random.default_rng(0).normal(size=shape).astype("float32")
    flat = to_tf_keras(model)
    assert type(flat.get_layer("einsum")) is tf_keras.layers.Dense
    assert difference(model(inputs), flat(inputs)) <= 1e-5
    flat.set_weights([value * 2.0 for value in flat.get_weights()])
    assert difference(flat(inputs), to_keras3(model, flat)(inputs)) <= 1e-5


def test_activation_and_penalties_cross(randomize, difference, caplog):
    model = randomize(
        _model(
            "ab,bcd->acd",
            (4, 5),
            (6,),
            bias_axes="cd",
            activation="softmax",
            kernel_regularizer="l2",
        )
    )
    inputs = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    assert difference(model(inputs), to_tf_keras(model)(inputs)) <= 1e-5
    assert "kernel_regularizer of 'einsum'" in caplog.text


@pytest.mark.parametrize(
    ("equation", "output_shape", "input_shape"),
    [
        ("abc,bd->adc", (4, 3), (2, 3)),  # contracts an axis before the last
        ("abc,cd->adb", (4, 2), (2, 3)),  # turns the output
        ("abc,cb->ab", (2,), (2, 3)),  # a kernel for each step
        ("abc,cd->ad", (4,), (2, 3)),  # sums over the steps
    ],
)
def test_other_equation_crosses_as_it_is(
    equation, output_shape, input_shape, randomize, check_kept
):
    model = randomize(_model(equation, output_shape, input_shape))
    arrays = np.random.default_rng(0).normal(size=(3, *input_shape)).astype("float32")
    words = rf"'einsum' \(EinsumDense\) crosses .* it has equation='{equation}', which"
    check_kept(model, arrays, words)


def test_bias_along_other_axes_crosses_as_it_is(randomize, check_kept):
    model = randomize(_model("abc,cde->abde", (2, 4, 5), (2, 3), bias_axes="e"))
    arrays = np.random.default_rng(0).normal(size=(3, 2, 3)).astype("float32")
    check_kept(
        model,
        arrays,
        "'einsum'.* it has bias_axes='e'; only the axes that the kernel adds, 'de'",
    )
