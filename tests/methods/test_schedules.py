"""Tests of the steps in which pruning happens."""

import pytest

from tfcompress.methods import PruneConfig
from tfcompress.methods.schedules import PruningSchedule


def sparsities(num_steps, sparsity=0.8, **options):
    schedule = PruningSchedule(PruneConfig(sparsity, **options), num_steps)
    asked = {step: schedule.sparsity_at(step, sparsity) for step in range(num_steps)}
    return {step: value for step, value in asked.items() if value is not None}


def test_polynomial_rises_as_one_minus_a_cube():
    found = sparsities(20, schedule="polynomial", begin=0.1, end=0.6, frequency=5)
    assert list(found) == [2, 7, 12]
    assert found[2] == 0
    assert found[7] == pytest.approx(0.8 * (1 - 0.5**3))
    assert found[12] == 0.8


def test_polynomial_reaches_the_end_where_frequency_does_not_divide():
    found = sparsities(20, schedule="polynomial", end=0.5, frequency=4)
    assert list(found) == [0, 4, 8, 10]
    assert found[10] == 0.8


def test_constant_has_the_sparsity_from_the_beginning():
    found = sparsities(20, schedule="constant", begin=0.25, end=0.75, frequency=5)
    assert found == {5: 0.8, 10: 0.8, 15: 0.8}


@pytest.mark.parametrize("num_steps", [2, 3, 5])
def test_schedule_of_a_short_training_ends_before_its_last_step(num_steps):
    found = sparsities(num_steps, schedule="polynomial", end=1.0)
    assert max(found) == num_steps - 1
    assert found[num_steps - 1] == 0.8
