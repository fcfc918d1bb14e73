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


def test_compress_model_that_ends_in_sigmoid_is_trained(training):
    import keras

    tokens = keras.Input((8,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(50, 8)(tokens)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(tokens, keras.layers.Dense(1, activation="sigmoid")(x))
    result = compress(model, "cluster(4)", training)
    assert result.report.training_log.epochs == 2
    assert result.model.layers[-1].activation is keras.activations.sigmoid


def test_compress_training_without_fit_raises(model):
    with pytest.raises(InvalidValueError, match="have a fit.*got tuple"):
        compress(model, "cluster(4)", ([1], [2]))


def half_model(policy):
    import keras

    inputs = keras.Input((8,), name="x")
    return keras.Model(inputs, keras.layers.Dense(8, dtype=policy, name="half")(inputs))


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16"])
def test_compress_one_shot_takes_any_dtype(policy):
    import keras

    model = half_model(policy)
    for recipe in ("cluster(4)", "prune(0.5)", "prune(0.5)+cluster(4)"):
        kernel = compress(model, recipe).model.get_layer("half").kernel
        assert kernel.dtype == model.get_layer("half").kernel.dtype
        values = np.asarray(keras.ops.cast(kernel, "float32"))
        if "cluster" in recipe:
            assert len(np.unique(values)) == 4
        if "prune" in recipe:
            assert (values == 0).sum() == 32


def test_compress_one_shot_qat_takes_mixed_float16_and_refuses_float16_weights():
    kernel = compress(half_model("mixed_float16"), "qat").model.get_layer("half").kernel
    scale = np.abs(np.asarray(kernel)).max(axis=0) / 127
    np.testing.assert_allclose(np.asarray(kernel) / scale % 1 % 0.999, 0, atol=1e-3)
    with pytest.raises(
        InvalidValueError, match="its kernel is float16, and integers t"
    ):
        compress(half_model("float16"), "qat")


@pytest.mark.parametrize("recipe", ["cluster(4)", "prune(0.5)", "qat"])
def test_compress_float16_layer_is_not_fine_tuned(recipe):
    words = "'half' .Dense. computes in float16, in which small gradients become zero"
    with pytest.raises(InvalidValueError, match=words):
        compress(half_model("mixed_float16"), recipe, FitOnly())


class FitOnly:
    """A training of a user's own with nothing but `fit`."""

    def __init__(self):
        self.num_fits = 0

    def fit(self, model, callbacks):
        self.num_fits += 1
        assert type(callbacks) is list


def conv_model():
    import keras

    layers = keras.layers
    inputs = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.BatchNormalization(name="depthwise_norm")(x)
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


def norms(model):
    return [layer.name for layer in model.layers if "norm" in layer.name]


def outputs(model):
    image = np.random.default_rng(1).normal(size=(2, 6, 6, 3)).astype("float32")
    return np.asarray(model(image))


def test_compress_one_shot_folds_batch_norm_of_treated_layers(caplog):
    from tfcompress.bridge import fold_batch_norm

    model = conv_model()
    before = outputs(model)
    # As many clusters as weights: what is left is the folding.
    result = compress(model, "cluster(256)")
    np.testing.assert_allclose(outputs(result.model), before, rtol=1e-5, atol=1e-5)
    assert norms(result.model) == ["depthwise_norm"]
    assert norms(model) == ["norm", "depthwise_norm"]
    rows = {row.name: row for row in result.report.rows}
    assert [*rows][:3] == ["image", "conv", "norm"]
    assert rows["norm"].status == "folded"
    assert rows["norm"].reason == "it was folded into 'conv' before the first step"
    assert result.report.warnings == ()
    assert caplog.text == ""
    few = compress(model, "cluster(4)").model.get_layer("conv").get_weights()
    folded = fold_batch_norm(model).get_layer("conv").get_weights()
    assert len(np.unique(few[0])) == 4
    np.testing.assert_array_equal(few[1], folded[1])


def test_compress_with_training_says_at_once_what_exporting_undoes(caplog):
    class Training(FitOnly):
        def fit(self, model, callbacks):
            super().fit(model, callbacks)
            assert "1 of the 1 layers that the recipe treats" in caplog.text

    training = Training()
    result = compress(conv_model(), "cluster(4)", training)
    assert training.num_fits == 1
    assert norms(result.model) == ["norm", "depthwise_norm"]
    (warning,) = result.report.warnings
    assert "('conv'; 100% of their weights)" in warning
    assert "because training goes through it. Fold them first: fold_batch" in warning
    reason = next(row.reason for row in result.report.rows if row.name == "conv")
    assert "multiplies the BatchNormalization 'norm' into it" in reason


def test_compress_folds_batch_norm_that_does_not_train(caplog):
    model = conv_model()
    model.get_layer("norm").trainable = False
    result = compress(model, "cluster(4)", FitOnly())
    assert norms(result.model) == ["depthwise_norm"]
    assert caplog.text == ""


def test_compress_folds_batch_norm_always_or_never(caplog):
    result = compress(conv_model(), "cluster(4)", FitOnly(), fold_batch_norm=True)
    assert norms(result.model) == ["depthwise_norm"]
    assert caplog.text == ""
    result = compress(conv_model(), "cluster(4)", fold_batch_norm=False)
    assert norms(result.model) == ["norm", "depthwise_norm"]
    assert "because fold_batch_norm is False" in caplog.text
    with pytest.raises(
        InvalidValueError, match="fold_batch_norm must be 'auto'.*'yes'"
    ):
        compress(None, "cluster(4)", fold_batch_norm="yes")


def test_compress_warns_only_where_something_is_lost(caplog):
    model = conv_model()
    for recipe in ("prune(0.5)", "cluster(4, granularity='per_channel')", "qat"):
        compress(model, recipe, fold_batch_norm=False)
    assert caplog.text == ""


def test_compress_shared_layer_whose_norm_cannot_be_folded_is_said(caplog):
    import keras

    inputs = keras.Input((4,))
    dense = keras.layers.Dense(4, name="dense")
    x = keras.layers.BatchNormalization(name="norm")(dense(dense(inputs)))
    result = compress(keras.Model(inputs, x), "cluster(4)")
    assert "because 'dense' is shared. Take granularity='per_channel'" in caplog.text
    assert result.report.warnings


def test_compress_rules_for_folded_layers_count_as_met():
    model = conv_model()
    rules = "layers={'BatchNormalization': None, 'norm': None}"
    assert norms(compress(model, f"cluster(4, {rules})").model) == ["depthwise_norm"]
    # A rule that treats the norm's own weights keeps it.
    rules = "layers={'norm': {'weights': ['gamma']}}"
    assert norms(compress(model, f"prune(0.5, {rules})").model) == norms(model)
    with pytest.raises(InvalidValueError, match="'nrom' matches no layer"):
        compress(model, "cluster(4, layers={'nrom': None})")


NEEDS = {
    "qat('static_range')": "QatConfig.scheme 'static_range'.*needs batches.n. of",
    "cluster(4, sensitivity='fisher')": "sensitivity='fisher'.*needs batches.n. of",
    "prune(0.5, criterion='fisher')": "criterion 'fisher'.*needs batches.n. of",
    "prune(0.5, schedule='polynomial')": "schedule 'polynomial'.*needs num_steps of",
    "cluster(4)+qat('static_range')": "QatConfig.*which FitOnly lacks. Add it as Exam",
}


@pytest.mark.parametrize("recipe", NEEDS)
def test_compress_refuses_a_training_that_lacks_what_a_step_needs(recipe):
    with pytest.raises(InvalidValueError, match=NEEDS[recipe]):
        compress(None, recipe, FitOnly())  # before the model is looked at


def test_compress_refuses_what_a_later_step_lacks_before_anything_runs():
    with pytest.raises(InvalidValueError, match="'static_range'.*training is None"):
        compress(None, "cluster(4)+qat('static_range')")


@pytest.mark.parametrize("recipe", ["", "cluster(4)", "prune(0.5)+cluster(4)", "qat"])
def test_compress_takes_a_training_with_fit_alone(recipe, model):
    training = FitOnly()
    result = compress(model, recipe, training)
    assert training.num_fits == 1
    assert result.report.training_log is None
