"""Latency of a session in this process."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.evaluate.latency import make_batches, measure_latency
from tfcompress.runtime import Session, TensorSpec


class TimedSession:
    """A session whose runs take known times, by a clock of its own.

    Args:
        seconds: function of the number of a run, from 0, that returns its seconds.
    """

    def __init__(self, seconds):
        self._seconds = seconds
        self._now = 0.0
        self.seen = []
        specs = (TensorSpec("x", (None,), "int64"),)
        self.session = Session("none", "none", specs, self._invoke)

    def clock(self):
        return self._now

    def _invoke(self, inputs):
        self._now += self._seconds(len(self.seen))
        self.seen.append(inputs["x"].tolist())
        return {}

    def measure(self, num_examples, batch_size):
        inputs = {"x": np.arange(num_examples)}
        return measure_latency(self.session, inputs, batch_size, clock=self.clock)


def test_measure_latency_gives_milliseconds_of_100_runs():
    # One run checks the inputs, 50 of 2 ms are the warm-up; every fifth is slow.
    timed = TimedSession(lambda number: 0.002 if number < 51 or number % 5 else 0.006)
    assert timed.measure(3, 1) == {
        "p50_ms": pytest.approx(2.0),
        "p90_ms": pytest.approx(6.0),
        "num_runs": 100,
    }
    assert timed.seen[-100:-97] == [[0], [1], [2]]


def test_measure_latency_slow_model_stops_at_the_time_limit():
    timed = TimedSession(lambda number: 1.0)
    assert timed.measure(3, 2)["num_runs"] == 3  # of 1 s; the limit is 3 s
    assert len(timed.seen) == 1 + 3 + 3


def test_make_batches_fills_up_from_the_front():
    batches = make_batches({"x": np.arange(5), "y": np.arange(5) * 10}, 2)
    assert [batch["x"].tolist() for batch in batches] == [[0, 1], [2, 3], [4, 0]]
    assert batches[2]["y"].tolist() == [40, 0]


def test_make_batches_fewer_examples_than_a_batch_repeats_them():
    assert make_batches({"x": np.arange(2)}, 5)[0]["x"].tolist() == [0, 1, 0, 1, 0]


def test_make_batches_no_example_raises():
    with pytest.raises(InvalidValueError, match="measured on examples; there is none"):
        make_batches({"x": np.arange(0)}, 1)
