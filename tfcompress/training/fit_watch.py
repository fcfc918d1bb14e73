"""Watches a fit: time, best weights, a loss that is no number, progress."""

import math
import statistics
import time

from tfcompress.errors import TrainingError

WARM_UP_STEPS = 10
_SECONDS_BETWEEN_PROGRESS = 0.2


class FitWatch:
    """Follows one training and steers it.

    Args:
        model: model that is trained.
        config: `TrainingConfig`.
        num_steps: optimizer steps of one epoch.
        logged: name under which validation logs the score, or `None`.
        on_progress: called with a fraction and a line of text, or `None`.
        clock: function without arguments that returns seconds.

    Attributes:
        num_epochs: epochs that are over.
        num_steps_done: steps of the epoch that is running.
        validation_score: of the best or last epoch; `None` where nothing is logged.
    """

    def __init__(
        self,
        model,
        config,
        num_steps,
        on_progress,
        *,
        logged=None,
        clock=time.perf_counter,
    ):
        self._model = model
        self._config = config
        self._num_steps = num_steps
        self._on_progress = on_progress
        self._logged = logged
        self._clock = clock
        self._started = clock()
        self._seconds_before = 0.0
        # The first steps of each process, which trace and allocate, and the others.
        self._warm_up_seconds = []
        self._measured_seconds = 0.0
        self._num_measured = 0
        self._validation_seconds = 0.0
        self._step_started = self._shown = 0.0
        self._best_loss = math.inf
        self._best_epoch = 0
        self._best_values = None
        self.num_epochs = 0
        self.num_steps_done = self._first_step = 0
        self.validation_score = None

    @property
    def seconds(self):
        """Seconds since the training began, those of killed runs included."""
        return self._seconds_before + self._clock() - self._started

    @property
    def is_resumable(self):
        """Whether a step is next: neither a validation nor the end."""
        return self.num_steps_done < self._num_steps and not self._model.stop_training

    @property
    def seconds_per_epoch(self):
        """Mean step time after warming up, in seconds, times the steps of an epoch."""
        if self._num_measured:
            return self._measured_seconds / self._num_measured * self._num_steps
        num_warm_up = max(len(self._warm_up_seconds), 1)
        return sum(self._warm_up_seconds) / num_warm_up * self._num_steps

    def epoch_begins(self):
        """Starts the clock of the epoch's first step."""
        self.restart_clock()

    def restart_clock(self):
        """Starts a step's clock anew, after what belongs to no step."""
        self._step_started = self._clock()

    def step_ends(self, step, loss):
        """Times a step, from 0 in this `fit`, and checks the loss's running mean."""
        now = self._clock()
        if len(self._warm_up_seconds) < WARM_UP_STEPS:
            self._warm_up_seconds.append(now - self._step_started)
        else:
            self._measured_seconds += now - self._step_started
            self._num_measured += 1
        self._step_started = now
        self.num_steps_done = self._first_step + step + 1
        if not math.isfinite(loss):
            self._fail(f"step {self.num_steps_done} of {self._num_steps}", loss)
        if self._on_progress and now - self._shown >= _SECONDS_BETWEEN_PROGRESS:
            self._shown = now
            self._report(loss)

    def epoch_ends(self, logs):
        """Keeps the weights where they are the best, and says when to stop."""
        loss = logs["val_loss"]
        if not math.isfinite(loss):
            self._fail("validation", loss)
        self._validation_seconds = self._clock() - self._step_started
        self.num_epochs += 1
        self.num_steps_done = self._first_step = 0
        if self._config.patience is None:
            self.validation_score = self._score(logs)
        elif loss < self._best_loss:
            self._best_loss = float(loss)
            self._best_epoch = self.num_epochs
            self._best_values = [variable.numpy() for variable in self._model.weights]
            self.validation_score = self._score(logs)
        elif self.num_epochs - self._best_epoch >= self._config.patience:
            self._model.stop_training = True
        if self._on_progress:
            self._report(logs["loss"])

    def training_ends(self):
        """Restores the best weights where that was asked for."""
        if self._best_values is None:
            return
        # Not through set_weights: TFMOT's wrappers leave their own variables out there.
        for variable, value in zip(self._model.weights, self._best_values, strict=True):
            variable.assign(value)

    def state(self):
        """Returns what a training that goes on needs to know.

        Returns:
            `(numbers, best_values)`: a dictionary for JSON, and a list of arrays, the
            best weights so far, or `None`.
        """
        numbers = {name: getattr(self, name) for name in _STATE}
        return {**numbers, "_seconds_before": self.seconds}, self._best_values

    def restore(self, numbers, best_values):
        """Takes up what `state` returned."""
        for name in (*_STATE, "_seconds_before"):
            setattr(self, name, numbers[name])
        self._first_step = self.num_steps_done
        self._best_values = best_values

    def _score(self, logs):
        return None if self._logged is None else float(logs[self._logged])

    def _report(self, loss):
        total = self._config.epochs * self._num_steps
        num_done = self.num_epochs * self._num_steps + self.num_steps_done
        epoch = math.ceil(num_done / self._num_steps)
        at_most = "" if self._config.patience is None else "at most "
        self._on_progress(
            num_done / total,
            f"epoch {epoch}/{self._config.epochs}, loss {loss:.4f}, "
            f"{at_most}{format_seconds(self._seconds_left(total - num_done))} left",
        )

    def _seconds_left(self, num_steps):
        if self._num_measured:
            seconds_per_step = self._measured_seconds / self._num_measured
        else:  # among the first steps the one that traces would count too much
            seconds_per_step = statistics.median_low(self._warm_up_seconds or [0.0])
        num_epochs = self._config.epochs - self.num_epochs
        return num_steps * seconds_per_step + num_epochs * self._validation_seconds

    def _fail(self, where, loss):
        raise TrainingError(
            f"Training of model {self._model.name!r} cannot go on: the loss is "
            f"{loss} in epoch {self.num_epochs + 1}, {where}. Lower the learning rate "
            f"({self._config.learning_rate!r}), or look for NaN in the inputs."
        )


_STATE = (
    "num_epochs",
    "num_steps_done",
    "validation_score",
    "_measured_seconds",
    "_num_measured",
    "_validation_seconds",
    "_best_loss",
    "_best_epoch",
)


def format_seconds(seconds):
    """Writes a duration as minutes and seconds.

    >>> format_seconds(59.6), format_seconds(3725)
    ('01:00', '62:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"
