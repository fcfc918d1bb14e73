"""Training on arrays in memory, the same for Keras 3 and tf_keras models."""

import dataclasses
import math
import sys
import time

import numpy as np

from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.training.fit_watch import FitWatch, as_callback
from tfcompress.training.training import TrainingLog

# Validation runs without gradients: large batches are only faster.
_VALIDATION_BATCH_SIZE = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long and how fast to train with Adam.

    Attributes:
        epochs: epochs to run; the most where `patience` is set.
        patience: epochs without a lower validation loss after which training stops; the
            weights of the best epoch are restored. `None` runs all epochs and keeps the
            last weights.
        batch_size: examples of one optimizer step.
        learning_rate: of Adam, above 0.
        seed: seed of the order of examples and of the dropout.
    """

    epochs: int
    patience: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            _check_at_least(name, getattr(self, name), 1)
        if self.patience is not None:
            _check_at_least("patience", self.patience, 1)
        _check_at_least("seed", self.seed, 0)
        if not 0.0 < self.learning_rate < math.inf:
            raise InvalidValueError(
                "TrainingConfig.learning_rate must be above 0 and finite, "
                f"got {self.learning_rate!r}."
            )


class ArrayTraining:
    """Trains on the arrays of a `Dataset`; implements `Training`.

    The loss is binary cross-entropy for a model with one logit and else sparse
    categorical cross-entropy, from logits; the optimizer is Adam. The same seed, data
    and initial weights give the same result on one machine.

    Args:
        dataset: `Dataset` whose inputs have the names of the model's inputs; texts are
            mapped to tokens before.
        config: `TrainingConfig`.
        on_progress: called with the fraction done in [0, 1] and a line of text, a few
            times a second at most.
        teacher: Keras 3 model for distillation, or `None`.
    """

    def __init__(self, dataset, config, *, on_progress=None, teacher=None):
        self.config = config
        self.teacher = teacher
        self._dataset = dataset
        self._on_progress = on_progress
        for name, array in dataset.train.inputs.items():
            if array.dtype == object:
                raise InvalidValueError(
                    f"Input {name!r} of dataset {dataset.name!r} holds texts, and "
                    "training takes numbers. Map it with dataset.map_inputs and "
                    "tokenize first."
                )

    @property
    def num_steps_per_epoch(self):
        """Optimizer steps of one epoch; the last batch may be smaller."""
        return math.ceil(self._dataset.train.num_examples / self.config.batch_size)

    @property
    def num_steps(self):
        """Optimizer steps of one `fit`, the most there can be with `patience`."""
        return self.num_steps_per_epoch * self.config.epochs

    def loss(self, labels, logits):
        """Returns the cross-entropy of each example.

        Args:
            labels: integer tensor, shape `(batch,)` or `(batch, 1)`.
            logits: float tensor, shape `(batch, 1)` for two classes, else
                `(batch, num_classes)`.
        Returns:
            float32 tensor, shape `(batch,)`.
        """
        import tensorflow as tf

        labels = tf.reshape(labels, [-1])
        logits = tf.cast(logits, tf.float32)
        if logits.shape[-1] == 1:
            return tf.nn.sigmoid_cross_entropy_with_logits(
                tf.cast(labels, tf.float32), logits[:, 0]
            )
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.cast(labels, tf.int32), logits
        )

    def batches(self, n):
        """Yields at most `n` training batches, those of the first epoch.

        Args:
            n: number of batches.
        Yields:
            `(inputs, labels)`: a dictionary of arrays, and int32 labels.
        """
        size = self.config.batch_size
        order = self._order(0)
        for step in range(min(n, self.num_steps_per_epoch)):
            batch = self._dataset.train.select(order[step * size : (step + 1) * size])
            yield dict(batch.inputs), batch.labels

    def fit(self, model, callbacks=()):
        """Trains `model` in place; it is compiled anew.

        Args:
            model: Keras 3 or tf_keras model that puts out logits.
            callbacks: further callbacks of the model's own library.
        Returns:
            `TrainingLog`.
        Raises:
            TrainingError: if the loss is no longer a number.
            UnsupportedModelError: if the model's inputs or outputs do not fit the data.
        """
        started = time.perf_counter()
        library = _library_of(model)
        self._check_outputs(model)
        _reset_randomness(model, self.config.seed)
        # XLA takes 20 times as long for the gradient of an embedding on a CPU, and
        # Keras 3 would choose it.
        model.compile(
            optimizer=library.optimizers.Adam(self.config.learning_rate),
            loss=_cross_entropy(library, model),
            metrics=[_accuracy(library, model)],
            jit_compile=False,
        )
        watch = FitWatch(
            model, self.config, self.num_steps_per_epoch, self._on_progress
        )
        # Ours comes first: it keeps the weights that validation has seen, before
        # another callback changes them at the end of an epoch.
        model.fit(
            self._training_batches(model),
            epochs=self.config.epochs,
            steps_per_epoch=self.num_steps_per_epoch,
            validation_data=self._validation_batches(model),
            callbacks=[as_callback(library.callbacks.Callback, watch), *callbacks],
            shuffle=False,  # the batches come in our own seeded order
            verbose=0,
        )
        return TrainingLog(
            epochs=watch.num_epochs,
            seconds=time.perf_counter() - started,
            seconds_per_epoch=watch.seconds_per_epoch,
            validation_accuracy=watch.validation_accuracy,
        )

    def _order(self, epoch):
        """Returns the order of the training examples in an epoch, from 0."""
        # RandomState's stream is frozen for good, that of Generator may change.
        random = np.random.RandomState([self.config.seed, epoch])
        return random.permutation(self._dataset.train.num_examples).astype(np.int32)

    def _training_batches(self, model):
        import tensorflow as tf

        split = self._dataset.train
        arrays = tf.nest.map_structure(
            tf.constant, (_inputs_for(model, split), split.labels)
        )

        def batches_of_epoch(epoch):
            order = tf.numpy_function(self._order, [epoch], tf.int32)
            order = tf.ensure_shape(order, [split.num_examples])
            return tf.data.Dataset.from_tensor_slices(order).batch(
                self.config.batch_size
            )

        def gather(indices):
            return tf.nest.map_structure(
                lambda array: tf.gather(array, indices), arrays
            )

        epochs = tf.data.Dataset.range(self.config.epochs)
        return epochs.flat_map(batches_of_epoch).map(gather).prefetch(4)

    def _validation_batches(self, model):
        import tensorflow as tf

        split = self._dataset.validation
        return tf.data.Dataset.from_tensor_slices(
            (_inputs_for(model, split), split.labels)
        ).batch(_VALIDATION_BATCH_SIZE)

    def _check_outputs(self, model):
        num_classes = self._dataset.num_classes
        shape = tuple(model.output_shape)
        if shape[-1] != num_classes and (shape[-1], num_classes) != (1, 2):
            raise UnsupportedModelError(
                f"Model {model.name!r} puts out {shape}, and dataset "
                f"{self._dataset.name!r} has {num_classes} classes. Its last layer "
                f"needs {1 if num_classes == 2 else num_classes} units."
            )
        last = model.layers[-1]
        last = getattr(last, "layer", last)  # TFMOT wraps it
        activation = getattr(getattr(last, "activation", None), "__name__", None)
        if activation in ("sigmoid", "softmax"):
            raise UnsupportedModelError(
                f"Layer {last.name!r} ends model {model.name!r} with a {activation}, "
                "and the loss takes logits. Build the last layer without activation."
            )


def _check_at_least(name, value, limit):
    if not isinstance(value, int) or value < limit:
        raise InvalidValueError(
            f"TrainingConfig.{name} must be an integer of at least {limit}, "
            f"got {value!r}."
        )


def _library_of(model):
    """Returns keras or tf_keras; a model's library is loaded already."""
    for name in ("keras", "tf_keras"):
        library = sys.modules.get(name)
        if library is not None and isinstance(model, library.Model):
            return library
    raise UnsupportedModelError(
        f"Training takes a Keras 3 or tf_keras model, got {type(model).__name__}."
    )


def _is_keras3(model):
    return _library_of(model).__name__ == "keras"


def _cross_entropy(library, model):
    """Returns the library's own loss: a saved model then loads without this package."""
    if model.output_shape[-1] == 1:
        return library.losses.BinaryCrossentropy(from_logits=True)
    return library.losses.SparseCategoricalCrossentropy(from_logits=True)


def _accuracy(library, model):
    if model.output_shape[-1] == 1:
        return library.metrics.BinaryAccuracy("accuracy", threshold=0.0)
    return library.metrics.SparseCategoricalAccuracy("accuracy")


def _reset_randomness(model, seed):
    """Makes what the layers draw a function of `seed` alone."""
    import tensorflow as tf

    # tf_keras layers without a seed of their own draw from TensorFlow's.
    tf.random.set_seed(seed)
    if not _is_keras3(model):
        return
    # Keras 3 layers carry theirs along; a model that was loaded from a file or copied
    # would else go on with other draws. Seeds are variables, but no weights.
    weights = {id(variable) for variable in model.weights}
    states = [
        variable
        for variable in model.variables
        if id(variable) not in weights and variable.name == "seed_generator_state"
    ]
    for index, state in enumerate(states):
        state.assign(np.array([seed + index, 0], dtype=state.dtype))


def _inputs_for(model, split):
    """Arranges the arrays of `split` as `model` takes its inputs."""
    if len(model.inputs) == 1 and len(split.inputs) == 1:
        return next(iter(split.inputs.values()))
    if not _is_keras3(model):
        return {name: _array(split, name, model) for name in model.input_names}
    structure = getattr(model, "input", None)  # a Sequential has none
    if isinstance(structure, dict):
        return {
            key: _array(split, tensor.name, model) for key, tensor in structure.items()
        }
    return tuple(_array(split, tensor.name, model) for tensor in model.inputs)


def _array(split, name, model):
    if name not in split.inputs:
        raise UnsupportedModelError(
            f"Model {model.name!r} has an input {name!r}, and the dataset has "
            f"{', '.join(sorted(split.inputs))}. Give both the same names."
        )
    return split.inputs[name]
