"""Training on arrays in memory, the same for Keras 3 and tf_keras models."""

import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfcompress.errors import InvalidValueError
from tfcompress.tasks import Task, classification
from tfcompress.training.batching import (
    epoch_batches,
    example_lengths,
    padded_length,
    sorted_batches,
)
from tfcompress.training.callbacks import (
    checkpoint_callback,
    schedule_callbacks,
    watch_callback,
    whole_training,
)
from tfcompress.training.checkpoint import FitCheckpoint, training_key
from tfcompress.training.fit_watch import FitWatch
from tfcompress.training.input_pipeline import (
    MASK_NAME,
    InputPipeline,
    trimmed_names,
)
from tfcompress.training.libraries import is_keras3, library_of
from tfcompress.training.optimizers import make_optimizer
from tfcompress.training.precision import arithmetic
from tfcompress.training.randomness import seeded_layers
from tfcompress.training.training import TrainingLog
from tfcompress.training.training_config import TrainingConfig

# Validation runs without gradients: large batches are only faster. Models that take a
# padding mask are large themselves; there the activations should stay in the caches.
_VALIDATION_BATCH_SIZE, _BUCKETED_VALIDATION_BATCH_SIZE = 512, 128


class ArrayTraining:
    """Trains on the arrays of a `Dataset`; implements `Training`.

    The loss is that of the task. The same settings, data and initial weights give the
    same result on one machine.

    Args:
        dataset: `Dataset` whose inputs have the names of the model's inputs; texts are
            mapped to tokens before.
        config: `TrainingConfig`.
        task: `Task` of the model's outputs; `None` stands for the classes of the
            dataset.
        on_progress: called with the fraction done in [0, 1] and a line of text, a few
            times a second at most.
        checkpoint_folder: folder in which `fit` leaves what it takes to go on after a
            kill; the same `fit` then goes on from there and ends with the weights of
            an unbroken one. A checkpoint of other settings, data or initial weights is
            left alone, and `on_progress` hears of it. `None`: nothing is kept.
        checkpoint_seconds: least time between two checkpoints; more where writing one
            takes over a twentieth of it. 0 writes one after every step.

    Raises:
        InvalidValueError: if the dataset lacks what the task or the settings need.
    """

    def __init__(
        self,
        dataset: object,
        config: TrainingConfig,
        *,
        task: Task | None = None,
        on_progress: Callable[[float, str], None] | None = None,
        checkpoint_folder: str | os.PathLike | None = None,
        checkpoint_seconds: float = 60.0,
    ):
        self.config = config
        self.task = task_of(dataset) if task is None else task
        self._dataset = dataset
        self._on_progress = on_progress
        self._checkpoint_folder = checkpoint_folder
        self._checkpoint_seconds = checkpoint_seconds
        _check_inputs(dataset, config)
        self._targets = {
            name: self.task.as_trained(split)
            for name, split in dataset.splits().items()
        }
        self._lengths = None
        if config.bucket_by_length:
            self._lengths = example_lengths(dataset.train.inputs[MASK_NAME])

    @property
    def num_steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch; one batch may be smaller."""
        return math.ceil(self._dataset.train.num_examples / self.config.batch_size)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of one `fit`, the most there can be with `patience`."""
        return self.num_steps_per_epoch * self.config.epochs

    def loss(self, targets: object, outputs: object) -> object:
        """Returns the loss of each example, of a model that puts out no probabilities.

        Args:
            targets: tensor, the examples leading; by name for several outputs.
            outputs: what the model puts out: float tensor, shape `(batch, units)`, or a
                list of such. Classes are logits.
        Returns:
            float32 tensor, shape `(batch,)`.
        """
        import tf_keras

        return self.task.objective.of_each(None, tf_keras)(targets, outputs)

    def loss_for(self, model: object) -> Callable:
        """Returns the loss that `fit` trains a model by, for each example.

        Args:
            model: Keras 3 or tf_keras model.
        Returns:
            Function as `loss`, of the targets and of what the model puts out.
        """
        return self.task.objective.of_each(model, library_of(model))

    def batches(self, n: int) -> Iterator[tuple]:
        """Yields at most `n` training batches, those of the first epoch.

        Args:
            n: number of batches.
        Yields:
            `(inputs, targets)`: a dictionary of arrays, trimmed as in training where
            `bucket_by_length` is on, and an array, or for several outputs a dictionary
            of arrays.
        """
        for indices in self._batches(0)[:n]:
            batch = self._dataset.train.select(indices)
            inputs = dict(batch.inputs)
            targets = {n: array[indices] for n, array in self._targets["train"].items()}
            if self._lengths is not None:
                names = trimmed_names(inputs)
                width = padded_length(
                    self._lengths[indices], inputs[MASK_NAME].shape[1]
                )
                inputs |= {name: inputs[name][:, :width] for name in names}
            if len(targets) == 1:
                (targets,) = targets.values()
            yield inputs, targets

    def fit(self, model: object, callbacks: Sequence = ()) -> TrainingLog:
        """Trains `model` in place; it is compiled anew.

        Args:
            model: Keras 3 or tf_keras model of the task's outputs.
            callbacks: further callbacks of the model's own library. Where a killed
                training goes on they see the steps that are left, and only what they
                keep in variables of the model is what it was.
        Returns:
            `TrainingLog`.
        Raises:
            TrainingError: if the loss is no longer a number, or the checkpoint of a
                killed run is damaged.
            UnsupportedModelError: if the model's inputs or outputs do not fit the data.
        """
        library = library_of(model)
        self.task.check_model(
            model, self._dataset.train, has_own_names=is_keras3(model)
        )
        objective = self.task.objective
        logged = objective.logged(model, library)
        watch = FitWatch(
            model,
            self.config,
            self.num_steps_per_epoch,
            self._on_progress,
            logged=logged,
        )
        with (
            arithmetic(self.config.precision),
            seeded_layers(model, self.config.seed) as random_states,
        ):
            # XLA takes 20 times as long for the gradient of an embedding on a CPU, and
            # Keras 3 would choose it.
            model.compile(
                optimizer=make_optimizer(library, model, self.config),
                jit_compile=False,
                **objective.compiled(model, library),
            )
            checkpoint = self._checkpoint(model, random_states, watch)
            if checkpoint is not None:
                checkpoint.restore()
                callbacks = [*callbacks, checkpoint_callback(library, checkpoint)]
            self._run(library, model, watch, callbacks)
            if checkpoint is not None:
                checkpoint.remove()
        return TrainingLog(
            epochs=watch.num_epochs,
            seconds=watch.seconds,
            seconds_per_epoch=watch.seconds_per_epoch,
            validation_score=watch.validation_score,
            metric=self.task.primary if logged else None,
        )

    def _run(self, library, model, watch, callbacks):
        """Runs the epochs that `watch` has not seen yet."""
        num_steps = self.num_steps_per_epoch
        schedule = schedule_callbacks(library, self.config, watch, num_steps)
        # Ours comes first: it keeps the weights that validation has seen, before
        # another callback changes them at the end of an epoch.
        everyone = whole_training(
            library,
            model,
            [*schedule, watch_callback(library, watch), *callbacks],
            epochs=self.config.epochs,
            steps=num_steps,
        )
        bucketed = self.config.bucket_by_length
        targets = self._targets["train"].values()
        source = InputPipeline(model, self._dataset.train, targets, bucketed)
        validation = self._validation_batches(model)
        everyone.begin()
        for epoch in range(watch.num_epochs, self.config.epochs):
            model.fit(
                source.dataset(self._batches(epoch)[watch.num_steps_done :]),
                initial_epoch=epoch,
                epochs=epoch + 1,
                validation_data=validation,
                callbacks=everyone,
                shuffle=False,  # the batches come in our own seeded order
                verbose=0,
            )
            if model.stop_training:
                break
        everyone.end()

    def _checkpoint(self, model, random_states, watch):
        """Returns the `FitCheckpoint` of this training, or `None` without a folder."""
        if self._checkpoint_folder is None:
            return None
        variables = [*model.variables, *random_states, *model.optimizer.variables]
        variables = list({id(variable): variable for variable in variables}.values())
        checkpoint = FitCheckpoint(
            self._checkpoint_folder,
            training_key(self.config, self.task.objective, self._dataset, variables),
            variables,
            watch,
            self._checkpoint_seconds,
        )
        if self._on_progress and (others := checkpoint.others()):
            self._on_progress(
                0.0,
                f"begins anew: {others[0].name} in {str(others[0].parent)!r} is of "
                "another training",
            )
        return checkpoint

    def _batches(self, epoch):
        """Returns the indices of each batch of an epoch, from 0."""
        return epoch_batches(
            self.config.seed,
            epoch,
            self._dataset.train.num_examples,
            self.config.batch_size,
            self._lengths,
        )

    def _validation_batches(self, model):
        split = self._dataset.validation
        targets = self._targets["validation"].values()
        source = InputPipeline(model, split, targets, self.config.bucket_by_length)
        lengths, size = source.lengths, _BUCKETED_VALIDATION_BATCH_SIZE
        if lengths is None:
            lengths, size = np.zeros(split.num_examples), _VALIDATION_BATCH_SIZE
        return source.dataset(sorted_batches(lengths, size))


def task_of(dataset):
    """Returns the `Task` of a dataset that says what it is of: classes.

    Raises:
        InvalidValueError: if the targets are others, of which many things could be
            asked.
    """
    if dataset.train.labels is None or not dataset.class_names:
        raise InvalidValueError(
            f"Dataset {dataset.name!r} has the targets "
            f"{', '.join(dataset.train.targets)}, which do not say what the model is "
            "for. Give a task, such as tfcompress.tasks.regression()."
        )
    return classification(dataset.class_names)


def _check_inputs(dataset, config):
    for name, array in dataset.train.inputs.items():
        if array.dtype == object:
            raise InvalidValueError(
                f"Input {name!r} of dataset {dataset.name!r} holds texts, and "
                "training takes numbers. Map it with dataset.map_inputs and "
                "tokenize first."
            )
    if config.bucket_by_length and MASK_NAME not in dataset.train.inputs:
        raise InvalidValueError(
            f"TrainingConfig.bucket_by_length is on, and dataset {dataset.name!r} has "
            f"no input {MASK_NAME!r} that tells the lengths, only "
            f"{', '.join(sorted(dataset.train.inputs))}. Set bucket_by_length=False."
        )
