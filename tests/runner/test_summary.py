"""Tests of the lines below the table."""

import dataclasses

import numpy as np
import pytest

from tfcompress.record import new_record
from tfcompress.runner.rows import Row, Variant
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.summary import summarize

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
