"""Latency of a session in this process."""

import time

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.evaluate import latency
from tfcompress.evaluate.latency import make_batches, measure_latency
from tfcompress.runtime import Session, TensorSpec


def sleeping_session(seconds, seen):
    """A session whose runs take a known time, and which keeps what it was given."""

    def invoke(inputs):
        seen.append(inputs["x"].tolist())
        time.sleep(seconds)
        return {}

    return Session("none", "none", (TensorSpec("x", (None,), "int64"),), invoke)


def test_measure_latency_gives_milliseconds_of_100_runs():
    seen = []
    result = measure_latency(sleeping_session(0.002, seen), {"x": np.arange(3)}, 1)
    assert result["num_runs"] == 100
    assert 2 <= result["p50_ms"] <= result["p90_ms"] < 50
    assert seen[-100:-97] == [[0], [1], [2]]


def test_measure_latency_slow_model_stops_at_the_time_limit(monkeypatch):
    monkeypatch.setattr(latency, "MAX_SECONDS", 0.2)
    result = measure_latency(sleeping_session(0.05, []), {"x": np.arange(3)}, 2)
    assert 2 <= result["num_runs"] <= 4


def test_make_batches_fills_up_from_the_front():
    batches = make_batches({"x": np.arange(5), "y": np.arange(5) * 10}, 2)
    assert [batch["x"].tolist() for batch in batches] == [[0, 1], [2, 3], [4, 0]]
    assert batches[2]["y"].tolist() == [40, 0]


def test_make_batches_fewer_examples_than_a_batch_repeats_them():
    assert make_batches({"x": np.arange(2)}, 5)[0]["x"].tolist() == [0, 1, 0, 1, 0]


def test_make_batches_no_example_raises():
    with pytest.raises(InvalidValueError, match="measured on examples; there is none"):
        make_batches({"x": np.arange(0)}, 1)
