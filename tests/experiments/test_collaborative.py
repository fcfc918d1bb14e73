"""Tests of the matrix of combined methods, on a small file."""

import pytest

from tfcompress.record import read_records

NAME = "collaborative"
ROWS = (
    "prune",
    "cluster",
    "qat",
    "prune_cluster",
    "prune_qat",
    "cluster_qat",
    "prune_cluster_qat",
)


@pytest.fixture(scope="module")
def finished(run, reviews, tmp_path_factory):
    """Runs the experiment on the embedding classifier and returns its records."""
    run_dir = tmp_path_factory.mktemp("experiment") / "run"
    status, _, err = run(
        NAME,
        *reviews,
        "--formats=tflite",
        "--rounds=0",
        "--calibration_examples=50",
        f"--run_dir={run_dir}",
    )
    assert status == 0, err
    return read_records(run_dir / "records")


def test_every_combination_is_made(finished):
    for key, record in finished.items():
        assert record["status"] == "ok", (key, record["error"])
    rows = {record["row"] for record in finished.values()}
    assert rows == {"baseline", "baseline_finetuned", *ROWS}


@pytest.mark.parametrize("row", ROWS)
def test_what_was_made_is_kept_to_the_end(finished, row):
    keras = finished[f"{row}.keras.float32.dense.tensorflow.cpu"]
    for layer in keras["layers"]:
        for measured in layer["stripped"].values():
            zeros = measured["num_weights"] - measured["num_nonzero"]
            if "prune" in row:
                assert zeros >= round(0.5 * measured["num_weights"])
            if "cluster" in row:
                assert measured["distinct_values"] <= 16
            if "qat" in row and layer["kind"] == "Embedding":
                assert measured["distinct_values"] <= 255


def test_integer_file_is_integer_throughout_and_smaller_coded(finished):
    file = "prune_cluster_qat.tflite.static_range_wi8_ai8_full.{}.litert.cpu"
    dense, coded = (finished[file.format(kind)] for kind in ("dense", "coded"))
    assert coded["size"]["file_bytes"] < dense["size"]["file_bytes"]
    assert coded["size"]["max_distinct_values"] <= 16
    assert coded["quality"]["metrics"]["accuracy"]["value"] > 0.9


def test_bert_is_made_in_integers_with_its_zeros_and_clusters(run, reviews, tmp_path):
    status, _, err = run(
        NAME,
        *reviews,
        "--preset=random:tiny",
        "--limit=120",
        "--max_length=16",
        "--epochs=1",
        "--formats=onnx",
        "--rounds=0",
        "--calibration_examples=20",
        "--rows=prune_cluster_qat",
        f"--run_dir={tmp_path / 'run'}",
    )
    assert status == 0, err
    records = read_records(tmp_path / "run" / "records")
    key = "prune_cluster_qat.onnx.static_range_wi8_ai8.coded.onnxruntime.cpu"
    assert records[key]["size"]["max_distinct_values"] <= 16
    assert records[key]["operators"]["integer"]
