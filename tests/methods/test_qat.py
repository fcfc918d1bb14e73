"""Quantization-aware training of small models: grids, ranges, freezing, a kill."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import to_tf_keras
from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import QatConfig, qat
from tfcompress.training import ArrayTraining, TrainingConfig

layers = keras.layers
KERNELS = {"hidden": "kernel", "logits": "kernel", "embedding": "embeddings"}


def make_model(has_attention=False, **options):
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(40, 8, name="embedding", **options)(tokens)
    x = layers.LayerNormalization(name="norm", **options)(x)
    if has_attention:
        x = layers.MultiHeadAttention(2, 4, name="attention", **options)(x, x)
    x = layers.GlobalAveragePooling1D(name="pooling", **options)(x)
    x = layers.Dense(8, name="hidden", **options)(x)
    x = layers.Dropout(0.1, name="dropout")(layers.Activation("gelu", name="gelu")(x))
    model = keras.Model(tokens, layers.Dense(1, name="logits")(x))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return to_tf_keras(model)


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def dataset(make_token_dataset):
    return make_token_dataset(40, 6)


def static(**fields):
    return QatConfig("static_range", activations="all", **fields)


def make_training(dataset, epochs=1, **options):
    config = TrainingConfig(
        epochs=epochs, batch_size=8, learning_rate=0.01, optimizer="adamw"
    )
    return ArrayTraining(dataset, config, **options)


@pytest.fixture
def training(dataset):
    return make_training(dataset)


class Calling:
    """A training with a further callback."""

    def __init__(self, training, callback):
        self._training = training
        self._callback = callback

    def __getattr__(self, name):
        return getattr(self._training, name)

    def fit(self, model, callbacks=()):
        return self._training.fit(model, [*callbacks, self._callback])


def weight(model, layer):
    return getattr(model.get_layer(layer), KERNELS[layer]).numpy()


def row(report, name):
    return next(row for row in report.rows if row.name == name)


def assert_on_grid(model, report):
    for (layer, name), structure in report.structures.items():
        if name == "output":
            continue
        value = getattr(model.get_layer(layer), name).numpy()
        integers = value / structure["scale"]
        np.testing.assert_array_equal(integers, np.round(integers))
        limit = 2 ** (structure["bits"] - 1) - 1
        axes = 0 if structure["scale"].ndim else None
        assert (np.abs(integers).max(axes) == limit).all()


def test_qat_without_training_rounds_weights_once(model):
    quantized, report = qat(model, QatConfig())
    assert_on_grid(quantized, report)
    assert report.training_log is None
    for layer in KERNELS:
        before, after = weight(model, layer), weight(quantized, layer)
        assert 0 < np.abs(after - before).max() <= np.abs(before).max() / 250
    again, _ = qat(quantized, QatConfig())
    for one, other in zip(quantized.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_qat_trained_ends_on_the_grid(model, training):
    quantized, report = qat(model, QatConfig(weight_bits=4), training)
    assert_on_grid(quantized, report)
    assert report.training_log.epochs == 1
    assert row(report, "hidden").stripped["kernel"]["distinct_values"] <= 8 * 15
    assert not np.array_equal(weight(quantized, "hidden"), weight(model, "hidden"))


def test_qat_report_says_what_was_asked(model):
    _, report = qat(model, QatConfig(granularity="per_tensor"))
    hidden = row(report, "hidden")
    assert hidden.requested == {
        "scheme": "dynamic_range",
        "weight_bits": 8,
        "granularity": "per_tensor",
    }
    assert report.structures["hidden", "kernel"]["scale"].shape == ()
    assert report.structures["hidden", "kernel"]["bits"] == 8


def test_qat_static_range_reports_ranges_that_hold_zero(training):
    model = make_model(has_attention=True)
    quantized, report = qat(model, static(), training)
    assert_on_grid(quantized, report)
    ranges = {
        layer: structure
        for (layer, name), structure in report.structures.items()
        if name == "output"
    }
    assert {"embedding", "norm", "attention/softmax", "gelu"} <= ranges.keys()
    assert "logits" not in ranges
    for found in ranges.values():
        assert found["minimum"].dtype == found["maximum"].dtype == np.float32
        assert found["minimum"].shape == found["maximum"].shape == ()
        assert found["minimum"] <= 0 <= found["maximum"]
    assert 0 < ranges["attention/softmax"]["maximum"] <= 1
    assert row(report, "gelu").requested["range_estimator"] == "min_max"


def test_qat_calibration_finds_the_smallest_and_largest_value(model, dataset, training):
    config = static(calibration_examples=11, finetune=False)
    quantized, report = qat(model, config, training)
    batches = [inputs["tokens"] for inputs, _ in training.batches(2)]
    tokens = np.concatenate(batches)[:11]
    values = weight(quantized, "embedding")[tokens]
    found = report.structures["embedding", "output"]
    np.testing.assert_array_equal(found["minimum"], values.min())
    np.testing.assert_array_equal(found["maximum"], values.max())
    assert report.training_log is None


def test_qat_percentile_leaves_outliers_out(training):
    table = np.zeros((40, 8), np.float32)
    table[1:] = np.random.default_rng(0).choice([-0.5, 1.0], (39, 8))
    table[0, 0] = 127.0
    model = make_model()
    model.get_layer("embedding").set_weights([table])

    class Many(Calling):
        def batches(self, n):
            tokens = 1 + np.arange(12_000, dtype=np.int32).reshape(2000, 6) % 39
            tokens[7, 3] = 0  # one of 96,000 values is 127
            yield {"tokens": tokens}, np.zeros(2000, np.int32)

    ranges = {}
    for estimator in ("min_max", "percentile"):
        config = static(
            range_estimator=estimator,
            calibration_examples=2000,
            finetune=False,
        )
        _, report = qat(model, config, Many(training, None))
        ranges[estimator] = report.structures["embedding", "output"]
    assert ranges["min_max"]["maximum"] == 127
    width = 2 * 127 / 4096  # of a bin of the histogram
    assert 1 <= ranges["percentile"]["maximum"] <= 1 + width
    assert ranges["percentile"]["minimum"] == 0  # -0.5 rounds to 0 beside 127


def test_qat_ranges_move_until_they_are_frozen(model, dataset):
    seen = []

    class Watch(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            values = [v for v in self.model.variables if "gelu" in v.name]
            seen.append(
                float(next(v for v in values if "output/maximum" in v.name).numpy())
            )

    config = static(freeze=0.5)
    _, report = qat(model, config, Calling(make_training(dataset), Watch()))
    assert len(set(seen[:4])) == 4
    assert set(seen[4:]) == {seen[3]}
    assert report.structures["gelu", "output"]["maximum"] == np.float32(seen[-1])


def test_qat_static_range_agrees_with_the_float_model(model, training):
    config = static(finetune=False)
    quantized, _ = qat(model, config, training)
    tokens = next(training.batches(1))[0]["tokens"]
    expected = model(tokens).numpy()
    # The stripped model has no rounding of activations; its weights are rounded.
    error = np.abs(quantized(tokens).numpy() - expected).max()
    assert 0 < error < 0.05 * np.abs(expected).max()


def test_qat_frozen_layer_is_rounded_and_not_trained(training):
    model = make_model()
    model.get_layer("hidden").trainable = False
    expected, _ = qat(model, static(finetune=False), training)
    quantized, _ = qat(model, static(), training)
    np.testing.assert_array_equal(
        weight(quantized, "hidden"), weight(expected, "hidden")
    )
    assert not np.array_equal(weight(quantized, "logits"), weight(expected, "logits"))


@pytest.mark.parametrize("scheme", ["dynamic_range", "static_range"])
def test_qat_of_a_model_in_bfloat16_trains(training, scheme):
    model = make_model(dtype="mixed_bfloat16")
    quantized, report = qat(model, QatConfig(scheme, activations="all"), training)
    assert_on_grid(quantized, report)
    assert model.get_layer("hidden").compute_dtype == "bfloat16"


@pytest.mark.usefixtures("needs_bfloat16")
def test_qat_in_bfloat16_arithmetic_trains(model, dataset):
    config = TrainingConfig(epochs=1, batch_size=8, precision="bfloat16")
    quantized, report = qat(model, static(), ArrayTraining(dataset, config))
    assert_on_grid(quantized, report)


def test_qat_training_that_was_killed_ends_with_the_same_bits(model, dataset, tmp_path):
    class Killed(Exception):
        pass

    class Kill(tf_keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if self.model.optimizer.iterations == 13:
                raise Killed

    config = static(freeze=0.4)
    options = {"checkpoint_folder": tmp_path, "checkpoint_seconds": 0.0}
    unbroken, expected = qat(model, config, make_training(dataset, 2))
    with pytest.raises(Killed):
        qat(model, config, Calling(make_training(dataset, 2, **options), Kill()))
    assert len(list(tmp_path.iterdir())) == 1
    resumed, found = qat(model, config, make_training(dataset, 2, **options))
    for one, other in zip(unbroken.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert expected.structures.keys() == found.structures.keys()
    for key, structure in expected.structures.items():
        for name, value in structure.items():
            np.testing.assert_array_equal(value, found.structures[key][name])


def test_qat_of_a_layer_that_is_called_twice_has_one_range(training):
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    shared = layers.Dense(8, name="shared")
    x = shared(layers.Embedding(40, 8, name="embedding")(tokens))
    x = layers.GlobalAveragePooling1D()(layers.Add(name="add")([x, shared(x)]))
    model = to_tf_keras(keras.Model(tokens, layers.Dense(1, name="logits")(x)))
    quantized, report = qat(model, static(), training)
    assert_on_grid(quantized, report)
    assert ("shared", "output") in report.structures


def test_qat_of_recurrent_and_convolution_kernels(training):
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(40, 8, name="embedding")(tokens)
    x = layers.Conv1D(8, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.Bidirectional(layers.SimpleRNN(4), name="rnn")(x)
    model = to_tf_keras(keras.Model(tokens, layers.Dense(1, name="logits")(x)))
    quantized, report = qat(model, static(), training)
    names = {f"{name}/{n}" for name in ("kernel", "recurrent_kernel") for n in (0, 1)}
    assert row(report, "rnn").stripped.keys() == names
    scale = report.structures["rnn", "recurrent_kernel/1"]["scale"]
    kernel = quantized.get_layer("rnn").backward_layer.cell.recurrent_kernel.numpy()
    np.testing.assert_array_equal(kernel / scale, np.round(kernel / scale))
    assert "inside stays float" in row(report, "rnn").reason


def test_qat_with_nothing_to_quantize_is_a_copy(model):
    rules = LayerRules({".*": None})
    found, report = qat(model, QatConfig(layers=rules))
    for one, other in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert {row.reason for row in report.rows} == {"a rule leaves it alone"}


def test_qat_static_range_without_training_raises(model):
    with pytest.raises(InvalidValueError, match="'static_range'.*training is None"):
        qat(model, static())


def test_qat_training_without_examples_raises(model, training):
    class Empty(Calling):
        def batches(self, n):
            return iter(())

    with pytest.raises(InvalidValueError, match="has no example to find the ranges"):
        qat(model, static(), Empty(training, None))


def test_qat_examples_that_are_all_the_same_raise(model, training):
    class Constant(Calling):
        def batches(self, n):
            yield {"tokens": np.ones((8, 6), np.int32)}, np.zeros(8, np.int32)

    with pytest.raises(InvalidValueError, match="has 8 examples that are all the same"):
        qat(model, static(), Constant(training, None))


def test_qat_range_that_is_not_finite_raises_and_names_the_layer(training):
    model = make_model()
    norm = model.get_layer("norm")
    norm.set_weights([np.full(8, np.nan, np.float32), np.zeros(8, np.float32)])
    with pytest.raises(InvalidValueError, match="output of layer 'norm' ranges from n"):
        qat(model, static(), training)
