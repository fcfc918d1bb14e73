"""Callbacks of either library, whose classes are known only when a model is there."""

from tfcompress.training.schedules import is_constant, learning_rate_at


def watch_callback(library, watch):
    """Makes a callback that tells `watch` what happens.

    Args:
        library: module `keras` or `tf_keras`.
        watch: `FitWatch`.
    """

    class WatchCallback(library.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            watch.epoch_begins()

        def on_train_batch_end(self, batch, logs=None):
            watch.step_ends(batch, logs["loss"])

        def on_epoch_end(self, epoch, logs=None):
            watch.epoch_ends(logs)

        def on_train_end(self, logs=None):
            watch.training_ends()

    return WatchCallback()


def schedule_callbacks(library, config, watch, num_steps):
    """Returns the callbacks that set the learning rate: none where it is constant.

    A callback, because a schedule of ours inside the optimizer would be saved with the
    model, which then would not load without this package.

    Args:
        library: module `keras` or `tf_keras`.
        config: `TrainingConfig`.
        watch: `FitWatch`, which knows the step.
        num_steps: optimizer steps of one epoch.
    """
    if is_constant(config):
        return []

    class ScheduleCallback(library.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            step = watch.num_epochs * num_steps + watch.num_steps_done
            self.model.optimizer.learning_rate = learning_rate_at(
                step, config.epochs * num_steps, config
            )

    return [ScheduleCallback()]


def checkpoint_callback(library, checkpoint):
    """Makes a callback that writes checkpoints; it comes last, to hold what others do.

    Args:
        library: module `keras` or `tf_keras`.
        checkpoint: `FitCheckpoint`.
    """

    class CheckpointCallback(library.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            checkpoint.write_if_due()

        def on_epoch_end(self, epoch, logs=None):
            checkpoint.write_if_due()

    return CheckpointCallback()


def whole_training(library, model, callbacks, epochs, steps):
    """Makes a list of callbacks for a training of several `fit`.

    Args:
        library: module `keras` or `tf_keras`.
        model: its model.
        callbacks: sequence of callbacks of its library.
        epochs: of the whole training.
        steps: of one epoch.
    Returns:
        `CallbackList` to give to each `fit`; its `begin` and `end` tell the callbacks
        that the training begins and ends, once.
    """

    class WholeTraining(library.callbacks.CallbackList):
        def on_train_begin(self, logs=None):
            """Says nothing: it is one epoch's `fit` that begins."""

        def on_train_end(self, logs=None):
            """Says nothing: it is one epoch's `fit` that ends."""

        def begin(self):
            super().on_train_begin()

        def end(self):
            super().on_train_end()

    return WholeTraining(
        list(callbacks),
        add_history=True,
        model=model,
        verbose=0,
        epochs=epochs,
        steps=steps,
    )
