"""The learning rate of each step, by known answers."""

import pytest

from tfcompress.training import TrainingConfig
from tfcompress.training.schedules import is_constant, learning_rate_at


def rates(num_steps, **options):
    config = TrainingConfig(epochs=1, learning_rate=2.0, **options)
    return [learning_rate_at(step, num_steps, config) for step in range(num_steps)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [2.0] * 5),
        ({"schedule": "linear"}, [2.0, 1.6, 1.2, 0.8, 0.4]),
        ({"warmup_fraction": 0.4}, [1.0, 2.0, 2.0, 2.0, 2.0]),
        (
            {"warmup_fraction": 0.4, "schedule": "linear"},
            [1.0, 2.0, 2.0, 4 / 3, 2 / 3],
        ),
        # 0.05 of 5 steps is none.
        ({"warmup_fraction": 0.05, "schedule": "linear"}, [2.0, 1.6, 1.2, 0.8, 0.4]),
    ],
    ids=["constant", "linear", "warm-up", "both", "too-short-warm-up"],
)
def test_learning_rate_at_known_steps(options, expected):
    assert rates(5, **options) == pytest.approx(expected)


def test_learning_rate_at_one_step_is_the_highest():
    assert rates(1, warmup_fraction=0.5, schedule="linear") == [2.0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, True), ({"schedule": "linear"}, False), ({"warmup_fraction": 0.1}, False)],
)
def test_is_constant_only_without_warm_up_and_decay(options, expected):
    assert is_constant(TrainingConfig(epochs=1, **options)) is expected
