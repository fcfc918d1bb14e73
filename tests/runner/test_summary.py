"""Tests of the lines below the table."""

import dataclasses

import numpy as np
import pytest

from tfcompress.record import new_record
from tfcompress.runner.rows import Row, Variant
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.summary import summarize, write_summary

KERAS = Variant(format="keras")
ROWS = (
    Row(name="baseline", variants=(KERAS,)),
    Row(name="control", parent="baseline", variants=(KERAS,)),
    Row(name="small", parent="baseline", control="control", variants=(KERAS,)),
)


@pytest.fixture
def lines(tmp_path):
    """Returns a function of each row's predictions that gives the summary's lines."""

    def summarize_predictions(baseline, control, small):
        with RunFolder(tmp_path) as folder:
            np.save(folder.data / "test_labels.npy", np.int32([0, 1, 1, 0]))
            records = []
            found = zip(ROWS, (baseline, control, small), (1.0, 2.0, 3.0), strict=True)
            for row, predictions, seconds in found:
                path = folder.predictions / f"{KERAS.key(row.name)}.npz"
                np.savez(path, indices=np.int32(predictions))
                records.append(
                    new_record(
                        row=row.name,
                        status="ok",
                        runtime=KERAS.runtime,
                        training={"seconds_per_epoch": seconds},
                        **dataclasses.asdict(KERAS),
                    )
                )
            return summarize(ROWS, records, folder)

    return summarize_predictions


def test_summary_compares_a_row_with_its_control(lines):
    quality, training = lines([0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 0, 0])
    assert quality.startswith("small against control: +0.00 points of accuracy")
    assert training == ("small trains an epoch in 3.00 s, 1.50 times control's 2.00 s.")


def test_summary_warns_of_a_baseline_with_one_label(lines):
    warning, *_ = lines([1, 1, 1, 1], [0, 1, 1, 1], [0, 1, 0, 0])
    assert warning.startswith("WARNING: baseline gives every test example one label")


def test_summary_gives_the_latency_beside_tensorflow(tmp_path):
    onnx = Variant(format="onnx", precision="float16")
    row = Row(name="baseline", is_timed=True, variants=(KERAS, onnx))
    records = [
        new_record(
            row=row.name,
            status="ok",
            runtime=variant.runtime,
            latency={
                "batch_1": {
                    "p50_ms": p50s[0],
                    "p90_ms": p50s[0],
                    "rounds": [{"p50_ms": p50, "p90_ms": p50} for p50 in p50s],
                    "ratio_to_baseline": None,
                    "ratio_to_dense": None,
                },
                "num_threads": 2,
                "sequence_length": 128,
            },
            **dataclasses.asdict(variant),
        )
        for variant, p50s in ((KERAS, (10.0, 20.0, 10.0)), (onnx, (5.0, 8.0, 9.0)))
    ]
    with RunFolder(tmp_path) as folder:
        for variant in row.variants:
            path = folder.predictions / f"{variant.key(row.name)}.npz"
            np.savez(path, indices=np.int32([0, 1]))
        (line,) = summarize((row,), records, folder)
    assert line == (
        "baseline, latency beside TensorFlow's at batch 1, length 128, 2 threads: "
        "onnx float16 0.50."
    )


def test_heading_names_every_commit_that_made_a_record(tmp_path):
    records = [
        new_record(
            row=row,
            status="failed",
            error="no",
            runtime=KERAS.runtime,
            dataset={"name": "x", "source": "tfds", "num_examples": 9},
            environment={
                "commit": commit,
                "started_at": time,
                "cpu": "a CPU",
                "num_cores": 2,
                "versions": {"keras": "3"},
            },
            **dataclasses.asdict(KERAS),
        )
        for row, commit, time in (
            ("baseline", "abc", "Monday"),
            ("small", "abc", "Tuesday"),
            ("smaller", "def", "Friday"),
        )
    ]
    with RunFolder(tmp_path) as folder:
        write_summary("title", folder, "make it", records, [])
        text = folder.table.read_text()
    assert "a CPU, 2 cores; commit abc; Monday; commit def; Friday." in text
