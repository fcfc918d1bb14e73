"""Tests of pruning: one shot, structures, scopes, training, rules, report."""

import numpy as np
import pytest
import tf_keras

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import PruneConfig, prune
from tfcompress.methods.constrained import constrain
from tfcompress.methods.prune import MaskedWeight
from tfcompress.training import ArrayTraining, TrainingConfig

layers = tf_keras.layers


@pytest.fixture(scope="module")
def model():
    inputs = tf_keras.Input((4,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 8, name="embedding")(inputs)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Dropout(0.1, name="dropout")(x)
    x = layers.GlobalAveragePooling1D(name="pooling")(x)
    x = layers.Dense(12, activation="relu", name="hidden")(x)
    model = tf_keras.Model(inputs, layers.Dense(1, name="logits")(x))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def dataset(make_token_dataset):
    return make_token_dataset(20, 4)


def training_on(dataset, folder=None, **options):
    defaults = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01}  # 16 steps
    config = TrainingConfig(**{**defaults, "optimizer": "adamw", **options})
    return ArrayTraining(
        dataset, config, checkpoint_folder=folder, checkpoint_seconds=0.0
    )


def weight(model, layer, index=0):
    return model.get_layer(layer).get_weights()[index]


def num_zeros(model, layer, index=0):
    return int((weight(model, layer, index) == 0).sum())


def row(report, name):
    return next(row for row in report.rows if row.name == name)


def dense(kernel, name="hidden"):
    kernel = np.float32(kernel)
    inputs = tf_keras.Input(kernel.shape[:1])
    layer = layers.Dense(kernel.shape[1], use_bias=False, name=name)
    model = tf_keras.Model(inputs, layer(inputs))
    layer.set_weights([kernel])
    return model


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, -4], [0, 5], [8, 0], [0, 6]]),
        (
            {"structure": "block", "block_shape": (2, 1)},
            [[0, -4], [0, 5], [8, 0], [3, 0]],
        ),
        (
            {"structure": "block", "block_shape": (1, 2)},
            [[0, 0], [0, 0], [8, 1], [3, 6]],
        ),
        ({"sparsity_m_by_n": (2, 4)}, [[0, 0], [0, 5], [8, 0], [3, 6]]),
    ],
)
def test_prune_small_kernel_by_hand(options, expected):
    model = dense([[-1, -4], [2, 5], [8, 1], [3, 6]])
    pruned, _ = prune(model, PruneConfig(0.5, **options))
    np.testing.assert_array_equal(weight(pruned, "hidden"), expected)


def test_prune_m_by_n_of_an_embedding_lies_along_its_rows():
    inputs = tf_keras.Input((1,), dtype="int32")
    layer = layers.Embedding(2, 4, name="table")
    model = tf_keras.Model(inputs, layer(inputs))
    layer.set_weights([np.float32([[1, 2, 3, 4], [-9, 1, 8, -2]])])
    pruned, _ = prune(model, PruneConfig(0.5, sparsity_m_by_n=(2, 4)))
    expected = [[0, 0, 3, 4], [-9, 0, 8, 0]]
    np.testing.assert_array_equal(weight(pruned, "table"), expected)


def test_prune_one_shot_has_the_exact_number_of_zeros(model):
    pruned, report = prune(model, PruneConfig(0.3))
    assert num_zeros(pruned, "embedding") == 48
    assert num_zeros(pruned, "hidden") == 29  # of 96
    assert num_zeros(pruned, "logits") == 4  # of 12
    assert row(report, "hidden").stripped == {
        "kernel": {"num_weights": 96, "num_nonzero": 67, "distinct_values": 68}
    }
    kept = weight(pruned, "hidden") != 0
    before = weight(model, "hidden")
    np.testing.assert_array_equal(weight(pruned, "hidden")[kept], before[kept])
    assert np.abs(before[~kept]).max() < np.abs(before[kept]).min()


def test_prune_global_counts_over_all_weights(model):
    pruned, report = prune(model, PruneConfig(0.5, scope="global"))
    names = ("embedding", "hidden", "logits")
    assert sum(num_zeros(pruned, name) for name in names) == 134  # of 268
    gone, kept = [], []
    for name in names:
        is_zero = weight(pruned, name) == 0
        gone.append(np.abs(weight(model, name)[is_zero]))
        kept.append(np.abs(weight(model, name)[~is_zero]))
    assert np.concatenate(gone).max() < np.concatenate(kept).min()
    assert row(report, "hidden").requested["scope"] == "global"


def test_prune_random_repeats_by_seed_and_has_the_exact_number(model):
    config = PruneConfig(0.5, criterion="random", seed=3)
    first, second = prune(model, config)[0], prune(model, config)[0]
    np.testing.assert_array_equal(weight(first, "hidden"), weight(second, "hidden"))
    assert num_zeros(first, "hidden") == 48
    other, _ = prune(model, PruneConfig(0.5, criterion="random", seed=4))
    assert not np.array_equal(weight(first, "hidden"), weight(other, "hidden"))


def test_prune_says_what_it_leaves_alone(model):
    _, report = prune(model, PruneConfig(0.5))
    assert row(report, "norm").reason == "its weights are pruned only when named"
    assert row(report, "dropout").reason == "it has no weights"


def test_prune_rules_name_weights_sparsity_and_exceptions(model):
    rules = {
        "LayerNormalization": {"weights": ["gamma", "beta"]},
        "hidden": {"weights": ["kernel", "bias"], "sparsity": 0.25},
        "logits": None,
    }
    pruned, report = prune(model, PruneConfig(0.5, layers=LayerRules(rules)))
    zeros = [num_zeros(pruned, "norm", i) for i in (0, 1)]
    zeros += [num_zeros(pruned, "hidden", i) for i in (0, 1)]
    assert zeros == [4, 4, 24, 3]
    assert num_zeros(pruned, "logits") == 0
    assert row(report, "logits").reason == "a rule leaves it alone"
    assert set(row(report, "norm").stripped) == {"gamma", "beta"}
    assert row(report, "hidden").requested["sparsity"] == 0.25


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"hiden": None}, "'hiden' matches no layer.*hidden"),
        (
            {"norm": {"sparsity": 0.2}},
            "'norm' .LayerNormalization. cannot be pruned: it has no kernel.*"
            "Name some of its weights: gamma, beta",
        ),
        (
            {"hidden": {"weights": ["kernels"]}},
            "no trainable weight 'kernels'. Did you mean 'kernel'.*kernel, bias",
        ),
        (
            {"hidden": {"block_shape": [3, 1]}},
            r"'hidden' .Dense. cannot be pruned in blocks of \(3, 1\): its kernel has "
            r"shape \(8, 12\).*Leave the layer alone",
        ),
        (
            {"hidden": {"sparsity_m_by_n": [3, 5]}},
            r"'hidden' .Dense. cannot be pruned 3:5: its kernel has shape \(8, 12\), "
            "and 3:5 needs a multiple of 5 along axis 0, which is 8",
        ),
    ],
)
def test_prune_rule_that_cannot_be_followed_raises(model, rule, message):
    with pytest.raises(InvalidValueError, match=message):
        prune(model, PruneConfig(0.5, layers=LayerRules(rule)))


def test_prune_blocks_that_do_not_divide_raise(model):
    config = PruneConfig(0.5, structure="block", block_shape=(4, 4))
    with pytest.raises(InvalidValueError, match=r"'logits'.*\(12, 1\).*do not divide"):
        prune(model, config)


def test_prune_m_by_n_that_does_not_divide_is_skipped_with_its_reason():
    model = dense(np.arange(12).reshape(6, 2))
    pruned, report = prune(model, PruneConfig(0.5, sparsity_m_by_n=(2, 4)))
    assert row(report, "hidden").status == "skipped"
    assert row(report, "hidden").reason == (
        "kernel has shape (6, 2), and 2:4 needs a multiple of 4 along axis 0"
    )
    np.testing.assert_array_equal(weight(pruned, "hidden"), weight(model, "hidden"))


def test_prune_weight_too_small_is_skipped_with_its_reason(model):
    _, report = prune(model, PruneConfig(0.01))
    assert row(report, "logits").status == "skipped"
    assert row(report, "logits").reason == (
        "kernel has 12 weights, too few for one zero at 0.01"
    )


def test_prune_whole_weight_is_said(model):
    _, report = prune(model, PruneConfig(0.99))
    assert row(report, "logits").reason == "all of kernel is zero"


def test_prune_nan_weight_raises_and_names_it():
    with pytest.raises(InvalidValueError, match="'hidden'.*its kernel holds NaN"):
        prune(dense([[np.nan, 1], [2, 3]]), PruneConfig(0.5))


def test_prune_negative_zero_is_a_zero():
    pruned, report = prune(dense([[-0.0, 1], [2, -3]]), PruneConfig(0.5))
    assert not np.signbit(weight(pruned, "hidden")).ravel()[:3].any()
    assert row(report, "hidden").stripped["kernel"]["distinct_values"] == 3


@pytest.mark.parametrize("criterion", ["l1", "random"])
def test_prune_again_keeps_the_zeros(model, dataset, criterion):
    half, _ = prune(model, PruneConfig(0.5))
    config = PruneConfig(0.75, criterion=criterion)
    more, _ = prune(half, config, training_on(dataset))
    assert num_zeros(more, "hidden") == 72
    assert (weight(more, "hidden")[weight(half, "hidden") == 0] == 0).all()
    less, report = prune(half, PruneConfig(0.25, criterion=criterion))
    assert num_zeros(less, "hidden") == 48
    assert row(report, "hidden").reason == "kernel had zeros before: 48 instead of 24"


@pytest.mark.parametrize("schedule", ["one_shot", "constant", "polynomial"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_prune_fine_tuned_has_exactly_the_zeros(model, dataset, schedule, scope):
    rates = {} if schedule == "one_shot" else {"frequency": 3}
    config = PruneConfig(0.5, schedule=schedule, scope=scope, **rates)
    pruned, report = prune(model, config, training_on(dataset))
    names = ("embedding", "hidden", "logits")
    zeros = [num_zeros(pruned, name) for name in names]
    assert sum(zeros) == 134
    assert scope == "global" or zeros == [80, 48, 6]
    assert report.training_log.epochs == 2
    assert row(report, "hidden").reason is None
    kept = weight(pruned, "hidden") != 0
    before = weight(model, "hidden")
    assert not np.array_equal(weight(pruned, "hidden")[kept], before[kept])


def test_prune_gradual_without_training_raises(model):
    with pytest.raises(InvalidValueError, match="'polynomial' prunes during training"):
        prune(model, PruneConfig(0.5, schedule="polynomial"))


def test_prune_gradual_constant_m_by_n_holds_in_every_group(model, dataset):
    config = PruneConfig(0.5, sparsity_m_by_n=(2, 4), schedule="constant", frequency=4)
    pruned, _ = prune(model, config, training_on(dataset))
    groups = weight(pruned, "hidden").T.reshape(-1, 4)
    assert ((groups == 0).sum(1) == 2).all()


def test_prune_fine_tuned_predicts_like_the_wrapped_model(model, dataset):
    seen = []

    class Recorder(ArrayTraining):
        def fit(self, wrapped, callbacks=()):
            log = super().fit(wrapped, callbacks)
            seen.append(wrapped(dataset.test.inputs["tokens"]))
            return log

    recorder = Recorder(dataset, training_on(dataset).config)
    pruned, _ = prune(model, PruneConfig(0.5), recorder)
    np.testing.assert_array_equal(pruned(dataset.test.inputs["tokens"]), seen[0])


def test_prune_masked_weights_keep_their_value(model, dataset):
    wrapped = []

    class Recorder(ArrayTraining):
        def fit(self, model, callbacks=()):
            wrapped.append(model)
            return super().fit(model, callbacks)

    config = training_on(dataset, optimizer="adam").config
    prune(model, PruneConfig(0.5), Recorder(dataset, config))
    inner = wrapped[0].get_layer("constrained_hidden").layer
    before, after = weight(model, "hidden"), inner.get_weights()[0]
    masked = np.abs(before) <= np.median(np.abs(before))
    np.testing.assert_array_equal(after[masked], before[masked])
    assert (after[~masked] != before[~masked]).any()


def test_masked_weight_gradient_of_an_embedding_is_of_its_rows():
    import tensorflow as tf

    inputs = tf_keras.Input((3,), dtype="int32")
    model = tf_keras.Model(inputs, layers.Embedding(5, 2, name="table")(inputs))
    mask = np.array([[1, 1], [0, 1], [1, 0], [1, 1], [0, 0]], bool)
    wrapped = constrain(model, {"table": {"embeddings": MaskedWeight(mask)}})
    (table,) = wrapped.trainable_variables
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(wrapped(np.int32([[1, 2, 1]])))
    gradient = tape.gradient(total, table)
    assert isinstance(gradient, tf.IndexedSlices)
    expected = [[0, 0], [0, 2], [1, 0], [0, 0], [0, 0]]
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), expected)


def test_prune_early_stop_before_the_end_is_completed_and_said(model, dataset):
    training = training_on(dataset, patience=1, epochs=30, learning_rate=0.5)
    config = PruneConfig(0.5, schedule="polynomial", begin=0.9, end=1.0)
    pruned, report = prune(model, config, training)
    assert num_zeros(pruned, "hidden") == 48
    assert "the rest was pruned at once" in row(report, "hidden").reason


class Killed(Exception):
    """Stands for a kill."""


def test_prune_gradual_that_is_killed_ends_as_an_unbroken_one(model, dataset, tmp_path):
    class Killing(ArrayTraining):
        def fit(self, model, callbacks=()):
            class Kill(tf_keras.callbacks.Callback):
                def on_train_batch_begin(self, batch, logs=None):
                    if self.model.optimizer.iterations == 7:
                        raise Killed

            return super().fit(model, [*callbacks, Kill()])

    config = PruneConfig(0.6, schedule="polynomial", frequency=2)
    training = training_on(dataset, tmp_path)
    unbroken, _ = prune(model, config, training_on(dataset))
    options = {"checkpoint_folder": tmp_path, "checkpoint_seconds": 0.0}
    with pytest.raises(Killed):
        prune(model, config, Killing(dataset, training.config, **options))
    assert len(list(tmp_path.iterdir())) == 1
    resumed, _ = prune(model, config, training)
    for one, other in zip(unbroken.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["LSTM", "Bidirectional", "SeparableConv1D"])
def test_prune_other_layers_every_kernel(kind):
    layer = {
        "LSTM": layers.LSTM(4, name="layer"),
        "Bidirectional": layers.Bidirectional(layers.GRU(4), name="layer"),
        "SeparableConv1D": layers.SeparableConv1D(4, 2, name="layer"),
    }[kind]
    inputs = tf_keras.Input((3, 2))
    model = tf_keras.Model(inputs, layer(inputs))
    _, report = prune(model, PruneConfig(0.5))
    stripped = row(report, "layer").stripped
    assert len(stripped) == {"LSTM": 2, "Bidirectional": 4, "SeparableConv1D": 1}[kind]
    for found in stripped.values():
        assert found["num_nonzero"] * 2 == found["num_weights"]


def test_prune_depthwise_kernel_only_when_named():
    inputs = tf_keras.Input((4, 4, 2))
    outputs = layers.DepthwiseConv2D(2, name="depthwise")(inputs)
    model = tf_keras.Model(inputs, outputs)
    _, report = prune(model, PruneConfig(0.5))
    assert row(report, "depthwise").reason == (
        "a depthwise kernel is pruned only when named"
    )
    named = LayerRules({"DepthwiseConv2D": {}})
    pruned, _ = prune(model, PruneConfig(0.5, layers=named))
    assert num_zeros(pruned, "depthwise") == 4
