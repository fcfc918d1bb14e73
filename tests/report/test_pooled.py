"""Tests that several runs are judged together, on flips counted by hand."""

import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.record import new_record, write_record
from tfcompress.report.pooled import pooled_table, read_run


def write_run(folder, dataset, rights, *, control=None, metric="accuracy"):
    """Writes a run of rows of which each example is right or not."""
    for name in ("records", "scores"):
        (folder / name).mkdir(parents=True)
    for row, right in rights.items():
        key = write_record_of(folder, row, dataset, control, metric)
        scores = np.stack([right, np.ones(len(right))], axis=1)
        np.savez(folder / "scores" / f"{key}.npz", **{metric: scores})
    return read_run(folder)


def write_record_of(folder, row, dataset, control, metric):
    """Writes the record of a row's Keras model; returns its key."""
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
        quality={"primary": metric},
    )
    write_record(folder / "records" / f"{key}.json", record)
    return key


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


def test_pooled_table_of_older_runs_scores_the_labels_they_kept(tmp_path):
    """Without scores, as before version 4: half of b's labels are right, all of a's."""
    for name in ("records", "predictions", "data"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "data" / "test_labels.npy", np.int32([2, 1]))
    for row, indices in {"a": [2, 1], "b": [2, 0]}.items():
        key = write_record_of(tmp_path, row, "tweets", None, "accuracy")
        path = tmp_path / "predictions" / f"{key}.npz"
        np.savez(path, indices=np.int32(indices))
    run = read_run(tmp_path)
    assert "| b keras float32 dense | a | -50.00 | -50.00 | -50.00 | " in (
        pooled_table([run, run])
    )


def test_pooled_table_of_numbers_is_in_their_unit(tmp_path):
    rows = {"a": [4.0] * 9, "b": [6.25] * 9}
    runs = [write_run(tmp_path / name, name, rows, metric="rmse") for name in "xy"]
    line = "| b keras float32 dense | a | +0.5 | +0.5 | +0.5 | +0.5 to +0.5 |"
    assert line in pooled_table(runs)


def test_pooled_table_of_a_metric_that_is_not_known_raises(tmp_path):
    rows = {"a": [1, 0], "b": [1, 1]}
    runs = [write_run(tmp_path / name, name, rows, metric="mine") for name in "xy"]
    with pytest.raises(InvalidValueError, match="'mine' is none of this package's, wh"):
        pooled_table(runs)


def test_pooled_table_of_different_metrics_raises(tmp_path):
    runs = [
        write_run(tmp_path / metric, "x", {"a": [1], "b": [1]}, metric=metric)
        for metric in ("rmse", "accuracy")
    ]
    with pytest.raises(InvalidValueError, match="judged by accuracy and rmse: name"):
        pooled_table(runs)


def test_read_run_without_scores_raises(tmp_path):
    (tmp_path / "records").mkdir()
    write_record_of(tmp_path, "a", "x", None, "rmse")
    with pytest.raises(InvalidValueError, match=r"keeps no scores of 'a\.keras"):
        read_run(tmp_path)


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
