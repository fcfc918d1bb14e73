"""A training that was killed goes on and ends as an unbroken one does, to the bit."""

import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras

from tfcompress.data.dataset import Dataset, Split
from tfcompress.errors import TrainingError
from tfcompress.training import ArrayTraining, TrainingConfig

LIBRARIES = {"keras": keras, "tf_keras": tf_keras}
both_libraries = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
LENGTH = 16


class Killed(Exception):
    """Stands for a kill."""


def make_dataset(seed=0):
    random = np.random.RandomState(seed)
    labels = random.randint(0, 2, 150)
    ids = 2 * random.randint(1, 6, (150, LENGTH)) - labels[:, None]
    mask = np.arange(LENGTH) < random.randint(1, LENGTH + 1, 150)[:, None]
    inputs = {"token_ids": ids * mask, "padding_mask": mask}
    inputs = {name: array.astype(np.int32) for name, array in inputs.items()}
    split = Split(inputs, labels)
    return Dataset.from_splits(split, split, split, ["even", "odd"])


def make_model(library, seed=1):
    """Builds a model with dropout, BatchNormalization and seeded weights."""
    layers = library.layers
    ids = library.Input((None,), dtype="int32", name="token_ids")
    mask = library.Input((None,), dtype="int32", name="padding_mask")
    vectors = layers.Dropout(0.3)(layers.Embedding(12, 8)(ids))
    average = layers.Dot(axes=1)([layers.Rescaling(0.1)(mask), vectors])
    hidden = layers.Dense(8, activation="relu")(layers.BatchNormalization()(average))
    logits = layers.Dense(1)(layers.Dropout(0.3)(hidden))
    model = library.Model({"token_ids": ids, "padding_mask": mask}, logits)
    random = np.random.RandomState(seed)
    model.set_weights([random.random_sample(w.shape) for w in model.get_weights()])
    return model


def make_training(folder=None, *, on_progress=None, seconds=0.0, **options):
    config = TrainingConfig(
        **{
            "epochs": 3,
            "batch_size": 16,  # 10 steps an epoch
            "learning_rate": 0.01,
            "optimizer": "adamw",
            "schedule": "linear",
            "bucket_by_length": True,
            **options,
        }
    )
    return ArrayTraining(
        make_dataset(),
        config,
        on_progress=on_progress,
        checkpoint_folder=folder,
        checkpoint_seconds=seconds,
    )


def kill_at(library, epoch, batch):
    """Makes a callback that raises before a step."""

    class Kill(library.callbacks.Callback):
        def on_train_batch_begin(self, step, logs=None):
            if self.epoch == epoch and step == batch:
                raise Killed

        def on_epoch_begin(self, number, logs=None):
            self.epoch = number

    return Kill()


def count_steps(library, steps):
    class Count(library.callbacks.Callback):
        def on_train_batch_end(self, step, logs=None):
            steps.append(step)

    return Count()


def same(first, second):
    pairs = zip(first.weights, second.weights, strict=True)
    return all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)


@both_libraries
@pytest.mark.parametrize(("epoch", "batch", "patience"), [(0, 5, None), (2, 3, 1)])
def test_fit_after_a_kill_ends_as_an_unbroken_one(
    library, epoch, batch, patience, tmp_path
):
    unbroken = make_model(library)
    log = make_training(patience=patience).fit(unbroken)
    training = make_training(tmp_path, patience=patience)
    with pytest.raises(Killed):
        training.fit(make_model(library), [kill_at(library, epoch, batch)])
    assert len(list(tmp_path.iterdir())) == 1
    steps, resumed = [], make_model(library)
    resumed_log = training.fit(resumed, [count_steps(library, steps)])
    assert same(resumed, unbroken)
    assert resumed_log.epochs == log.epochs
    assert resumed_log.validation_score == log.validation_score
    assert len(steps) == 30 - 10 * epoch - batch
    assert list(tmp_path.iterdir()) == []


def test_fit_after_two_kills_counts_all_seconds(tmp_path):
    class Sleep(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            time.sleep(0.3)

    training = make_training(tmp_path)
    for epoch in (0, 1):
        with pytest.raises(Killed):
            kill = kill_at(keras, epoch, 8)
            training.fit(make_model(keras), [Sleep(), kill])
    log = training.fit(make_model(keras), [Sleep()])
    assert log.seconds > 0.9
    assert log.seconds_per_epoch > 0


def test_fit_after_a_kill_of_a_pruned_model_ends_as_an_unbroken_one(tmp_path):
    def wrapped():
        flat = make_model(tf_keras)
        schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, 0.5, 0, 25, frequency=5)
        inputs = flat.inputs
        layer = tfmot.sparsity.keras.prune_low_magnitude(
            tf_keras.layers.Dense.from_config(flat.layers[-3].get_config()), schedule
        )
        before = flat.layers[-3].input
        logits = tf_keras.layers.Dense(1, kernel_initializer="ones")(layer(before))
        names = dict(zip(flat.input_names, inputs, strict=True))
        model = tf_keras.Model(names, logits)
        random = np.random.RandomState(2)
        for variable in model.trainable_variables:
            variable.assign(random.random_sample(variable.shape))
        return model

    def pruning():
        return tfmot.sparsity.keras.UpdatePruningStep()

    unbroken = wrapped()
    make_training().fit(unbroken, [pruning()])
    training = make_training(tmp_path)
    with pytest.raises(Killed):
        training.fit(wrapped(), [pruning(), kill_at(tf_keras, 1, 6)])
    resumed = wrapped()
    training.fit(resumed, [pruning()])
    kernel = next(w for w in resumed.weights if w.shape == (8, 8) and "mask" in w.name)
    assert 0.4 < 1 - kernel.numpy().mean() < 0.6
    assert same(resumed, unbroken)


def test_fit_patience_restores_the_centroids_of_a_clustered_model():
    flat = make_model(tf_keras)
    dense = flat.layers[-3]
    wrapper = tfmot.clustering.keras.cluster_weights(
        tf_keras.layers.Dense.from_config(dense.get_config()),
        number_of_clusters=4,
        cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.LINEAR,
    )
    logits = tf_keras.layers.Dense(1)(wrapper(dense.input))
    model = tf_keras.Model(
        dict(zip(flat.input_names, flat.inputs, strict=True)), logits
    )
    losses, values = [], []

    class Keep(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses.append(logs["val_loss"])
            values.append([variable.numpy() for variable in model.weights])

    # A rate far too high: the loss goes up after it went down.
    training = make_training(patience=2, epochs=30, learning_rate=0.5)
    training.fit(model, [Keep()])
    best = values[int(np.argmin(losses))]
    assert len(losses) > np.argmin(losses) + 1
    for variable, value in zip(model.weights, best, strict=True):
        assert np.array_equal(variable.numpy(), value), variable.name


_SCRIPT = """
import os, signal, sys
import {library} as library
sys.path.insert(0, {folder!r})
from test_checkpoint import make_model, make_training

class Kill(library.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

model = make_model(library)
make_training({checkpoints!r}).fit(model, [Kill()])
"""


@both_libraries
def test_fit_after_sigkill_ends_as_an_unbroken_one(library, tmp_path):
    code = _SCRIPT.format(
        library=library.__name__,
        folder=os.path.dirname(__file__),
        checkpoints=str(tmp_path),
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    steps, resumed, unbroken = [], make_model(library), make_model(library)
    make_training(tmp_path).fit(resumed, [count_steps(library, steps)])
    make_training().fit(unbroken)
    assert same(resumed, unbroken)
    assert len(steps) == 11  # the end of the epoch was not written


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"learning_rate": 0.02}},
        {"model_seed": 2},
    ],
    ids=["settings", "weights"],
)
def test_fit_checkpoint_of_another_training_is_left_alone(change, tmp_path):
    with pytest.raises(Killed):
        make_training(tmp_path).fit(make_model(keras), [kill_at(keras, 0, 5)])
    (other,) = tmp_path.iterdir()
    content = other.read_bytes()
    steps, lines = [], []
    training = make_training(
        tmp_path,
        on_progress=lambda fraction, line: lines.append(line),
        **change.get("options", {}),
    )
    model = make_model(keras, change.get("model_seed", 1))
    training.fit(model, [count_steps(keras, steps)])
    assert len(steps) == 30
    assert lines[0].startswith(f"begins anew: {other.name} in ")
    assert other.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-200],
        lambda content: content[: len(content) // 2],
        lambda content: bytes(range(256)) * 4,
    ],
)
def test_fit_damaged_checkpoint_raises(damage, tmp_path):
    training = make_training(tmp_path)
    with pytest.raises(Killed):
        training.fit(make_model(keras), [kill_at(keras, 0, 5)])
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TrainingError, match=r"checkpoint '.*' .* is damaged .* Delete"):
        training.fit(make_model(keras))


def test_fit_shorter_than_the_pause_writes_nothing(tmp_path):
    with pytest.raises(Killed):
        make_training(tmp_path, seconds=60.0).fit(
            make_model(keras), [kill_at(keras, 2, 5)]
        )
    assert list(tmp_path.iterdir()) == []
