"""Tests of TFMOT's own engines: they do what TFMOT does, and tell what they leave."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from keras import layers

from tfcompress.bridge import to_tf_keras
from tfcompress.compress import compress
from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import (
    ClusterConfig,
    PruneConfig,
    QatConfig,
    cluster,
    prune,
    qat,
)
from tfcompress.methods.stock.wrapping import one_line_refusals
from tfcompress.recipe import parse_recipe
from tfcompress.training import fit_model


@pytest.fixture
def flat(make_text_model):
    return to_tf_keras(make_text_model())


def row(report, name):
    return next(row for row in report.rows if row.name == name)


def kernel(model, name="hidden"):
    return model.get_layer(name).get_weights()[0]


def by_hand(flat, wrapper, names):
    """Wraps layers as a user of TFMOT does, weights first."""
    copy = tf_keras.models.clone_model(flat)
    copy.set_weights(flat.get_weights())
    return tf_keras.models.clone_model(
        copy, clone_function=lambda x: wrapper(x) if x.name in names else x
    )


TREATED = ("embedding", "hidden", "logits")


def test_stock_cluster_is_what_tfmot_does(flat, training):
    config = ClusterConfig(num_clusters=4, centroid_init="linear", engine="tfmot")
    found, report = cluster(flat, config, training)
    stock = tfmot.clustering.keras
    init = stock.CentroidInitialization.LINEAR
    wrapped = by_hand(flat, lambda x: stock.cluster_weights(x, 4, init), TREATED)
    fit_model(training, wrapped)
    expected = stock.strip_clustering(wrapped)
    for name in TREATED:
        np.testing.assert_allclose(
            kernel(found, name), kernel(expected, name), rtol=1e-5, atol=1e-6
        )
    assert report.training_log.epochs == 2
    assert row(report, "hidden").requested["engine"] == "tfmot"


def test_stock_cluster_default_init_is_told(flat):
    _, report = cluster(flat, ClusterConfig(num_clusters=4, engine="tfmot"))
    assert row(report, "hidden").requested["centroid_init"] == "kmeans_plus_plus"
    assert row(report, "hidden").stripped["kernel"]["distinct_values"] <= 4


@pytest.mark.parametrize("schedule", ["one_shot", "polynomial"])
def test_stock_prune_is_what_tfmot_does(flat, training, schedule):
    options = {"frequency": 4} if schedule != "one_shot" else {}
    config = PruneConfig(0.5, schedule=schedule, engine="tfmot", **options)
    found, _ = prune(flat, config, training)
    stock = tfmot.sparsity.keras
    if schedule == "one_shot":
        plan = stock.ConstantSparsity(0.5, begin_step=1, end_step=2, frequency=2)
    else:  # of 16 steps, to 0.7 of them: 1, 5, 9
        plan = stock.PolynomialDecay(0.0, 0.5, begin_step=1, end_step=9, frequency=4)
    wrapped = by_hand(flat, lambda x: stock.prune_low_magnitude(x, plan), TREATED)
    fit_model(training, wrapped, [stock.UpdatePruningStep()])
    expected = stock.strip_pruning(wrapped)
    for name in TREATED:
        np.testing.assert_allclose(
            kernel(found, name), kernel(expected, name), rtol=1e-5, atol=1e-6
        )
        assert (kernel(found, name) == 0).mean() == 0.5


def test_stock_prune_that_ends_before_its_schedule_says_what_is_missing(flat, training):
    config = PruneConfig(
        0.5, schedule="polynomial", begin=0.9, end=1, frequency=1, engine="tfmot"
    )

    class Short:
        num_steps = 1000  # it stops after 16

        def fit(self, model, callbacks):
            training.fit(model, callbacks)

    _, report = prune(flat, config, Short())
    assert row(report, "hidden").reason == "kernel: 0 zeros instead of 48"


def test_stock_qat_weights_are_those_that_tfmot_rounds_to(flat, training):
    found, report = qat(flat, QatConfig(engine="tfmot"), training)
    for name in ("hidden", "logits"):
        values = kernel(found, name)
        limit = float(np.abs(values).max())
        rounded = tf.quantization.fake_quant_with_min_max_vars(
            values, -limit, limit, num_bits=8, narrow_range=True
        )
        np.testing.assert_allclose(values, rounded, rtol=1e-4, atol=1e-6)
        assert report.structures[name, "kernel"]["scale"].shape == ()
    output = report.structures["hidden", "output"]
    assert output["minimum"] <= 0 < output["maximum"]
    assert row(report, "embedding").status == "skipped"
    assert row(report, "embedding").reason == (
        "TFMOT's default 8-bit scheme does not know layers of type Embedding"
    )
    assert "LayerNormalization" in row(report, "norm").reason
    # What is not rounded trains on.
    assert not np.array_equal(kernel(found, "embedding"), kernel(flat, "embedding"))


class ImageTraining:
    """Fits random images."""

    def fit(self, model, callbacks):
        rng = np.random.default_rng(0)
        images = rng.normal(size=(16, 8, 8, 3)).astype(np.float32)
        model.compile("sgd", "mse")
        model.fit(images, np.zeros(16), 8, callbacks=callbacks, verbose=0)


def image_model():
    images = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, name="conv")(images)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(4, 3, name="separable")(x)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    return keras.Model(images, layers.Dense(1, name="logits")(x))


@pytest.mark.parametrize(
    ("recipe", "left"),
    [
        ("cluster(4, engine='tfmot')", ()),
        ("prune(0.5, engine='tfmot')", ()),
        ("prune(0.5, sparsity_m_by_n=(2, 4), engine='tfmot')", ("conv",)),
        ("qat(engine='tfmot')", ("separable",)),
        ("prune(0.5, engine='tfmot')+cluster(4, engine='tfmot')", ()),
        ("prune(0.5, engine='tfmot')+cluster(4)+qat", ()),
        ("cluster(4)", ()),
    ],
)
def test_stock_engines_take_convolutions_there_and_back(recipe, left):
    result = compress(image_model(), recipe, ImageTraining())
    for name in ("conv", "separable"):
        status = row(result.report, name).status
        assert (status == "compressed") == (name not in left), name
    assert result.model(np.zeros((1, 8, 8, 3), np.float32)).shape == (1, 1)


@pytest.mark.parametrize("clustering", ["cluster(4)", "cluster(4, engine='tfmot')"])
def test_stock_pruning_keeps_its_zeros_in_clustering(
    make_text_model, training, clustering
):
    result = compress(
        make_text_model(), f"prune(0.5, engine='tfmot')+{clustering}", training
    )
    for name in TREATED:
        values = kernel(result.model, name)
        assert (values == 0).mean() >= 0.5
        assert len(np.unique(values)) <= 4


def test_stock_clustering_keeps_zeros_of_what_it_does_not_cluster(
    make_text_model, training
):
    rules = "layers={'hidden': {'weights': ['kernel', 'bias']}, 'embedding': None}"
    recipe = f"prune(0.5, {rules})+cluster(4, engine='tfmot')"
    hidden = compress(make_text_model(), recipe, training).model.get_layer("hidden")
    found, bias = (weight.numpy() for weight in hidden.weights)
    assert (found == 0).mean() >= 0.5
    assert (bias == 0).sum() == 6


def test_stock_clustering_in_two_clusters_leaves_pruned_layers(
    make_text_model, training
):
    recipe = "prune(0.5)+cluster(2, engine='tfmot')"
    result = compress(make_text_model(), recipe, training)
    assert "TFMOT keeps zeros only in 3 clusters" in row(result.report, "hidden").reason
    assert (kernel(result.model) == 0).mean() == 0.5


def test_stock_leaves_layers_out_that_hand_masks_on():
    tokens = tf_keras.Input((6,), dtype="int32")
    x = tf_keras.layers.Embedding(20, 4, mask_zero=True, name="embedding")(tokens)
    x = tf_keras.layers.GlobalAveragePooling1D(name="pooling")(x)
    model = tf_keras.Model(tokens, tf_keras.layers.Dense(3, name="logits")(x))
    _, report = cluster(model, ClusterConfig(num_clusters=4, engine="tfmot"))
    assert row(report, "embedding").status == "skipped"
    assert "it hands a mask on" in row(report, "embedding").reason
    assert row(report, "logits").status == "compressed"


def test_stock_clusters_recurrent_kernels(training):
    tokens = keras.Input((8,), dtype="int32", name="tokens")
    x = layers.Embedding(50, 4, name="embedding")(tokens)
    model = to_tf_keras(
        keras.Model(tokens, layers.Dense(1)(layers.LSTM(4, name="lstm")(x)))
    )
    found, report = cluster(
        model, ClusterConfig(num_clusters=4, engine="tfmot"), training
    )
    assert row(report, "lstm").status == "compressed"
    for values in found.get_layer("lstm").get_weights()[:2]:
        assert len(np.unique(values)) <= 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"trainable": False}, "it is frozen, and TFMOT clusters what trains"),
        ({"filters": 1}, "TFMOT clusters no convolution of 4 weights so"),
    ],
)
def test_stock_cluster_leaves_convolutions_that_tfmot_does(options, reason):
    inputs = tf_keras.Input((4, 4, 1))
    conv = tf_keras.layers.Conv2D(**{"filters": 3, "kernel_size": 2, **options})
    model = tf_keras.Model(inputs, conv(inputs))
    _, report = cluster(model, ClusterConfig(num_clusters=4, engine="tfmot"))
    assert report.rows[1].status == "skipped"
    assert report.rows[1].reason == reason


def test_stock_leaves_bfloat16_alone():
    inputs = tf_keras.Input((3,))
    dense = tf_keras.layers.Dense(2, name="half", dtype="mixed_bfloat16")
    model = tf_keras.Model(inputs, dense(inputs))
    _, report = cluster(model, ClusterConfig(num_clusters=3, engine="tfmot"))
    assert "it computes in bfloat16" in row(report, "half").reason


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            "cluster(4, engine='tf')",
            "engine must be one of tfcompress, tfmot, got 'tf'",
        ),
        (
            "cluster(4, granularity='per_channel', engine='tfmot')",
            "granularity='per_channel' is a setting that TFMOT does not have",
        ),
        ("cluster(4, refresh_steps=5, engine='tfmot')", "refresh_steps=5 is a setting"),
        ("prune(0.5, criterion='fisher', engine='tfmot')", "criterion='fisher' is a"),
        ("prune(0.5, scope='global', engine='tfmot')", "scope='global' is a setting"),
        (
            "prune(0.5, engine='tfmot', layers={'a': {'weights': ['bias']}})",
            "The rule for layer 'a' sets 'weights', which TFMOT does not have",
        ),
        ("qat(weight_bits=4, engine='tfmot')", "weight_bits=4 is a setting that TFMOT"),
        ("qat(freeze=0.5, engine='tfmot')", "freeze=0.5 is a setting"),
        ("prune(0.5)+qat(engine='tfmot')", "keeps no zeros and no clusters of earlier"),
        ("cluster(4)+qat(engine='tfmot')", "Leave engine='tfmot' out of 'qat'"),
        ("qat(engine='tfmot')+cluster(4)", "'cluster' would undo what 'qat' made"),
        (
            "prune(0.5)+cluster(4, keep_zeros=False, engine='tfmot')",
            "prunes and then, with keep_zeros=False",
        ),
    ],
)
def test_stock_setting_that_tfmot_lacks_raises(recipe, message):
    with pytest.raises(InvalidValueError, match=message):
        parse_recipe(recipe)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("prune(0.5, engine='tfmot')", "PruneConfig.engine 'tfmot' prunes during tr"),
        ("qat(engine='tfmot')", "QatConfig.engine 'tfmot' rounds during training, and"),
    ],
)
@pytest.mark.parametrize("is_given", [True, False])
def test_stock_one_shot_that_tfmot_has_not_raises(recipe, message, is_given):
    training = ImageTraining() if is_given else None
    with pytest.raises(InvalidValueError, match=f"{message}.*take engine='tfcompress'"):
        compress(None, recipe, training, finetune=False)


@pytest.mark.parametrize(
    ("method", "config", "name"),
    [
        (cluster, ClusterConfig, "depthwise"),
        (prune, PruneConfig, "depthwise"),
        (qat, QatConfig, "separable"),
    ],
)
def test_stock_rule_for_a_layer_that_tfmot_leaves_out_raises(method, config, name):
    options = {"sparsity": 0.5} if config is PruneConfig else {}
    rules = LayerRules({name: {}})
    with pytest.raises(
        InvalidValueError, match=f"'{name}' .* cannot be treated by TFMOT: TFMOT"
    ):
        method(
            to_tf_keras(image_model()),
            config(engine="tfmot", layers=rules, **options),
            ImageTraining(),
        )


def test_stock_qat_with_nothing_to_quantize_trains_a_copy(training):
    tokens = tf_keras.Input((8,), dtype="int32", name="tokens")
    x = tf_keras.layers.Embedding(50, 1, name="embedding")(tokens)
    model = tf_keras.Model(tokens, tf_keras.layers.LSTM(1, name="lstm")(x))
    found, report = qat(model, QatConfig(engine="tfmot"), training)
    assert not any(row.stripped for row in report.rows)
    assert report.training_log.epochs == 2
    assert not np.array_equal(kernel(found, "embedding"), kernel(model, "embedding"))


def test_stock_refusal_is_one_line():
    init = tfmot.clustering.keras.CentroidInitialization.LINEAR
    message = "^TFMOT cannot cluster this model: number_of_clusters must be greater"
    dense = tf_keras.layers.Dense(1)
    with (
        pytest.raises(InvalidValueError, match=message) as error,
        one_line_refusals("cluster"),
    ):
        tfmot.clustering.keras.cluster_weights(dense, 1, init)
    assert "\n" not in str(error.value)


def test_stock_cluster_of_weights_fewer_than_clusters_is_told(flat):
    values = np.zeros((12, 1), np.float32)
    values[0], values[1] = 1, -0.0
    flat.get_layer("logits").kernel.assign(values)
    _, report = cluster(flat, ClusterConfig(num_clusters=4, engine="tfmot"))
    assert row(report, "logits").status == "skipped"
    assert row(report, "logits").reason == (
        "it has 1 weights for 2 of TFMOT's clusters"
    )


def test_stock_prune_leaves_no_negative_zero(flat, training):
    pruned, _ = prune(flat, PruneConfig(0.5, engine="tfmot"), training)
    for name in TREATED:
        values = kernel(pruned, name)
        assert not np.signbit(values[values == 0]).any()
