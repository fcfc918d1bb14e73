"""Latency in turn, and the numbers that are made of its rounds."""

import shutil

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.evaluate.examples import write_examples
from tfcompress.evaluate.turns import measure_in_turn, ratio, summarize_rounds


def round_of(p50_ms, load_ms=1.0):
    batch = {"p50_ms": p50_ms, "p90_ms": 2 * p50_ms, "num_runs": 100}
    return {
        "load_ms": load_ms,
        "first_run_ms": 3 * load_ms,
        "num_threads": 2,
        "sequence_length": 250,
        "batch_1": batch,
        "batch_32": {key: 10 * value for key, value in batch.items()},
    }


def test_measure_in_turn_takes_turns_and_drops_what_fails(tmp_path, tiny_artifact):
    artifact = tiny_artifact()
    broken = shutil.copytree(artifact.folder, tmp_path / "broken")
    (broken / "model.onnx").unlink()
    write_examples(tmp_path / "a.npz", {"tokens": np.ones((3, 4), np.int32)})
    seen = []
    timed = measure_in_turn(
        {
            "a": {"artifact": artifact.folder},
            "broken": {"artifact": broken},
            "again": {"artifact": artifact.folder},
        },
        examples=tmp_path / "a.npz",
        num_threads=1,
        rounds=2,
        on_round=lambda number, key, result: seen.append((number, key)),
    )
    assert seen == [(0, "a"), (0, "broken"), (0, "again"), (1, "a"), (1, "again")]
    assert list(timed) == ["a", "broken", "again"]
    assert "is missing" in timed["broken"].error
    assert timed["broken"].rounds == ()
    assert timed["a"].error is None
    assert len(timed["a"].rounds) == len(timed["again"].rounds) == 2
    for batch in ("batch_1", "batch_32"):
        pairs = zip(timed["a"].rounds, timed["again"].rounds, strict=True)
        ratios = [one[batch]["p50_ms"] / two[batch]["p50_ms"] for one, two in pairs]
        expected = sum(ratios) / 2  # the median of two
        found = ratio(timed["a"].rounds, timed["again"].rounds, batch)
        assert found == pytest.approx(expected)


def test_measure_in_turn_no_round_raises():
    with pytest.raises(InvalidValueError, match="rounds must be positive, got 0"):
        measure_in_turn({}, examples="a.npz", rounds=0)


def test_ratio_is_the_median_of_the_rounds_ratios():
    one = [round_of(p50) for p50 in (4.0, 10.0, 3.0)]
    two = [round_of(p50) for p50 in (2.0, 1.0, 1.0)]
    assert ratio(one, two) == 3.0  # of 2, 10 and 3; the medians' ratio would be 4
    assert ratio(one, two, "batch_32") == 3.0


@pytest.mark.parametrize(("num_one", "num_two"), [(0, 0), (2, 1)])
def test_ratio_of_unequal_rounds_raises(num_one, num_two):
    message = f"at least one; got {num_one} and {num_two}"
    with pytest.raises(InvalidValueError, match=message):
        ratio([round_of(1.0)] * num_one, [round_of(1.0)] * num_two)


def test_summarize_rounds_gives_medians_in_the_records_shape():
    section = summarize_rounds([round_of(4.0, 9.0), round_of(2.0, 1.0), round_of(3.0)])
    assert section == {
        "load_ms": 1.0,
        "first_run_ms": 3.0,
        "num_threads": 2,
        "sequence_length": 250,
        "batch_1": {
            "p50_ms": 3.0,
            "p90_ms": 6.0,
            "rounds": [
                {"p50_ms": 4.0, "p90_ms": 8.0},
                {"p50_ms": 2.0, "p90_ms": 4.0},
                {"p50_ms": 3.0, "p90_ms": 6.0},
            ],
        },
        "batch_32": {
            "p50_ms": 30.0,
            "p90_ms": 60.0,
            "rounds": [
                {"p50_ms": 40.0, "p90_ms": 80.0},
                {"p50_ms": 20.0, "p90_ms": 40.0},
                {"p50_ms": 30.0, "p90_ms": 60.0},
            ],
        },
    }


def test_summarize_rounds_of_none_raises():
    with pytest.raises(InvalidValueError, match="no round to summarize"):
        summarize_rounds([])
