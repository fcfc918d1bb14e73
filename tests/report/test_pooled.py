"""Tests that several runs are judged together, on flips counted by hand."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.record import new_record, write_record
from tfcompress.report.pooled import pooled_table, read_run


def write_run(folder, dataset, predictions, *, control=None):
    """Writes a run of two rows, whose labels are all 1."""
    for name in ("records", "predictions", "data"):
        (folder / name).mkdir(parents=True)
    count = len(next(iter(predictions.values())))
    np.save(folder / "data" / "test_labels.npy", np.ones(count, np.int32))
    for row, indices in predictions.items():
        key = f"{row}.keras.float32.dense.tensorflow.cpu"
        record = new_record(
            row=row,
            parent=None if row == "a" else "a",
            control=control if row == "b" else None,
            format="keras",
            precision="float32",
            coding="dense",
            runtime="tensorflow",
            device="cpu",
            status="ok",
            dataset={"name": dataset},
        )
        write_record(folder / "records" / f"{key}.json", record)
        np.savez(folder / "predictions" / f"{key}.npz", indices=np.int32(indices))
    return read_run(folder)


def test_pooled_table_weighs_examples_of_all_runs_alike(tmp_path):
    runs = [
        # b alone is right once of 4, then wrong once of 6: together 0 of 10
        write_run(tmp_path / "x", "tweets", {"a": [1, 1, 0, 0], "b": [1, 1, 1, 0]}),
        write_run(tmp_path / "y", "news", {"a": [1] * 6, "b": [1] * 5 + [0]}),
    ]
    lines = pooled_table(runs).splitlines()
    assert lines[0] == "| file | against | tweets | news | together | 95% interval |"
    begin = "| b keras float32 dense | a | +25.00 | -16.67 | +0.00 | "
    assert lines[2].startswith(begin)
    assert len(lines) == 3


def test_pooled_table_compares_with_the_control_too(tmp_path):
    rows = {"a": [1, 0], "b": [1, 1], "c": [0, 0]}
    runs = [write_run(tmp_path / name, name, rows, control="c") for name in ("x", "y")]
    table = pooled_table(runs)
    assert "| b keras float32 dense | a | +50.00 | +50.00 | +50.00 |" in table
    assert "| b keras float32 dense | c | +100.00 | +100.00 | +100.00 |" in table


def test_read_run_of_another_folder_raises(tmp_path):
    with pytest.raises(InvalidValueError, match="holds no run that is scored"):
        read_run(tmp_path)


def test_pooled_table_of_different_rows_raises(tmp_path):
    runs = [
        write_run(tmp_path / "x", "x", {"a": [1]}),
        write_run(tmp_path / "y", "y", {"c": [1]}),
    ]
    with pytest.raises(InvalidValueError, match="have no row in common"):
        pooled_table(runs)
