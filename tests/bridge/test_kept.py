"""What crosses as it is: its weights train and come back, and the source stays."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress import compress
from tfcompress.bridge import kept_layers, to_keras3, to_tf_keras
from tfcompress.bridge.kept_layer import KeptLayer

L = keras.layers


@keras.saving.register_keras_serializable(package="tests")
class Block(L.Layer):
    """A user's layer with every kind of state: weights, statistics, random numbers."""

    def __init__(self, rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        dtype = self.dtype_policy
        self.dense = L.Dense(6, use_bias=False, dtype=dtype)
        self.norm = L.BatchNormalization(momentum=0.5, dtype=dtype)
        self.dropout = L.Dropout(rate, seed=1, dtype=dtype)

    def call(self, inputs):
        return inputs + self.dropout(self.norm(self.dense(inputs)))

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


class Halves(L.Layer):
    """A user's layer that gives two outputs, of which the first has a mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        return {"a": inputs[..., :3], "b": keras.ops.mean(inputs[..., 3:], axis=1)}

    def compute_mask(self, inputs, previous_mask):
        return {"a": previous_mask, "b": None}


_STEPS = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


def _model(*layers, shape=(6,)):
    tensor = inputs = keras.Input(shape)
    for layer in layers:
        tensor = layer(tensor)
    return keras.Model(inputs, tensor)


def _values(model):
    return [np.array(variable) for variable in model.variables]


def test_weights_and_statistics_train_and_come_back(randomize, difference):
    model = randomize(_model(Block(name="block"), L.Dense(1, name="head")))
    before = _values(model)
    flat = to_tf_keras(model)
    names = [weight.name for weight in flat.get_layer("block").trainable_weights]
    assert len(names) == 3  # kernel, gamma, beta
    old = flat.get_layer("block").get_weights()
    flat.compile(optimizer=tf_keras.optimizers.SGD(0.01), loss="mse")
    flat.fit(_STEPS, np.ones((4, 1), "float32"), epochs=2, verbose=0)
    new = flat.get_layer("block").get_weights()
    assert all((one != other).any() for one, other in zip(old, new, strict=True))
    back = to_keras3(model, flat)
    assert difference(flat(_STEPS), back(_STEPS, training=False)) <= 1e-6
    for one, other in zip(before, _values(model), strict=True):
        np.testing.assert_array_equal(one, other)  # seeds of random numbers included


def test_frozen_layer_stays_as_it_is(randomize):
    model = randomize(_model(Block(name="block"), L.Dense(1)))
    model.get_layer("block").trainable = False
    flat = to_tf_keras(model)
    old = flat.get_layer("block").get_weights()
    flat.compile(optimizer="sgd", loss="mse")
    flat.fit(_STEPS, np.ones((4, 1), "float32"), verbose=0)
    for one, other in zip(old, flat.get_layer("block").get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_random_numbers_go_on_in_training_and_rest_at_inference(randomize):
    flat = to_tf_keras(randomize(_model(Block(rate=0.5))))
    first, second = (flat(_STEPS, training=True).numpy() for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(flat(_STEPS), flat(_STEPS))


def test_augmentation_works_in_training_and_hands_on_at_inference():
    model = _model(L.RandomFlip("horizontal", seed=1), shape=(4, 4, 1))
    flat = to_tf_keras(model)
    images = np.random.default_rng(0).random((8, 4, 4, 1)).astype("float32")
    np.testing.assert_array_equal(flat(images), images)
    augmented = flat(images, training=True).numpy()
    is_same = (augmented == images).all(axis=(1, 2, 3))
    assert not is_same.all()
    flipped = (augmented == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (is_same | flipped).all()
    (row,) = kept_layers(flat)
    assert row.reason == (
        "crosses as it is: the identity at inference; in fine-tuning it works as it "
        "does in Keras"
    )


def test_shared_layer_is_one_leaf_with_two_calls(randomize, check_kept):
    block = Block(name="block")
    inputs = keras.Input((6,))
    model = randomize(keras.Model(inputs, block(L.Dense(6)(block(inputs)))))
    flat = check_kept(model, _STEPS, "own class Block without rule")
    assert sum(isinstance(layer, KeptLayer) for layer in flat.layers) == 1


def test_masks_go_in_and_come_out(randomize, check_kept):
    ids = keras.Input((5,), dtype="int32")
    halves = Halves(name="halves")(L.Embedding(9, 6, mask_zero=True)(ids))
    model = randomize(keras.Model(ids, [L.LSTM(3)(halves["a"]), halves["b"]]))
    arrays = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]], "int32")
    check_kept(
        model, arrays, r"'halves' \(Halves\) crosses as it is: it has no weights"
    )


def test_mixed_precision_stays(randomize, difference):
    model = randomize(_model(Block(dtype="mixed_bfloat16"), L.Dense(2)))
    flat = to_tf_keras(model)
    leaf = next(layer for layer in flat.layers if isinstance(layer, KeptLayer))
    assert leaf.compute_dtype == "bfloat16"
    assert leaf.weights[0].dtype == "float32"
    assert difference(model(_STEPS, training=False), flat(_STEPS)) <= 2e-2


def test_bias_that_a_layer_penalizes_is_logged(caplog):
    to_tf_keras(_model(L.RMSNormalization(name="norm"), L.Dense(1)))
    assert "regularizer" not in caplog.text
    steps = L.ConvLSTM1D(2, 2, kernel_regularizer="l2", name="steps")
    to_tf_keras(_model(steps, shape=(3, 5, 2)))
    assert "kernel_regularizer of 'steps'" in caplog.text


def test_time_distributed_dense_is_compressed(randomize, difference):
    model = randomize(_model(L.TimeDistributed(L.Dense(3), name="td"), shape=(5, 6)))
    flat = to_tf_keras(model)
    assert type(flat.get_layer("td")) is tf_keras.layers.Dense
    arrays = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    assert difference(model(arrays), flat(arrays)) <= 1e-6
    assert difference(model(arrays), to_keras3(model, flat)(arrays)) <= 1e-6


def test_time_distributed_of_another_layer_crosses_as_it_is(randomize, check_kept):
    layer = L.TimeDistributed(L.Conv1D(3, 2), name="td")
    model = randomize(_model(layer, shape=(4, 5, 2)))
    arrays = np.random.default_rng(0).normal(size=(2, 4, 5, 2)).astype("float32")
    check_kept(
        model, arrays, r"'td'.*with its weights: it wraps a Conv1D; only a Dense"
    )


def test_spectral_normalization_is_compressed_in_its_layer(randomize, caplog):
    layer = L.SpectralNormalization(L.Dense(3), name="sn")
    model = randomize(_model(layer))
    flat = to_tf_keras(model)
    assert type(flat.get_layer("sn")) is tf_keras.layers.Dense
    assert "spectral normalization of 'sn'" in caplog.text
    expected = model(_STEPS, training=False)
    np.testing.assert_allclose(flat(_STEPS), expected, rtol=1e-5)
    back = to_keras3(model, flat)
    np.testing.assert_allclose(back(_STEPS, training=False), expected, rtol=1e-5)


def test_report_says_what_was_left_alone_and_warns_if_it_is_most(randomize, caplog):
    model = randomize(_model(Block(name="block"), L.Dense(2, name="head")))
    report = compress(model, "prune(0.5)+cluster(4)").report
    rows = {row.name: row for row in report.rows}
    assert (rows["block"].kind, rows["block"].status) == ("Block", "left_alone")
    assert rows["block"].reason == (
        "crosses as it is, with its weights: own class Block without rule; in Python a "
        "rule would let it be compressed: "
        "tfcompress.compress(model, recipe, rules={Block: rule})"
    )
    assert rows["head"].status == "compressed"
    assert report.kept_bytes == 4 * (36 + 4 * 6)
    assert report.weight_bytes == report.kept_bytes + 4 * (12 + 2)
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "cross as they are" in line] == [
        "81% of the weights' bytes lie in layers that cross as they are, which no step "
        "compresses: 'block' (Block); the report gives the reason of each."
    ]


def test_no_warning_where_most_is_compressed(randomize, caplog):
    model = randomize(_model(Block(name="block"), L.Dense(200, name="head")))
    compress(model, "cluster(4)")
    assert "cross as they are" not in caplog.text


@pytest.mark.parametrize("recipe", ["qat('dynamic_range')", "prune(0.5)", ""])
def test_operation_with_several_outputs_goes_through_every_step(recipe, difference):
    inputs = keras.Input((6,))
    one, two = keras.ops.split(L.Dense(8, name="in")(inputs), 2, axis=-1)
    model = keras.Model(inputs, L.Dense(2, name="out")(one * two))
    result = compress(model, recipe)
    assert result.model(_STEPS).shape == (4, 2)
    (row,) = [row for row in result.report.rows if row.name.startswith("split")]
    assert row.kind == "Split"
    assert row.reason == "crosses as it is: an operation without weights"
