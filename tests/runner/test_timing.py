"""Timing on a real runtime: where it was measured, and what a failure leaves alone."""

import dataclasses
import pathlib
import types

import pytest

from tfcompress.evaluate import write_examples
from tfcompress.formats.target import Target
from tfcompress.record import new_record, read_records, write_record
from tfcompress.runner.environment import describe_environment
from tfcompress.runner.rows import Row
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.timing import time_rows

FILES = (Target(format="onnx"), Target(format="onnx", coding="coded"))
OTHER = Target(format="onnx", runtime="openvino")
ROW = Row(name="baseline", is_timed=True, targets=(*FILES, OTHER))
KEYS = [target.key(ROW.name) for target in FILES]
OPTIONS = types.SimpleNamespace(rounds=1, num_threads=1)
# The scoring was done elsewhere, by other code.
SCORED_ON = {"cpu": "another CPU", "num_cores": 96, "commit": "abc"}


@pytest.fixture
def timed(tmp_path, tiny_artifact):
    """Function: times two files in a run folder and returns their records."""
    examples = tmp_path / "timing.jsonl"
    write_examples(examples, ["good film", "bad"])
    folder = RunFolder(tmp_path / "run")
    for target in ROW.targets:
        key = target.key(ROW.name)
        if target in FILES:
            tiny_artifact().folder.rename(folder.artifacts / key)
        record = new_record(
            row=ROW.name,
            **dataclasses.asdict(target),
            status="ok",
            quality={"num_worse": 3},
            environment=SCORED_ON,
        )
        write_record(folder.records / f"{key}.json", record)

    def run():
        time_rows([ROW], OPTIONS, folder, examples.resolve(), lambda *_: None)
        return read_records(folder.records)

    run.artifacts = folder.artifacts
    with folder:
        yield run


def test_time_rows_says_where_it_was_measured(timed):
    for record in timed().values():
        assert record["latency"]["batch_1"]["p50_ms"] > 0
        assert record["memory"]["peak_rss_bytes"] is not None
        here = describe_environment()
        for name in ("cpu", "num_cores", "commit", "versions"):
            assert record["timing_environment"][name] == here[name]
        assert record["timing_environment"]["started_at"] is not None
        assert record["environment"]["cpu"] == "another CPU"
        assert record["timing_error"] is None


def test_time_rows_shares_a_file_between_runtimes_and_compares_on_each(timed):
    records = timed()
    own, other = (records[target.key(ROW.name)] for target in (FILES[0], OTHER))
    assert other["latency"]["batch_1"]["ratio_to_dense"] == 1
    assert other["latency"]["batch_1"]["ratio_to_baseline"] == 1
    for record in (own, other):
        assert record["latency"]["batch_1"]["p50_ms"] > 0
    memories = [record["memory"]["runtime_rss_bytes"] for record in (own, other)]
    assert memories[0] != memories[1]  # of two runtimes
    assert not (timed.artifacts / OTHER.key(ROW.name)).exists()


def test_time_rows_failure_leaves_the_score_and_is_timed_again(timed):
    whole, broken = (timed.artifacts / key for key in KEYS)
    manifest = broken / "manifest.json"
    content = manifest.read_bytes()
    manifest.write_text("{")
    records = timed()
    failed = records[broken.name]
    assert failed["status"] == "ok"
    assert failed["error"] is None
    assert failed["quality"]["num_worse"] == 3
    assert failed["latency"]["batch_1"]["p50_ms"] is None
    assert failed["memory"]["peak_rss_bytes"] is None
    assert "manifest.json' is damaged" in failed["timing_error"]
    assert records[whole.name]["latency"]["batch_1"]["p50_ms"] > 0
    manifest.write_bytes(content)
    mended = timed()[broken.name]
    assert mended["timing_error"] is None
    assert mended["latency"]["batch_1"]["p50_ms"] > 0


def test_time_rows_that_fails_takes_an_older_latency_away(timed):
    timed()
    pathlib.Path(timed.artifacts / KEYS[0], "model.onnx").unlink()
    record = timed()[KEYS[0]]
    assert record["latency"]["batch_1"]["p50_ms"] is None
    assert "model.onnx' is missing" in record["timing_error"]
