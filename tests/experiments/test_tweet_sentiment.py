"""Tests of the comparison of methods, on a small file and an encoder of two layers."""

import pytest

from tfcompress.record import read_records

NAME = "tweet_sentiment"


@pytest.fixture(scope="module")
def finished(run, reviews, tmp_path_factory):
    """Runs some rows of the experiment and returns its folder and what it printed."""
    run_dir = tmp_path_factory.mktemp("experiment") / "run"
    status, _, err = run(
        NAME,
        *reviews,
        "--limit=120",
        "--max_length=16",
        "--epochs=1",
        "--formats=openvino",
        "--rounds=0",
        "--rows=l1_pruning_norms,clustered_blocks,prune_cluster_finetuned",
        f"--run_dir={run_dir}",
    )
    assert status == 0, err
    return {"run_dir": run_dir, "records": read_records(run_dir / "records")}


def test_rows_bring_their_parents_and_controls(finished):
    rows = {record["row"] for record in finished["records"].values()}
    assert rows == {
        "original",
        "original_finetuned",
        "l1_pruning_norms",
        "clustered_blocks",
        "prune_cluster_finetuned",
    }
    for key, record in finished["records"].items():
        assert record["status"] == "ok", (key, record["error"])


def test_files_of_other_tools_stand_beside_ours(finished):
    sizes = {
        record["precision"]: record["size"]
        for record in finished["records"].values()
        if record["row"] == "original" and record["format"] == "openvino"
    }
    assert set(sizes) == {
        "float32",
        "float16",
        "weight_only_wi8",
        "weight_only_wi4",
        "weight_only_nf4",
        "weight_only_cb4",
    }
    ours = finished["records"]["clustered_blocks.openvino.float32.coded.openvino.cpu"]
    assert ours["size"]["file_bytes"] < sizes["weight_only_wi8"]["file_bytes"]
    assert (
        ours["size"]["baseline_int8_gzip_bytes"]
        == (sizes["weight_only_wi8"]["gzip_bytes"])
    )


def test_pruned_and_clustered_keeps_both_in_the_file(finished):
    key = "prune_cluster_finetuned.openvino.float32.coded.openvino.cpu"
    record = finished["records"][key]
    assert record["recipe"] == "prune(0.5)+cluster(16)"
    assert record["size"]["max_distinct_values"] <= 16
    for row in record["layers"]:
        if row["status"] == "compressed":
            for name, measured in row["stripped"].items():
                zeros = measured["num_weights"] - measured["num_nonzero"]
                assert zeros == round(0.5 * measured["num_weights"]), (row, name)


def test_naming_the_norms_prunes_them(finished):
    key = "l1_pruning_norms.keras.float32.dense.tensorflow.cpu"
    rows = finished["records"][key]["layers"]
    norms = [row for row in rows if row["kind"] == "LayerNormalization"]
    assert norms
    assert all(row["status"] == "compressed" for row in norms)


def test_unknown_row_lists_choices(refuse, tmp_path):
    line = refuse(NAME, "--rows=clusterd", f"--run_dir={tmp_path / 'run'}")
    assert "--rows must be of original, original_finetuned, random_pruning" in line
