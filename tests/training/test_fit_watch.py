"""The arithmetic of the time of an epoch, and of the time that is left."""

import time

import pytest

from tfcompress.training import TrainingConfig
from tfcompress.training.fit_watch import WARM_UP_STEPS, FitWatch


def test_seconds_per_epoch_leaves_out_the_first_steps():
    watch = FitWatch(None, TrainingConfig(epochs=1), 100, None)
    watch.epoch_begins()
    time.sleep(0.2)  # tracing
    for step in range(WARM_UP_STEPS + 5):
        time.sleep(0.01 if step >= WARM_UP_STEPS else 0)
        watch.step_ends(step, 0.5)
    assert watch.seconds_per_epoch == pytest.approx(1.0, rel=0.3)


def test_seconds_per_epoch_few_steps_takes_all():
    watch = FitWatch(None, TrainingConfig(epochs=1), 2, None)
    watch.epoch_begins()
    time.sleep(0.02)
    watch.step_ends(0, 0.5)
    assert watch.seconds_per_epoch >= 0.04


def test_seconds_per_epoch_leaves_out_what_belongs_to_no_step():
    watch = FitWatch(None, TrainingConfig(epochs=1), 1, None)
    watch.epoch_begins()
    time.sleep(0.2)  # a checkpoint is written
    watch.restart_clock()
    watch.step_ends(0, 0.5)
    assert watch.seconds_per_epoch < 0.1


@pytest.mark.parametrize(
    ("patience", "expected"),
    [
        (None, "epoch 1/3, loss 0.5000, 10:30 left"),
        (2, "epoch 1/3, loss 0.5000, at most 10:30 left"),
    ],
)
def test_progress_tells_the_time_left(patience, expected):
    lines = []
    config = TrainingConfig(epochs=3, patience=patience)
    watch = FitWatch(None, config, 100, lambda fraction, line: lines.append(line))
    # 100 of 300 steps are done, 3 s each; a validation takes 10 s.
    watch.restore(
        {
            "num_epochs": 0,
            "num_steps_done": 99,
            "validation_accuracy": 0.0,
            "_measured_seconds": 150.0,
            "_num_measured": 50,
            "_validation_seconds": 10.0,
            "_best_loss": 1.0,
            "_best_epoch": 0,
            "_seconds_before": 300.0,
        },
        None,
    )
    watch.epoch_begins()
    watch.step_ends(0, 0.5)
    assert lines == [expected]
    assert watch.seconds >= 300.0
