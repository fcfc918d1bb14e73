"""The fit loop on tiny models of both libraries: seeds, best weights, errors."""

import math
import re

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.data.dataset import (
    Dataset,
    Split,
    SplitOptions,
    make_dataset,
    text_array,
)
from tfcompress.errors import InvalidValueError, TrainingError, UnsupportedModelError
from tfcompress.models import embedding_classifier
from tfcompress.tasks import classification, regression, several_outputs
from tfcompress.training import ArrayTraining, TrainingConfig

LIBRARIES = {"keras": keras, "tf_keras": tf_keras}


def make_tokens(num_examples=400, num_classes=2, noise=0.0):
    """Makes texts of 6 ids whose class is their first id, some labels flipped."""
    random = np.random.RandomState(0)
    tokens = random.randint(0, 12, (num_examples, 6)).astype(np.int32)
    tokens[:, 0] %= num_classes
    labels = tokens[:, 0].copy()
    tokens += num_classes * (np.arange(6) > 0).astype(np.int32)
    flipped = random.random_sample(num_examples) < noise
    labels[flipped] = (labels[flipped] + 1) % num_classes
    split = Split({"tokens": tokens}, labels)
    names = [str(index) for index in range(num_classes)]
    return make_dataset("toy", "file", split, split, names, SplitOptions())


def make_model(library, num_classes=2):
    """Builds the embedding classifier, in tf_keras with a dropout without a seed."""
    source = embedding_classifier(
        num_classes, vocabulary_size=20, length=6, dimension=4, dropout=0.1
    )
    if library is keras:
        return source
    layers = tf_keras.layers
    tokens = tf_keras.Input((6,), dtype="int32", name="tokens")
    vectors = layers.Dropout(0.1)(layers.Embedding(21, 4)(tokens))
    average = layers.GlobalAveragePooling1D()(vectors)
    logits = layers.Dense(source.output_shape[-1])(layers.Dropout(0.1)(average))
    model = tf_keras.Model(tokens, logits)
    model.set_weights(source.get_weights())
    return model


def make_ending(library, units, activation):
    """Builds a model without dropout that ends in an activation."""
    layers = library.layers
    tokens = library.Input((6,), dtype="int32", name="tokens")
    average = layers.GlobalAveragePooling1D()(layers.Embedding(21, 4)(tokens))
    return library.Model(tokens, layers.Dense(units, activation=activation)(average))


def config(**options):
    return TrainingConfig(**{"epochs": 2, "learning_rate": 0.05, **options})


def same_weights(first, second):
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
@pytest.mark.parametrize("num_classes", [2, 3])
def test_fit_separable_classes_are_learned(library, num_classes):
    dataset = make_tokens(num_classes=num_classes)
    model = make_model(library, num_classes)
    log = ArrayTraining(dataset, config(epochs=20)).fit(model)
    assert log.epochs == 20
    assert log.validation_score > 0.95
    assert log.seconds_per_epoch > 0


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_fit_same_seed_gives_same_weights(library):
    models = [make_model(library) for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        ArrayTraining(make_tokens(), config(seed=seed)).fit(model)
    assert same_weights(models[0], models[1])
    assert not same_weights(models[0], models[2])


def test_fit_model_trained_before_draws_as_a_fresh_copy_does():
    training = ArrayTraining(make_tokens(), config())
    trained = make_model(keras)
    training.fit(trained)
    fresh = make_model(keras)
    fresh.set_weights(trained.get_weights())
    training.fit(trained)
    training.fit(fresh)
    assert same_weights(trained, fresh)


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_fit_patience_restores_the_best_weights(library):
    losses, weights = [], []

    class Keep(library.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses.append(logs["val_loss"])
            weights.append(self.model.get_weights())

    # A rate far too high: the loss goes up after it went down.
    training = ArrayTraining(
        make_tokens(100, noise=0.3), config(epochs=30, patience=2, learning_rate=0.3)
    )
    model = make_model(library)
    log = training.fit(model, [Keep()])
    best = int(np.argmin(losses))
    assert log.epochs == len(losses) == best + 3 < 30
    assert all(
        np.array_equal(a, b)
        for a, b in zip(model.get_weights(), weights[best], strict=True)
    )


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_fit_best_weights_are_those_that_validation_saw(library):
    class Spoil(library.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.set_weights([0 * w for w in self.model.get_weights()])

    model = make_model(library)
    ArrayTraining(make_tokens(), config(epochs=1, patience=1)).fit(model, [Spoil()])
    assert np.any(model.get_weights()[0])


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_fit_nan_loss_raises_at_its_step(library):
    model = make_model(library)
    weights = model.get_weights()
    weights[0][:] = math.nan
    model.set_weights(weights)
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1, step 1 of 6"):
        ArrayTraining(make_tokens(), config()).fit(model)


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_fit_nan_in_validation_raises(library):
    class Break(library.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                weights = [math.nan * w for w in self.model.get_weights()]
                self.model.set_weights(weights)

    with pytest.raises(TrainingError, match=r"nan in epoch 1, validation\. Lower the"):
        ArrayTraining(make_tokens(), config()).fit(make_model(library), [Break()])


def test_fit_progress_goes_up_to_one():
    reports = []
    training = ArrayTraining(
        make_tokens(),
        config(),
        on_progress=lambda fraction, message: reports.append((fraction, message)),
    )
    training.fit(make_model(keras))
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert re.fullmatch(r"epoch 2/2, loss 0\.\d{4}, 00:00 left", reports[-1][1])


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_fit_two_named_inputs_are_told_apart(library):
    layers = library.layers
    left = library.Input((2,), name="left")
    right = library.Input((2,), name="right")
    logits = layers.Dense(1)(layers.Subtract()([left, right]))
    random = np.random.RandomState(0)
    arrays = random.random_sample((2, 200, 2)).astype(np.float32)
    # Named in the other order than the model's.
    inputs = {"right": arrays[1], "left": arrays[0]}
    split = Split(inputs, arrays[0, :, 0] > arrays[1, :, 0])
    dataset = make_dataset("toy", "file", split, split, ("no", "yes"), SplitOptions())
    model = library.Model([left, right], logits)
    ArrayTraining(dataset, config(epochs=20)).fit(model)
    assert model.layers[-1].get_weights()[0][0, 0] > 1


def test_fit_model_that_takes_a_dictionary_is_fed_by_name():
    left, right = keras.Input((1,), name="left"), keras.Input((1,), name="right")
    logits = keras.layers.Dense(1)(keras.layers.Add()([left, right]))
    model = keras.Model({"left": left, "right": right}, logits)
    split = Split({"left": np.eye(4)[:, :1], "right": np.ones((4, 1))}, [0, 1, 0, 1])
    dataset = make_dataset("toy", "file", split, split, ("no", "yes"), SplitOptions())
    assert ArrayTraining(dataset, config(epochs=1)).fit(model).epochs == 1


def test_fit_sequential_with_one_input_takes_the_only_array():
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(1)], name="sequential"
    )
    assert ArrayTraining(make_tokens(), config(epochs=1)).fit(model).epochs == 1


def test_fit_missing_input_raises():
    left, right = keras.Input((6,), name="tokens"), keras.Input((6,), name="mask")
    model = keras.Model(
        [left, right], keras.layers.Dense(1)(keras.layers.Add()([left, right]))
    )
    with pytest.raises(UnsupportedModelError, match="input 'mask', .* has tokens"):
        ArrayTraining(make_tokens(), config()).fit(model)


def test_fit_wrong_number_of_outputs_raises():
    with pytest.raises(
        UnsupportedModelError, match=r"\(None, 3\).* last layer of 1 units"
    ):
        ArrayTraining(make_tokens(), config()).fit(make_model(keras, 3))


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize(
    ("units", "activation"), [(1, "sigmoid"), (2, "sigmoid"), (2, "softmax")]
)
def test_fit_of_probabilities_is_that_of_their_logits(library, units, activation):
    """But for a sigmoid of two units, whose logits another loss takes."""
    dataset = make_tokens()
    plain, ended = (make_ending(library, units, end) for end in (None, activation))
    ended.set_weights(plain.get_weights())
    training = ArrayTraining(dataset, config(epochs=2))
    tokens, labels = dataset.test.inputs["tokens"], dataset.test.labels
    found = training.loss_for(ended)(labels, ended(tokens))
    compiled = training.task.objective.compiled(ended, library)["loss"]
    truth = labels[:, None] if units == 1 else labels
    np.testing.assert_allclose(
        np.mean(found), float(compiled(truth, ended(tokens))), rtol=1e-5
    )
    log = training.fit(ended)
    assert log.validation_score > 0.6
    if (units, activation) != (2, "sigmoid"):
        expected = training.loss(labels, plain(tokens))
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        assert training.fit(plain).validation_score == log.validation_score
        for one, other in zip(ended.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-3)


def test_loss_for_a_model_of_logits_is_the_loss():
    training = ArrayTraining(make_tokens(), config())
    model = make_ending(keras, 2, None)
    split = training.task.targets(make_tokens().test)["labels"]
    outputs = model(make_tokens().test.inputs["tokens"])
    found = training.loss_for(model)(split, outputs)
    np.testing.assert_array_equal(found, training.loss(split, outputs))


def make_two_outputs(library, *, as_dict=False):
    """A model of a kind and a price; of a dict of them where `as_dict`."""
    inputs = library.Input((4,), name="x")
    outputs = [
        library.layers.Dense(3, name="kind")(inputs),
        library.layers.Dense(1, name="price")(inputs),
    ]
    if as_dict:
        outputs = {"kind": outputs[0], "price": outputs[1]}
    return library.Model(inputs, outputs)


@pytest.mark.parametrize(
    ("library", "as_dict"),
    [(keras, False), (keras, True), (tf_keras, False)],
    ids=["keras", "keras_dict", "tf_keras"],
)
def test_fit_two_outputs_learns_both(library, as_dict):
    x = np.random.default_rng(0).normal(size=(256, 4)).astype(np.float32)
    targets = {"price": x.sum(axis=1), "kind": x[:, :3].argmax(axis=1)}
    split = Split({"x": x}, targets)
    task = several_outputs(
        {"kind": classification("abc"), "price": regression()}, primary="price.rmse"
    )
    dataset = Dataset.from_splits(split, split, split)
    training = ArrayTraining(
        dataset, config(epochs=30, learning_rate=0.03, batch_size=64), task=task
    )
    model = make_two_outputs(library, as_dict=as_dict)
    log = training.fit(model)
    assert (log.metric, log.epochs) == ("price.rmse", 30)
    found = model(x)
    kind, price = (found["kind"], found["price"]) if as_dict else found
    error = np.sqrt(np.mean((np.asarray(price)[:, 0] - targets["price"]) ** 2))
    assert log.validation_score == pytest.approx(error, rel=1e-3)
    assert error < 0.2
    assert np.mean(np.argmax(kind, axis=1) == targets["kind"]) > 0.8
    ((inputs, truth),) = training.batches(1)
    assert (inputs["x"].shape, truth["price"].shape) == ((64, 4), (64, 1))
    losses = training.loss_for(model)(truth, model(inputs["x"]))
    assert losses.shape == (64,)


def test_training_on_targets_that_are_no_classes_needs_a_task():
    split = Split({"x": np.zeros((4, 2), np.float32)}, {"price": np.arange(4.0)})
    dataset = Dataset.from_splits(split, split, split)
    with pytest.raises(InvalidValueError, match="targets price, .* Give a task, such"):
        ArrayTraining(dataset, config())


def test_fit_other_object_raises():
    with pytest.raises(UnsupportedModelError, match="tf_keras model, got str"):
        ArrayTraining(make_tokens(), config()).fit("model")


def test_array_training_texts_raises():
    split = Split({"text": text_array(["a", "b"] * 2)}, [0, 1] * 2)
    dataset = make_dataset("toy", "file", split, split, ("no", "yes"), SplitOptions())
    with pytest.raises(InvalidValueError, match="'text' of dataset 'toy' holds texts"):
        ArrayTraining(dataset, config())


def test_num_steps_counts_the_smaller_last_batch():
    # 360 of 400 examples are left for training: 5 batches of 64 and one of 40.
    assert ArrayTraining(make_tokens(), config(epochs=3)).num_steps == 18


def test_batches_cover_an_epoch_once():
    dataset = make_tokens()
    batches = list(ArrayTraining(dataset, config()).batches(100))
    assert [len(labels) for _, labels in batches] == [64] * 5 + [40]
    rows = np.concatenate([inputs["tokens"] for inputs, _ in batches])
    expected = dataset.train.inputs["tokens"]
    assert sorted(rows.tolist()) == sorted(expected.tolist())
    assert rows.tolist() != expected.tolist()
    assert len(list(ArrayTraining(dataset, config()).batches(2))) == 2


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        ([[0.0], [2.0]], [1, 0], [math.log(2), math.log(1 + math.exp(2))]),
        ([[0.0, 0.0, 0.0]], [[2]], [math.log(3)]),
    ],
    ids=["binary", "categorical"],
)
def test_loss_known_logits(logits, labels, expected):
    training = ArrayTraining(make_tokens(), config())
    loss = training.loss(np.array(labels), np.array(logits, np.float32))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": 1.5}, "epochs must be an integer of at least 1, got 1.5"),
        ({"patience": 0}, "patience must be an integer of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and finite, got 0.0"),
        ({"learning_rate": math.nan}, "above 0 and finite, got nan"),
        ({"optimizer": "sgd"}, "optimizer must be one of adam, adamw, got 'sgd'"),
        ({"schedule": "cosine"}, "schedule must be one of constant, linear, got 'cos"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16, got"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0 and finite, got -0"),
        ({"weight_decay": 0.1}, "decay is 0.1, and the optimizer 'adam' decays no we"),
        ({"warmup_fraction": 1.0}, r"must be a fraction in \[0, 1\), got 1.0. Write 0"),
        ({"warmup_fraction": -0.1}, r"must be a fraction in \[0, 1\), got -0.1"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0 and finite, got 0.0"),
        ({"bucket_by_length": 1}, "bucket_by_length must be True or False, got 1"),
    ],
)
def test_training_config_bad_value_raises(options, message):
    with pytest.raises(InvalidValueError, match=message):
        config(**options)
