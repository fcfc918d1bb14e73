"""Tests of steps and of the order in which they can be done."""

import json

import pytest

from tfcompress.errors import InvalidValueError, StepError
from tfcompress.executor import Step
from tfcompress.executor.schedule import Schedule
from tfcompress.executor.step import needed_steps


def test_step_is_done_by_its_files_and_goes_through_json(make_step, tmp_path):
    step = make_step("a", text="words", num_cores=2)
    assert not step.is_done()
    Step.from_json(json.loads(json.dumps(step.to_json()))).run()
    assert step.is_done()
    assert (tmp_path / "a").read_text() == "words"
    assert Step.from_json(step.to_json()) == step


def test_step_without_its_input_is_refused(make_step, tmp_path):
    with pytest.raises(StepError, match="'b' needs .*/a, which is not there on "):
        make_step("b", inputs=["a"]).run()
    assert not (tmp_path / "b").exists()


def test_steps_need_those_that_write_what_they_read(make_step):
    steps = [make_step("a"), make_step("b"), make_step("c", inputs=["a", "given"])]
    assert needed_steps(steps) == {"a": set(), "b": set(), "c": {"a"}}


def test_steps_without_an_order_are_refused(make_step):
    a, b = make_step("a"), make_step("b", inputs=["a"])
    with pytest.raises(InvalidValueError, match="Two steps are called 'a'."):
        needed_steps([a, a])
    with pytest.raises(InvalidValueError, match="'b' reads .*: 'a' must come before"):
        needed_steps([b, a])
    with pytest.raises(InvalidValueError, match="'a' must come before"):
        needed_steps([make_step("a", inputs=["a"])])
    other = Step(name="other", function="", outputs=a.outputs)
    with pytest.raises(InvalidValueError, match="'a' and 'other' both write "):
        needed_steps([a, other])


def names_begun(schedule):
    found = []
    while (step := schedule.begin()) is not None:
        found.append(step)
    return found


def test_schedule_begins_what_has_its_inputs(make_step):
    a, b, c = make_step("a"), make_step("b"), make_step("c", inputs=["a"])
    b.run()
    schedule = Schedule([a, b, c])
    assert names_begun(schedule) == [a]
    a.run()
    assert schedule.end(a)
    assert names_begun(schedule) == [c]
    assert not schedule.is_finished
    c.run()
    assert schedule.end(c)
    assert schedule.is_finished


def test_schedule_lets_an_exclusive_step_be_alone(make_step):
    a, b = make_step("a"), make_step("b")
    alone = make_step("alone", is_exclusive=True)
    schedule = Schedule([a, alone, b])
    assert names_begun(schedule) == [a, b]
    a.run()
    schedule.end(a)
    assert names_begun(schedule) == []
    b.run()
    schedule.end(b)
    assert names_begun(schedule) == [alone]
    schedule = Schedule([alone, make_step("c")])
    assert names_begun(schedule) == [alone]


def test_schedule_sends_a_step_again_a_few_times(make_step):
    a = make_step("a")
    schedule = Schedule([a], max_deaths=2)
    schedule.begin()
    assert not schedule.end(a, death="was ended by SIGKILL.")
    assert names_begun(schedule) == [a]
    with pytest.raises(StepError, match="'a' was begun 2 times; .* was ended by SIGK"):
        schedule.end(a, death="was ended by SIGKILL.")


def test_schedule_wants_to_see_the_outputs(make_step):
    a = make_step("a")
    schedule = Schedule([a])
    schedule.begin()
    with pytest.raises(StepError, match="'a' ended, and .*/a is not there"):
        schedule.end(a)
