"""AdamW, schedule, clipping and buckets by length, on tiny models of both libraries."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.data.dataset import Dataset, Split
from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.training import ArrayTraining, TrainingConfig
from tfcompress.training.optimizers import make_optimizer

LIBRARIES = {"keras": keras, "tf_keras": tf_keras}
both_libraries = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
LENGTH = 24


def make_dataset(num_examples=200, **changed):
    """Makes ids of 1 to 24 positions, all even or all odd."""
    random = np.random.RandomState(0)
    labels = random.randint(0, 2, num_examples)
    ids = 2 * random.randint(1, 6, (num_examples, LENGTH)) - labels[:, None]
    ids = ids.astype(np.int32)
    lengths = random.randint(1, LENGTH + 1, num_examples)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int32)
    inputs = {"token_ids": ids * mask, "padding_mask": mask, **changed}
    split = Split(inputs, labels)
    return Dataset.from_splits(split, split, split, ["even", "odd"])


def make_model(library, length=None, dropout=0.1):
    """Builds a masked average of embeddings, LayerNormalization and Dense."""
    layers = library.layers
    ids = library.Input((length,), dtype="int32", name="token_ids")
    mask = library.Input((length,), dtype="int32", name="padding_mask")
    vectors = layers.Dropout(dropout)(layers.Embedding(12, 8, name="embedding")(ids))
    average = layers.Dot(axes=1, name="average")(
        [layers.Rescaling(1 / 8)(mask), vectors]
    )
    logits = layers.Dense(1, name="logits")(
        layers.LayerNormalization(name="norm")(average)
    )
    model = library.Model({"token_ids": ids, "padding_mask": mask}, logits)
    random = np.random.RandomState(1)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    return model


def config(**options):
    return TrainingConfig(
        **{
            "epochs": 2,
            "batch_size": 16,
            "learning_rate": 0.02,
            "optimizer": "adamw",
            "weight_decay": 0.01,
            "warmup_fraction": 0.1,
            "schedule": "linear",
            "clip_norm": 1.0,
            "bucket_by_length": True,
            **options,
        }
    )


@both_libraries
def test_fit_with_buckets_learns(library):
    model = make_model(library)
    log = ArrayTraining(make_dataset(400), config(epochs=12)).fit(model)
    assert log.validation_score > 0.9


@both_libraries
def test_fit_batches_are_trimmed_and_the_step_is_traced_once(library):
    import tensorflow as tf

    traced, widths = [], []

    class Spy(library.layers.Layer):
        def call(self, inputs):
            traced.append(inputs.shape[1])
            kept = tf.py_function(self.keep, [inputs], inputs.dtype)
            return tf.ensure_shape(kept, [None, None])

        def keep(self, inputs):
            widths.append(int(inputs.shape[1]))
            return inputs

        def compute_output_shape(self, input_shape):
            return input_shape

    layers = library.layers
    ids = library.Input((None,), dtype="int32", name="token_ids")
    mask = library.Input((None,), dtype="int32", name="padding_mask")
    seen = layers.Embedding(12, 2)(layers.Add()([Spy()(ids), mask]))
    logits = layers.Dense(1)(layers.GlobalAveragePooling1D()(seen))
    model = library.Model({"token_ids": ids, "padding_mask": mask}, logits)
    traced.clear()
    ArrayTraining(make_dataset(), config(epochs=3)).fit(model)
    assert traced == [None, None]  # the train step and the validation step
    assert set(widths) == {8, 16, 24}


@both_libraries
def test_fit_trimmed_padding_changes_nothing(library):
    # One batch of all examples, which has no order.
    short = {name: a[:, :8] for name, a in make_dataset(16).train.inputs.items()}
    wide = {name: np.pad(a, ((0, 0), (0, 16))) for name, a in short.items()}
    models = [make_model(library, dropout=0.0) for _ in range(2)]
    for model, inputs, is_bucketed in zip(
        models, (short, wide), (False, True), strict=True
    ):
        options = config(epochs=3, bucket_by_length=is_bucketed)
        ArrayTraining(make_dataset(16, **inputs), options).fit(model)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@both_libraries
def test_fit_learning_rate_follows_the_schedule(library):
    rates = []

    class Keep(library.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    options = {"batch_size": 100, "learning_rate": 1.0, "warmup_fraction": 0.5}
    ArrayTraining(make_dataset(), config(**options)).fit(make_model(library), [Keep()])
    assert rates == [0.5, 1.0, 1.0, 0.5]


@both_libraries
def test_fit_caller_sees_one_training(library):
    events = []

    class Keep(library.callbacks.Callback):
        def on_train_begin(self, logs=None):
            events.append(("begin", self.params["epochs"], self.params["steps"]))

        def on_epoch_begin(self, epoch, logs=None):
            events.append(("epoch", epoch))

        def on_train_end(self, logs=None):
            events.append(("end",))

    training = ArrayTraining(make_dataset(), config())
    training.fit(make_model(library), [Keep()])
    assert events == [("begin", 2, 13), ("epoch", 0), ("epoch", 1), ("end",)]
    assert training.num_steps == 26


@both_libraries
def test_make_optimizer_decay_spares_biases_and_normalizations(library):
    model = make_model(library)
    optimizer = make_optimizer(library, model, config(weight_decay=0.5, clip_norm=None))
    before = model.get_weights()
    optimizer.learning_rate = 0.1
    import tensorflow as tf

    zeros = [tf.zeros(variable.shape) for variable in model.trainable_variables]
    optimizer.apply_gradients(zip(zeros, model.trainable_variables, strict=True))
    shrunk = {"embeddings": 0.95, "kernel": 0.95}  # by decay times learning rate
    for variable, old, new in zip(
        model.weights, before, model.get_weights(), strict=True
    ):
        name = variable.name.split("/")[-1].split(":")[0]
        np.testing.assert_allclose(new, old * shrunk.get(name, 1.0), rtol=1e-6)


@both_libraries
def test_make_optimizer_clips_the_norm_of_all_gradients(library):
    import tensorflow as tf

    model = make_model(library)
    options = {"optimizer": "adam", "weight_decay": 0.0, "clip_norm": 0.5}
    optimizer = make_optimizer(library, model, config(**options))
    gradients = [tf.ones(variable.shape) for variable in model.trainable_variables]
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    # Adam's first moments after one step are a tenth of the gradients.
    norm = np.sqrt(sum(np.square(10 * m.numpy()).sum() for m in optimizer._momentums))
    assert norm == pytest.approx(0.5, rel=1e-5)


def test_fit_saved_model_loads_with_stock_keras(tmp_path):
    model = make_model(keras)
    ArrayTraining(make_dataset(), config(epochs=1)).fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is keras.optimizers.AdamW


def test_batches_are_trimmed_as_in_training():
    dataset = make_dataset(
        weights=np.ones((200, 3), np.float32), segment_ids=np.zeros((200, LENGTH))
    )
    training = ArrayTraining(dataset, config())
    rows, widths = 0, set()
    for inputs, labels in training.batches(100):
        width = inputs["padding_mask"].shape[1]
        assert inputs["token_ids"].shape == inputs["segment_ids"].shape
        assert inputs["weights"].shape == (len(labels), 3)
        assert inputs["padding_mask"][:, -8:].any()
        rows += len(labels)
        widths.add(width)
    assert rows == 200
    assert widths == {8, 16, 24}
    assert len(list(training.batches(2))) == 2


@both_libraries
def test_fit_fixed_length_with_buckets_raises(library):
    with pytest.raises(UnsupportedModelError, match=r"fixed length 24, and bucket_by"):
        ArrayTraining(make_dataset(), config()).fit(make_model(library, LENGTH))


def test_array_training_buckets_without_mask_raises():
    split = Split({"tokens": np.ones((4, 3))}, [0, 1] * 2)
    dataset = Dataset.from_splits(split, split, split, ["no", "yes"])
    with pytest.raises(InvalidValueError, match=r"no input 'padding_mask' .* tokens"):
        ArrayTraining(dataset, config())
