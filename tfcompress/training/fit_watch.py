"""Watches a fit: time, best weights, a loss that is no number, progress."""

import math
import time

from tfcompress.errors import TrainingError

WARM_UP_STEPS = 10
_SECONDS_BETWEEN_PROGRESS = 0.2


class FitWatch:
    """Follows one `model.fit` and steers it.

    Args:
        model: model that is trained.
        config: `TrainingConfig`.
        num_steps: optimizer steps of one epoch.
        on_progress: called with a fraction and a line of text, or `None`.
    """

    def __init__(self, model, config, num_steps, on_progress):
        self._model = model
        self._config = config
        self._num_steps = num_steps
        self._on_progress = on_progress
        self._step_seconds = []
        self._step_started = self._shown = 0.0
        self._best_loss = math.inf
        self._best_epoch = 0
        self._best_weights = None
        self.num_epochs = 0
        self.validation_accuracy = 0.0

    @property
    def seconds_per_epoch(self):
        """Mean step time after warming up, in seconds, times the steps of an epoch."""
        measured = self._step_seconds[WARM_UP_STEPS:] or self._step_seconds
        return sum(measured) / len(measured) * self._num_steps

    def epoch_begins(self):
        """Starts the clock of the epoch's first step."""
        self._step_started = time.perf_counter()

    def step_ends(self, step, loss):
        """Times a step, from 0, and checks the running mean of the loss."""
        now = time.perf_counter()
        self._step_seconds.append(now - self._step_started)
        self._step_started = now
        if not math.isfinite(loss):
            self._fail(f"step {step + 1} of {self._num_steps}", loss)
        if self._on_progress and now - self._shown >= _SECONDS_BETWEEN_PROGRESS:
            self._shown = now
            self._report((self.num_epochs * self._num_steps + step + 1), loss)

    def epoch_ends(self, logs):
        """Keeps the weights where they are the best, and says when to stop."""
        loss = logs["val_loss"]
        if not math.isfinite(loss):
            self._fail("validation", loss)
        self.num_epochs += 1
        if self._config.patience is None:
            self.validation_accuracy = float(logs["val_accuracy"])
        elif loss < self._best_loss:
            self._best_loss = loss
            self._best_epoch = self.num_epochs
            self._best_weights = self._model.get_weights()
            self.validation_accuracy = float(logs["val_accuracy"])
        elif self.num_epochs - self._best_epoch >= self._config.patience:
            self._model.stop_training = True
        if self._on_progress:
            self._report(self.num_epochs * self._num_steps, logs["loss"])

    def training_ends(self):
        """Restores the best weights where that was asked for."""
        if self._best_weights is not None:
            self._model.set_weights(self._best_weights)

    def _report(self, num_done, loss):
        total = self._config.epochs * self._num_steps
        epoch = math.ceil(num_done / self._num_steps)
        self._on_progress(
            num_done / total, f"epoch {epoch}/{self._config.epochs}, loss {loss:.4f}"
        )

    def _fail(self, where, loss):
        raise TrainingError(
            f"Training of model {self._model.name!r} cannot go on: the loss is "
            f"{loss} in epoch {self.num_epochs + 1}, {where}. Lower the learning rate "
            f"({self._config.learning_rate!r}), or look for NaN in the inputs."
        )


def as_callback(callback_class, watch):
    """Makes a callback of either library that tells `watch` what happens.

    Args:
        callback_class: `keras.callbacks.Callback` or that of tf_keras.
        watch: `FitWatch`.
    Returns:
        Instance of a subclass of `callback_class`.
    """

    class WatchCallback(callback_class):
        def on_epoch_begin(self, epoch, logs=None):
            watch.epoch_begins()

        def on_train_batch_end(self, batch, logs=None):
            watch.step_ends(batch, logs["loss"])

        def on_epoch_end(self, epoch, logs=None):
            watch.epoch_ends(logs)

        def on_train_end(self, logs=None):
            watch.training_ends()

    return WatchCallback()
