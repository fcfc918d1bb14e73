"""The arithmetic of the time of an epoch."""

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
