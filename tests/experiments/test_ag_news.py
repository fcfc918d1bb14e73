"""Tests of the comparison of quantizations, on a small file and a small encoder."""

import pytest

from tfcompress.record import read_records

NAME = "ag_news"


@pytest.fixture(scope="module")
def finished(run, reviews, tmp_path_factory):
    """Runs some rows of the experiment and returns its records."""
    run_dir = tmp_path_factory.mktemp("experiment") / "run"
    status, _, err = run(
        NAME,
        *reviews,
        "--limit=120",
        "--max_length=16",
        "--epochs=1",
        "--formats=tflite,onnx",
        "--rounds=0",
        "--calibration_examples=20",
        "--rows=table_qat,prune_cluster_qat",
        f"--run_dir={run_dir}",
    )
    assert status == 0, err
    # Published figures are of the news, and this is not.
    assert "published as" not in (run_dir / "table.md").read_text()
    return read_records(run_dir / "records")


def test_all_files_are_made(finished):
    for key, record in finished.items():
        assert record["status"] == "ok", (key, record["error"])
    assert {record["row"] for record in finished.values()} == {
        "baseline",
        "baseline_finetuned",
        "table_qat",
        "gradual_control",
        "prune_cluster_qat",
    }
    baseline = {
        (record["format"], record["precision"])
        for record in finished.values()
        if record["row"] == "baseline"
    }
    assert baseline == {
        ("keras", "float32"),
        ("tflite", "float32"),
        ("tflite", "dynamic_range_wi8"),
        ("tflite", "dynamic_range_wi8_ei8"),
        ("tflite", "static_range_wi8_ai8"),
        ("onnx", "float32"),
        ("onnx", "dynamic_range_wi8"),
        ("onnx", "weight_only_wi8"),
        ("onnx", "static_range_wi8_ai8"),
    }


def test_gradual_row_has_the_control_that_is_trained_alike(finished):
    record = finished["prune_cluster_qat.keras.float32.dense.tensorflow.cpu"]
    assert record["control"] == "gradual_control"
    assert "schedule='polynomial'" in record["recipe"]
    flags = record["flags"]
    assert flags["gradual_learning_rate"] == 2 * flags["learning_rate"]


def test_coded_table_stands_beside_integer_layers(finished):
    file = "table_qat.tflite.dynamic_range_wi8_efp32.{}.litert.cpu"
    dense, coded = (finished[file.format(kind)] for kind in ("dense", "coded"))
    assert coded["size"]["file_bytes"] < dense["size"]["file_bytes"]
    table = next(row for row in coded["layers"] if row["kind"] == "Embedding")
    assert table["stripped"]["embeddings"]["distinct_values"] <= 16


def test_zeros_and_clusters_are_in_the_integer_file(finished):
    key = "prune_cluster_qat.onnx.static_range_wi8_ai8.coded.onnxruntime.cpu"
    record = finished[key]
    assert record["size"]["max_distinct_values"] <= 16
    for row in record["layers"]:
        if row["status"] == "compressed":
            for name, measured in row["stripped"].items():
                zeros = measured["num_weights"] - measured["num_nonzero"]
                assert zeros >= round(0.5 * measured["num_weights"]), (row, name)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--calibration_examples=0", "--calibration_examples must be at least 1"),
        ("--rows=qta", "--rows must be of baseline, baseline_finetuned, qat"),
        ("--finetune_epochs=0", "--finetune_epochs must be at least 1"),
    ],
)
def test_bad_flag_is_one_line(refuse, tmp_path, flag, message):
    assert message in refuse(NAME, flag, f"--run_dir={tmp_path / 'run'}")
