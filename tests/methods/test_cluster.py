"""Tests of clustering: one shot, fine-tuning, zeros, blocks, rules, report."""

import numpy as np
import pytest

from tfcompress.data.dataset import Dataset, Split
from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import ClusterConfig, cluster
from tfcompress.methods.kmeans import kmeans_1d, nearest_centroid
from tfcompress.training import ArrayTraining, TrainingConfig


class Fit:
    """The smallest training: `num_steps` steps on given arrays."""

    def __init__(self, inputs, labels, num_epochs=3):
        self.inputs, self.labels, self.num_epochs = inputs, labels, num_epochs

    def fit(self, model, callbacks=()):
        import tf_keras

        tf_keras.utils.set_random_seed(0)
        model.compile(tf_keras.optimizers.Adam(0.01), "mse")
        self.history = model.fit(
            self.inputs,
            self.labels,
            batch_size=8,
            epochs=self.num_epochs,
            callbacks=list(callbacks),
            verbose=0,
        ).history["loss"]
        return self.history


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


def with_weight(model, layer, array):
    """Returns a copy of a model with another kernel in one layer."""
    import tf_keras

    copy = tf_keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    others = copy.get_layer(layer).get_weights()[1:]
    copy.get_layer(layer).set_weights([array, *others])
    return copy


def dense_model(kernel):
    """Returns a model of one Dense layer without a bias."""
    import tf_keras

    kernel = np.float32(kernel)
    inputs = tf_keras.Input((kernel.shape[0],), name="x")
    layer = tf_keras.layers.Dense(kernel.shape[1], use_bias=False, name="dense")
    model = tf_keras.Model(inputs, layer(inputs))
    layer.set_weights([kernel])
    return model


def row(report, name):
    return next(row for row in report.rows if row.name == name)


def test_cluster_one_shot_moves_each_weight_to_its_nearest_kmeans_centroid(model):
    clustered, _ = cluster(model, ClusterConfig(num_clusters=4))
    before = weight(model, "hidden")
    centroids = kmeans_1d(before, 4)
    expected = centroids[nearest_centroid(before, centroids)]
    np.testing.assert_array_equal(weight(clustered, "hidden"), expected)


@pytest.mark.parametrize("refresh_steps", [1, 5])
def test_cluster_fine_tuned_keeps_values_and_learns(model, training, refresh_steps):
    config = ClusterConfig(num_clusters=4, refresh_steps=refresh_steps)
    clustered, report = cluster(model, config, training)
    for layer in ("embedding", "hidden"):
        assert len(np.unique(weight(clustered, layer))) <= 4
    assert training.history[-1] < training.history[0]
    assert report.training_log is None  # what `fit` returned is no TrainingLog
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
    copy = with_weight(model, "hidden", np.ones_like(weight(model, "hidden")))
    _, report = cluster(copy, ClusterConfig())
    assert row(report, "hidden").status == "skipped"
    assert "all weights of kernel have one value" in row(report, "hidden").reason


def test_cluster_per_channel_keeps_the_clusters_in_each_column(model, training):
    config = ClusterConfig(num_clusters=3, granularity="per_channel")
    for clustered, report in (
        cluster(model, config),
        cluster(model, config, training),
    ):
        for layer, name in (("embedding", "embeddings"), ("hidden", "kernel")):
            array, structure = weight(clustered, layer), report.structures[layer, name]
            assert structure["axis"] == 1
            for column, codebook in zip(array.T, structure["codebook"], strict=True):
                assert set(column) <= set(codebook)
            assert row(report, layer).stripped[name]["clusters_used"] <= 3
            assert structure["codebook"].shape == (array.shape[1], 3)


def test_cluster_blocks_are_codebook_times_scale_to_the_bit(model, training):
    rules = LayerRules({"logits": None})
    config = ClusterConfig(num_clusters=4, block_size=4, layers=rules)
    for clustered, report in (
        cluster(model, config),
        cluster(model, config, training),
    ):
        for layer, name, axis in (
            ("embedding", "embeddings", 1),
            ("hidden", "kernel", 0),
        ):
            array, structure = weight(clustered, layer), report.structures[layer, name]
            assert (structure["axis"], structure["block_size"]) == (axis, 4)
            wide = np.repeat(structure["scales"].astype(np.float32), 4, axis)
            possible = structure["codebook"] * wide[..., None]
            assert (array[..., None] == possible).any(-1).all()
            assert row(report, layer).stripped[name]["clusters_used"] <= 4


def test_cluster_block_that_does_not_divide_is_skipped_with_its_reason(model):
    clustered, report = cluster(model, ClusterConfig(block_size=5))
    assert row(report, "hidden").status == "skipped"
    assert row(report, "hidden").reason == (
        "block_size 5 does not divide axis 0 of kernel, shape (8, 12)"
    )
    np.testing.assert_array_equal(weight(clustered, "hidden"), weight(model, "hidden"))


def test_cluster_block_of_a_rule_that_does_not_divide_raises(model):
    rules = LayerRules({"hidden": {"block_size": 5}})
    with pytest.raises(InvalidValueError, match="'hidden' .Dense.*5 does not divide"):
        cluster(model, ClusterConfig(layers=rules))


def test_cluster_block_with_a_scale_above_float16_is_skipped(model):
    changed = with_weight(model, "hidden", weight(model, "hidden") * 1e6)
    _, report = cluster(changed, ClusterConfig(block_size=4))
    assert "magnitudes above 65504" in row(report, "hidden").reason


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"granularity": "per_channel"},
        {"block_size": 4},
        {"centroid_init": "linear"},
    ],
    ids=["tensor", "channel", "block", "linear"],
)
def test_cluster_keeps_the_zeros_of_a_pruned_weight(options):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(8, 6)).astype(np.float32)
    kernel[np.abs(kernel) < 0.7] = 0
    kernel[:, 3] = 0  # a channel without weights
    pruned = dense_model(kernel)
    fit = Fit(rng.normal(size=(16, 8)), rng.normal(size=(16, 6)), num_epochs=1)
    config = ClusterConfig(num_clusters=4, refresh_steps=1, **options)
    for training in (None, fit):
        clustered, report = cluster(pruned, config, training)
        np.testing.assert_array_equal(weight(clustered, "dense") == 0, kernel == 0)
        stripped = row(report, "dense").stripped["kernel"]
        assert stripped["clusters_used"] <= 4
        if "block_size" not in options and "granularity" not in options:
            assert stripped["distinct_values"] <= 4


def test_cluster_without_keep_zeros_takes_them_for_values():
    model = dense_model([[0.0], [0.2], [5.0]])
    config = ClusterConfig(num_clusters=2, keep_zeros=False)
    clustered, _ = cluster(model, config)
    np.testing.assert_array_equal(
        weight(clustered, "dense").ravel(), np.float32([0.1, 0.1, 5])
    )


def test_cluster_zeros_by_chance_do_not_cost_a_cluster():
    kernel = np.random.default_rng(0).choice(np.float32([-2, -1, 1, 2]), (400, 500))
    kernel[0, 0] = 0  # one of 200,000
    config = ClusterConfig(num_clusters=4)
    clustered, _ = cluster(dense_model(kernel), config)
    assert len(np.unique(weight(clustered, "dense"))) == 4
    kernel[0, :3] = 0
    clustered, _ = cluster(dense_model(kernel), config)
    assert np.count_nonzero(weight(clustered, "dense") == 0) == 3


def test_cluster_report_has_the_error_and_its_optimum(model, training):
    config = ClusterConfig(num_clusters=4)
    clustered, report = cluster(model, config)
    before = weight(model, "hidden").astype(np.float64)
    found = row(report, "hidden").stripped["kernel"]
    expected = np.mean((weight(clustered, "hidden") - before) ** 2)
    assert found["mean_squared_error"] == pytest.approx(expected)
    assert found["optimal_mean_squared_error"] == pytest.approx(expected)
    _, report = cluster(model, config, training)
    found = row(report, "hidden").stripped["kernel"]
    assert found["mean_squared_error"] > 1.01 * expected
    assert found["optimal_mean_squared_error"] == pytest.approx(expected)
    _, report = cluster(model, ClusterConfig(num_clusters=4, centroid_init="linear"))
    found = row(report, "hidden").stripped["kernel"]
    assert found["mean_squared_error"] > 1.01 * found["optimal_mean_squared_error"]


def test_cluster_training_that_was_killed_ends_with_the_same_bits(model, tmp_path):
    import tf_keras

    class Killed(Exception):
        pass

    class Kill(tf_keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 5:
                raise Killed

    class Fit:
        def __init__(self, callbacks=()):
            rng = np.random.default_rng(0)
            tokens = rng.integers(0, 40, (64, 6)).astype(np.int32)
            split = Split({"tokens": tokens}, (tokens[:, 0] < 20).astype(np.int32))
            names = ["no", "yes"]
            dataset = Dataset.from_splits(split, split, split, names)
            config = TrainingConfig(epochs=1, batch_size=4, learning_rate=0.01)
            self.training = ArrayTraining(
                dataset, config, checkpoint_folder=tmp_path, checkpoint_seconds=0.0
            )
            self.callbacks = callbacks

        def fit(self, model, callbacks):
            return self.training.fit(model, [*callbacks, *self.callbacks])

    config = ClusterConfig(num_clusters=4, refresh_steps=7)
    unbroken, _ = cluster(model, config, Fit())
    with pytest.raises(Killed):
        cluster(model, config, Fit([Kill()]))
    assert len(list(tmp_path.iterdir())) == 1
    resumed, _ = cluster(model, config, Fit())
    for first, second in zip(unbroken.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_cluster_report_says_what_was_done(model):
    _, report = cluster(model, ClusterConfig(num_clusters=4))
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
    model = dense_model([[np.inf, 0], [1, 2]])
    with pytest.raises(
        InvalidValueError, match="'kernel' of layer 'dense' .*not finite"
    ):
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
