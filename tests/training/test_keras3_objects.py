"""A tf_keras model takes what Keras 3 has, and computes the same with it."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.errors import InvalidValueError
from tfcompress.training.keras3_objects import accept_keras3

INPUTS = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
LABELS = np.arange(16) % 3
WEIGHTS = np.arange(16, dtype="float32")
LOSS = "sparse_categorical_crossentropy"


def make_model(library=tf_keras):
    model = library.Sequential(
        [library.Input((4,)), library.layers.Dense(3, activation="softmax")]
    )
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    if library is tf_keras:
        accept_keras3(model)
        accept_keras3(model)  # twice is no more
    return model


def fitted(model, optimizer="sgd", loss=LOSS, labels=LABELS, **options):
    model.compile(optimizer, loss, **options)
    history = model.fit(
        INPUTS, labels, batch_size=8, epochs=2, shuffle=False, verbose=0
    )
    return model.get_weights(), history.history


def schedule():
    return keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.03, beta_1=0.8),
    "adamw": lambda: keras.optimizers.AdamW(0.03, weight_decay=0.2),
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, clipnorm=0.1),
    "schedule": lambda: keras.optimizers.SGD(schedule()),
}


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_an_optimizer_trains_as_it_does_in_keras_3(case):
    expected, _ = fitted(make_model(keras), OPTIMIZERS[case]())
    received, _ = fitted(make_model(), OPTIMIZERS[case]())
    for one, other in zip(expected, received, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


ONE_HOT = np.eye(3, dtype="float32")[LABELS]
LOSSES = {
    "sparse": (lambda: keras.losses.SparseCategoricalCrossentropy(), LABELS),
    "huber": (lambda: keras.losses.Huber(delta=0.1), ONE_HOT),
    "cosine": (lambda: keras.losses.CosineSimilarity(axis=0), ONE_HOT),
    "sum": (lambda: keras.losses.MeanSquaredError(reduction="sum"), ONE_HOT),
    "dice": (lambda: keras.losses.Dice(), ONE_HOT),
    "dice_by_name": (lambda: "dice", ONE_HOT),
    "function": (lambda: keras.losses.categorical_crossentropy, ONE_HOT),
    "list": (lambda: [keras.losses.MeanSquaredError()], ONE_HOT),
}


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_is_what_it_is_in_keras_3(case):
    make, labels = LOSSES[case]
    values = []
    for library in (keras, tf_keras):
        model = make_model(library)
        model.compile("sgd", make(), jit_compile="auto", auto_scale_loss=True)
        values.append(np.ravel(model.evaluate(INPUTS, labels, verbose=0))[0])
    np.testing.assert_allclose(*values, rtol=1e-5)


def test_a_loss_is_weighted_as_in_keras_3():
    values = []
    for library in (keras, tf_keras):
        model = make_model(library)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy())
        options = {"sample_weight": WEIGHTS, "verbose": 0}
        values.append(model.evaluate(INPUTS, LABELS, **options))
    np.testing.assert_allclose(*values, rtol=1e-5)


def test_a_loss_class_of_the_users_own_computes_what_it_says():
    class Twice(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return 2.0 * keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    _, once = fitted(make_model(), tf_keras.optimizers.SGD(0.0))
    _, twice = fitted(make_model(), tf_keras.optimizers.SGD(0.0), Twice())
    np.testing.assert_allclose(2 * np.array(once["loss"]), twice["loss"], rtol=1e-5)


METRICS = {
    "accuracy": lambda: [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    "top": lambda: [keras.metrics.SparseTopKCategoricalAccuracy(k=2)],
    "names": lambda: ["accuracy", "sparse_top_k_categorical_accuracy"],
}


@pytest.mark.parametrize("case", METRICS)
def test_a_metric_is_what_it_is_in_keras_3(case):
    _, expected = fitted(make_model(keras), metrics=METRICS[case]())
    _, received = fitted(make_model(), metrics=METRICS[case]())
    assert expected.keys() == received.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(values, received[name], rtol=1e-4)


def callbacks(folder):
    kinds = keras.callbacks
    return [
        kinds.EarlyStopping(monitor="loss", patience=1, restore_best_weights=True),
        kinds.ReduceLROnPlateau(monitor="loss", patience=1),
        kinds.LearningRateScheduler(lambda epoch: 0.1),
        kinds.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
        kinds.TerminateOnNaN(),
        kinds.CSVLogger(folder / "log.csv"),
        kinds.ModelCheckpoint(folder / "best.weights.h5", save_weights_only=True),
        kinds.History(),
    ]


def test_callbacks_are_called_with_the_model(tmp_path):
    seen = []

    class Mine(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(self.model)

        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(logs["loss"]))

    model = make_model()
    model.compile("sgd", LOSS)
    options = {"batch_size": 8, "epochs": 2, "verbose": 0}
    model.fit(INPUTS, LABELS, callbacks=[*callbacks(tmp_path), Mine()], **options)
    assert seen[0] is model
    assert len(seen) == 1 + 4
    assert (tmp_path / "best.weights.h5").exists()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_early_stopping_of_keras_3_stops():
    model = make_model()
    model.compile(tf_keras.optimizers.SGD(0.0), LOSS)
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=2, min_delta=1e-3)
    history = model.fit(INPUTS, LABELS, epochs=9, callbacks=[stop], verbose=0)
    assert len(history.history["loss"]) == 3


class _OwnMetric(keras.metrics.Metric):
    pass


class _OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1

    def get_config(self):
        return {}


REFUSED = {
    "lamb": ({"optimizer": keras.optimizers.Lamb()}, "optimizer Lamb is of Keras 3"),
    "lamb_by_name": ({"optimizer": "lamb"}, "The optimizer 'lamb' is none of tf_keras"),
    "accumulation": (
        {"optimizer": keras.optimizers.SGD(gradient_accumulation_steps=2)},
        "SGD has gradient_accumulation_steps=2, which tf_keras",
    ),
    "loss_name": ({"loss": "lost"}, "The loss 'lost' is none of tf_keras"),
    "reduction": (
        {"loss": keras.losses.Hinge(reduction="mean_with_sample_weight")},
        "The loss Hinge has reduction='mean_with_sample_weight'",
    ),
    "metric": (
        {"metrics": [keras.metrics.PearsonCorrelation()]},
        "metric PearsonCorrelation is of Keras 3.*none like it: take one of tf_keras",
    ),
    "own_metric": ({"metrics": [_OwnMetric()]}, "metric _OwnMetric is of Keras 3"),
    "metric_name": ({"metrics": ["acuracy"]}, "The metric 'acuracy' is none of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_tf_keras_cannot_do_is_refused_in_a_line(case):
    options, words = REFUSED[case]
    with pytest.raises(InvalidValueError, match=words) as caught:
        make_model().compile(**options)
    assert "\n" not in str(caught.value)


def test_a_schedule_of_the_users_own_is_refused_in_a_line():
    optimizer = keras.optimizers.SGD(_OwnSchedule())
    with pytest.raises(InvalidValueError, match="schedule _OwnSchedule is of Keras 3"):
        make_model().compile(optimizer)


def test_a_callback_that_needs_keras_3_is_refused_in_a_line(tmp_path):
    model = make_model()
    model.compile("sgd", LOSS)
    board = keras.callbacks.TensorBoard(tmp_path)
    words = "callback TensorBoard is of Keras 3.*take the one of tf_keras.callbacks"
    with pytest.raises(InvalidValueError, match=words):
        model.fit(INPUTS, LABELS, callbacks=[board])
