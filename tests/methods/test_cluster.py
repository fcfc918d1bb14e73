"""Tests of clustering: configs, one shot, fine-tuning, rules, report."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import ClusterConfig, cluster
from tfcompress.methods.kmeans import kmeans_1d, nearest_centroid


class Fit:
    """The smallest training: `num_steps` steps on given arrays."""

    def __init__(self, inputs, labels, num_epochs=3):
        self.inputs, self.labels, self.num_epochs = inputs, labels, num_epochs

    def fit(self, model, callbacks=()):
        import tf_keras

        tf_keras.utils.set_random_seed(0)
        model.compile(tf_keras.optimizers.Adam(0.01), "mse")
        return model.fit(
            self.inputs,
            self.labels,
            batch_size=8,
            epochs=self.num_epochs,
            callbacks=list(callbacks),
            verbose=0,
        ).history["loss"]


@pytest.fixture(scope="module")
def model():
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    inputs = tf_keras.Input((6,), dtype="int32", name="tokens")
    x = tf_keras.layers.Embedding(40, 8, name="embedding")(inputs)
    x = tf_keras.layers.Dropout(0.1, name="dropout")(x)
    x = tf_keras.layers.GlobalAveragePooling1D(name="pooling")(x)
    x = tf_keras.layers.Dense(12, activation="relu", name="hidden")(x)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(1, name="logits")(x))


@pytest.fixture(scope="module")
def training():
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 40, (64, 6)).astype(np.int32)
    return Fit(inputs, (inputs < 20).mean(1, keepdims=True).astype(np.float32))


def weight(model, layer):
    return model.get_layer(layer).get_weights()[0]


def row(report, name):
    return next(row for row in report.rows if row.name == name)


@pytest.mark.parametrize("num_clusters", [0, 1, 257, 2.0, True])
def test_config_num_clusters_outside_limits_raises(num_clusters):
    with pytest.raises(InvalidValueError, match="num_clusters must be .* 2 to 256"):
        ClusterConfig(num_clusters=num_clusters)


@pytest.mark.parametrize("num_clusters", [2, 256])
def test_config_num_clusters_at_limits_holds(num_clusters):
    assert ClusterConfig(num_clusters=num_clusters).num_clusters == num_clusters


def test_config_unknown_init_raises_and_lists_choices():
    with pytest.raises(InvalidValueError, match="one of kmeans, linear.*got 'best'"):
        ClusterConfig(centroid_init="best")


def test_config_rule_with_unknown_setting_raises():
    with pytest.raises(InvalidValueError, match="sets 'sparsity'"):
        ClusterConfig(layers=LayerRules({"a": {"sparsity": 0.5}}))


def test_config_rule_with_bad_value_raises():
    with pytest.raises(InvalidValueError, match="num_clusters must be"):
        ClusterConfig(layers=LayerRules({"a": {"num_clusters": 1}}))


def test_config_refresh_steps_of_zero_raises():
    with pytest.raises(InvalidValueError, match="refresh_steps must be .* at least 1"):
        ClusterConfig(refresh_steps=0)


def test_cluster_one_shot_moves_each_weight_to_its_nearest_kmeans_centroid(model):
    clustered, _ = cluster(model, ClusterConfig(num_clusters=4))
    before = weight(model, "hidden")
    centroids = kmeans_1d(before, 4)
    expected = centroids[nearest_centroid(before, centroids)]
    np.testing.assert_array_equal(weight(clustered, "hidden"), expected)


def test_cluster_leaves_the_callers_model_and_its_biases(model, training):
    before = [array.copy() for array in model.get_weights()]
    clustered, _ = cluster(model, ClusterConfig(num_clusters=4))
    cluster(model, ClusterConfig(num_clusters=4), training)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(
        clustered.get_layer("hidden").get_weights()[1],
        model.get_layer("hidden").get_weights()[1],
    )


@pytest.mark.parametrize("refresh_steps", [1, 5])
def test_cluster_fine_tuned_keeps_values_and_learns(model, training, refresh_steps):
    config = ClusterConfig(num_clusters=4, refresh_steps=refresh_steps)
    clustered, report = cluster(model, config, training)
    for layer in ("embedding", "hidden"):
        assert len(np.unique(weight(clustered, layer))) <= 4
    assert report.training_log[-1] < report.training_log[0]
    one_shot, _ = cluster(model, config)
    assert not np.array_equal(weight(clustered, "hidden"), weight(one_shot, "hidden"))


def test_cluster_fine_tuned_predicts_like_the_wrapped_model(model, training):
    """What is stripped computes what was trained: the last assignments count."""
    losses = []

    class Recorder(Fit):
        def fit(self, wrapped, callbacks=()):
            log = super().fit(wrapped, callbacks)
            losses.append((wrapped, wrapped.predict(self.inputs, verbose=0)))
            return log

    recorder = Recorder(training.inputs, training.labels)
    clustered, _ = cluster(model, ClusterConfig(refresh_steps=1), recorder)
    _, expected = losses[0]
    found = clustered.predict(training.inputs, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_cluster_same_seed_repeats(model, training):
    config = ClusterConfig(num_clusters=3, centroid_init="random", seed=5)
    first, _ = cluster(model, config, training)
    second, _ = cluster(model, config, training)
    np.testing.assert_allclose(
        weight(first, "embedding"), weight(second, "embedding"), rtol=1e-5
    )


@pytest.mark.parametrize(
    "init", ["kmeans", "linear", "density_based", "random", "kmeans_plus_plus"]
)
def test_cluster_every_init_gives_at_most_the_clusters(model, init):
    config = ClusterConfig(num_clusters=5, centroid_init=init)
    clustered, _ = cluster(model, config)
    assert len(np.unique(weight(clustered, "hidden"))) <= 5


@pytest.mark.parametrize("init", ["kmeans", "kmeans_plus_plus"])
def test_cluster_more_clusters_than_values_uses_fewer_and_says_so(model, init):
    config = ClusterConfig(num_clusters=256, centroid_init=init)
    clustered, report = cluster(model, config)
    assert row(report, "logits").reason == (
        "12 clusters instead of 256: kernel has 12 distinct values"
    )
    np.testing.assert_array_equal(weight(clustered, "logits"), weight(model, "logits"))


def test_cluster_constant_weight_is_skipped_with_its_reason(model):
    import tf_keras

    copy = tf_keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    kernel, bias = copy.get_layer("hidden").get_weights()
    copy.get_layer("hidden").set_weights([np.ones_like(kernel), bias])
    _, report = cluster(copy, ClusterConfig())
    assert row(report, "hidden").status == "skipped"
    assert "all weights of kernel have one value" in row(report, "hidden").reason


def test_cluster_report_has_a_row_for_every_layer(model):
    _, report = cluster(model, ClusterConfig(num_clusters=4))
    assert [r.name for r in report.rows] == [layer.name for layer in model.layers]
    embedding = row(report, "embedding")
    assert embedding.status == "compressed"
    assert embedding.stripped["embeddings"]["distinct_values"] == 4
    assert row(report, "dropout").reason == "it has no weights"
    assert report.structures["embedding", "embeddings"]["codebook"].shape == (4,)


def test_cluster_rules_by_name_and_type(model):
    rules = LayerRules({"hidden": None, "Embedding": {"num_clusters": 3}})
    clustered, report = cluster(model, ClusterConfig(num_clusters=4, layers=rules))
    np.testing.assert_array_equal(weight(clustered, "hidden"), weight(model, "hidden"))
    assert row(report, "hidden").reason == "a rule leaves it alone"
    assert len(np.unique(weight(clustered, "embedding"))) == 3


def test_cluster_rule_on_layer_without_kernel_is_left_alone_or_raises():
    import tf_keras

    inputs = tf_keras.Input((4, 4, 3))
    x = tf_keras.layers.DepthwiseConv2D(3, name="depthwise")(inputs)
    x = tf_keras.layers.BatchNormalization(name="norm")(x)
    model = tf_keras.Model(inputs, x)
    _, report = cluster(model, ClusterConfig())
    assert row(report, "depthwise").reason == (
        "a depthwise kernel is clustered only when named"
    )
    named = LayerRules({"depthwise": {"num_clusters": 4}})
    clustered, _ = cluster(model, ClusterConfig(layers=named))
    assert len(np.unique(weight(clustered, "depthwise"))) == 4
    with pytest.raises(InvalidValueError, match="'norm' .* cannot be clustered"):
        cluster(model, ClusterConfig(layers=LayerRules({"norm": {"num_clusters": 4}})))


def test_cluster_weights_that_are_not_finite_raise():
    import tf_keras

    inputs = tf_keras.Input((2,))
    layer = tf_keras.layers.Dense(2, name="bad", use_bias=False)
    model = tf_keras.Model(inputs, layer(inputs))
    layer.set_weights([np.float32([[np.inf, 0], [1, 2]])])
    with pytest.raises(InvalidValueError, match="'kernel' of layer 'bad' .*not finite"):
        cluster(model, ClusterConfig(num_clusters=2))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "Bidirectional"])
def test_cluster_recurrent_layer_kernels_of_every_cell(kind):
    import tf_keras

    layers = tf_keras.layers
    if kind == "Bidirectional":
        layer = layers.Bidirectional(layers.LSTM(5), name="recurrent")
    else:
        layer = getattr(layers, kind)(5, name="recurrent")
    inputs = tf_keras.Input((3, 4))
    model = tf_keras.Model(inputs, layers.Dense(1, name="logits")(layer(inputs)))
    rng = np.random.default_rng(0)
    fit = Fit(rng.normal(size=(16, 3, 4)), rng.normal(size=(16, 1)), num_epochs=1)
    clustered, report = cluster(model, ClusterConfig(num_clusters=4), fit)
    stripped = row(report, "recurrent").stripped
    cells = 2 if kind == "Bidirectional" else 1
    assert len(stripped) == 2 * cells
    assert all(values["distinct_values"] <= 4 for values in stripped.values())
    kernel = clustered.get_layer("recurrent").get_weights()[0]
    assert len(np.unique(kernel)) <= 4
    assert clustered.predict(fit.inputs, verbose=0).shape == (16, 1)
