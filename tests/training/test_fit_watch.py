"""The arithmetic of the time of an epoch, and of the time that is left."""

import pytest

from tfcompress.training import TrainingConfig
from tfcompress.training.fit_watch import WARM_UP_STEPS, FitWatch


class Clock:
    """A clock that stands still but for `now`."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def make_watch(clock, num_steps, config=None, on_progress=None):
    config = config or TrainingConfig(epochs=1)
    return FitWatch(None, config, num_steps, on_progress, clock=clock)


def test_seconds_per_epoch_leaves_out_the_first_steps(clock):
    watch = make_watch(clock, 100)
    watch.epoch_begins()
    clock.now += 8  # tracing
    for step in range(WARM_UP_STEPS + 5):
        clock.now += 0.25 if step >= WARM_UP_STEPS else 2
        watch.step_ends(step, 0.5)
    assert watch.seconds_per_epoch == 25


def test_seconds_per_epoch_few_steps_takes_all(clock):
    watch = make_watch(clock, 2)
    watch.epoch_begins()
    clock.now += 4
    watch.step_ends(0, 0.5)
    assert watch.seconds_per_epoch == 8


def test_seconds_per_epoch_leaves_out_what_belongs_to_no_step(clock):
    watch = make_watch(clock, 1)
    watch.epoch_begins()
    clock.now += 16  # a checkpoint is written
    watch.restart_clock()
    clock.now += 1
    watch.step_ends(0, 0.5)
    assert watch.seconds_per_epoch == 1


@pytest.mark.parametrize(
    ("patience", "expected"),
    [
        (None, "epoch 1/3, loss 0.5000, 10:30 left"),
        (2, "epoch 1/3, loss 0.5000, at most 10:30 left"),
    ],
)
def test_progress_tells_the_time_left(patience, expected, clock):
    lines = []
    config = TrainingConfig(epochs=3, patience=patience)
    watch = make_watch(clock, 100, config, lambda fraction, line: lines.append(line))
    # 100 of 300 steps are done, 3 s each; a validation takes 10 s.
    watch.restore(
        {
            "num_epochs": 0,
            "num_steps_done": 99,
            "validation_score": 0.0,
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
    clock.now += 3
    watch.step_ends(0, 0.5)
    assert lines == [expected]
    assert watch.seconds == 303
