"""Tests of the whole way: Keras 3, bridge, method, Keras 3 again."""

import numpy as np
import pytest

from tfcompress.compress import compress
from tfcompress.errors import InvalidValueError, TrainingError, UnsupportedModelError
from tfcompress.models.embedding_classifier import embedding_classifier


@pytest.fixture
def model():
    return embedding_classifier(2, vocabulary_size=50, length=8, dimension=8)


def kernels(model):
    return [model.get_layer(name).get_weights()[0] for name in ("embedding", "logits")]


def test_compress_one_shot_returns_keras3_with_few_values(model):
    import keras

    before = kernels(model)
    result = compress(model, "cluster(4)")
    assert isinstance(result.model, keras.Model)
    assert all(len(np.unique(kernel)) == 4 for kernel in kernels(result.model))
    assert result.report.training_log is None
    for old, new in zip(before, kernels(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_compress_fine_tuned_trains_and_reports_every_layer(model, training):
    result = compress(model, "cluster(4)", training)
    assert all(len(np.unique(kernel)) <= 4 for kernel in kernels(result.model))
    assert result.report.training_log.epochs == 2
    assert [row.name for row in result.report.rows if row.status == "compressed"] == [
        "embedding",
        "logits",
    ]
    assert result.structures["embedding", "embeddings"]["codebook"].size <= 4


def test_compress_empty_recipe_is_the_control(model, training):
    result = compress(model, "", training)
    assert result.report.training_log.epochs == 2
    assert {row.reason for row in result.report.rows} == {"the recipe has no step"}
    assert not np.array_equal(kernels(result.model)[0], kernels(model)[0])


def test_compress_nothing_at_all_returns_an_equal_copy(model):
    result = compress(model, "")
    assert result.model is not model
    np.testing.assert_array_equal(kernels(result.model)[0], kernels(model)[0])


def test_compress_bad_recipe_raises_before_anything_is_done():
    with pytest.raises(InvalidValueError, match="Unknown method 'squash'"):
        compress(None, "squash")


def test_compress_lambda_layer_raises_and_names_it():
    import keras

    inputs = keras.Input((4,))
    outputs = keras.layers.Lambda(lambda x: x * 2, name="twice")(inputs)
    with pytest.raises(UnsupportedModelError, match="'twice'"):
        compress(keras.Model(inputs, outputs), "cluster(4)")


def test_compress_subclassed_model_raises():
    import keras

    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(UnsupportedModelError, match="Mine"):
        compress(Mine(), "cluster(4)")


def test_compress_nan_loss_raises(model, training):
    broken = [np.full_like(weight, np.nan) for weight in model.get_weights()]
    model.set_weights(broken)
    with pytest.raises(TrainingError, match="the loss is nan"):
        compress(model, "", training)


def test_compress_model_that_ends_in_sigmoid_is_refused_in_training(training):
    import keras

    tokens = keras.Input((8,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(50, 8)(tokens)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(tokens, keras.layers.Dense(1, activation="sigmoid")(x))
    with pytest.raises(UnsupportedModelError, match="sigmoid, and the loss takes log"):
        compress(model, "cluster(4)", training)


def test_compress_training_without_fit_raises(model):
    with pytest.raises(InvalidValueError, match="have a fit.*got tuple"):
        compress(model, "cluster(4)", ([1], [2]))


def test_compress_float16_layer_raises_and_names_it():
    import keras

    inputs = keras.Input((8,))
    layer = keras.layers.Dense(8, dtype="mixed_float16", name="half")
    with pytest.raises(InvalidValueError, match="'half' .Dense. computes in float16"):
        compress(keras.Model(inputs, layer(inputs)), "cluster(4)")


def test_compress_unfolded_batch_norm_is_said():
    import keras

    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(8, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    result = compress(keras.Model(inputs, x), "cluster(4)")
    reasons = {row.name: row.reason for row in result.report.rows}
    assert "BatchNormalization follows" in reasons["conv"]
    assert "fold it first" in reasons["conv"]
