"""Tests of the main job, end to end, on a small file: killed, resumed, repeated."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

from tfcompress.record import read_records

ROOT = pathlib.Path(__file__).parents[2]
NAME = "cluster_finetune"
ROWS = [
    "baseline",
    "clustered",
    "baseline_finetuned",
    "clustered_finetuned",
    "clustered_every_step",
]


@pytest.fixture(scope="module")
def finished(start, run, reviews, tmp_path_factory):
    """Begins a run, kills it after its first records, and runs it to its end."""
    run_dir = tmp_path_factory.mktemp("experiment") / "runs" / "one"
    arguments = [NAME, *reviews, "--formats=onnx", "--rounds=1", f"--run_dir={run_dir}"]
    process = start(*arguments)
    while len(list(run_dir.glob("records/*.json"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {
        path: path.read_bytes()
        for path in (run_dir / "models").iterdir()
        if path.is_file()
    }
    status, out, err = run(*arguments)
    assert status == 0, err
    return {"run_dir": run_dir, "out": out, "arguments": arguments, "kept": kept}


def test_experiment_makes_every_row_and_target(finished):
    records = read_records(finished["run_dir"] / "records")
    assert {record["row"] for record in records.values()} == set(ROWS)
    assert {record["status"] for record in records.values()} == {"ok"}
    assert len(records) == 4 * 3 + 1


def test_experiment_killed_goes_on_where_it_was(finished):
    for path, content in finished["kept"].items():
        assert path.read_bytes() == content
    assert "baseline: training" not in finished["out"]
    assert "Going on: " in finished["out"]


def test_experiment_clustered_files_hold_few_values_and_are_smaller(finished):
    records = read_records(finished["run_dir"] / "records")
    key = "clustered_finetuned.onnx.float32.{}.onnxruntime.cpu"
    dense, coded = (records[key.format(coding)] for coding in ("dense", "coded"))
    exported = {
        (row["name"], name): found
        for row in dense["layers"]
        for name, found in row["exported"].items()
    }
    assert ("embedding", "embeddings") in exported
    # What lies in the file, counted by another package than ours.
    path = finished["run_dir"] / "artifacts" / key.format("dense") / "model.onnx"
    in_file = {
        (array.size, len(np.unique(array)))
        for tensor in onnx.load(path).graph.initializer
        for array in [onnx.numpy_helper.to_array(tensor)]
    }
    for found in exported.values():
        assert (found["num_weights"], found["distinct_values"]) in in_file
        assert 2 <= found["distinct_values"] <= 16
    assert coded["size"]["file_bytes"] < dense["size"]["file_bytes"]
    assert (
        coded["quality"]["metrics"]["accuracy"]["value"]
        == dense["quality"]["metrics"]["accuracy"]["value"]
    )
    assert coded["quality"]["inherited_from"] == key.format("dense")
    assert dense["quality"]["keras_agreement"] == 1.0
    assert coded["latency"]["batch_1"]["ratio_to_dense"] > 0
    assert dense["control"] == "baseline_finetuned"


def test_experiment_prints_its_table_and_nothing_of_others(finished):
    lines = finished["out"].splitlines()
    table = [line for line in lines if "onnx coded" in line]
    assert len(table) >= 4
    assert max(map(len, table)) <= 80
    assert "oneDNN" not in finished["out"]
    text = (finished["run_dir"] / "table.md").read_text()
    assert "| clustered_finetuned | onnx coded |" in text
    assert re.search(r"clustered_finetuned trains an epoch in .* times", text)


def test_experiment_finished_prints_its_table_again(run, finished):
    status, out, err = run(*finished["arguments"])
    assert status == 0, err
    assert "clustered_finetuned" in out
    assert "The run is finished" in out
    assert "training" not in out


def test_experiment_other_flags_in_the_same_folder_raise(run, finished):
    status, _, err = run(*finished["arguments"], "--num_clusters=8")
    assert status == 1
    assert "holds a run with other flags (--num_clusters: 16" in err


def test_experiment_other_code_asks_for_resume_or_fresh(run, finished):
    path = finished["run_dir"] / "flags.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"code": "older"}))
    status, _, err = run(*finished["arguments"])
    path.write_text(before)
    assert status == 1
    assert "Other code began the run" in err


def test_help_names_the_flags(run):
    status, out, _ = run(NAME, "--help")
    assert "--num_clusters" in out
    assert "--dataset" in out
    assert status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_clusters=0"], "num_clusters must be a whole number from 2 to 256"),
        (["--num_clusters=1"], "num_clusters must be a whole number from 2 to 256"),
        (["--num_clusters=257"], "num_clusters must be a whole number from 2 to 256"),
        (["--num_clusters=many"], "num_clusters"),
        (["--centroid_init=best"], "centroid_init must be one of kmeans"),
        (["--formats=tensorrt"], "--formats must be of tflite, onnx, openvino"),
        (["--finetune_epochs=0"], "--finetune_epochs must be at least 1"),
        (["--num_cluster=8"], "num_clusters"),
        (["--dataset=imdb_review"], "imdb_review"),
    ],
)
def test_bad_flag_ends_in_one_clear_line(refuse, tmp_path, arguments, message):
    assert message in refuse(NAME, *arguments, f"--run_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_argument_that_is_no_flag_ends_in_one_clear_line(run):
    status, out, err = run(NAME, "num_clusters=8")
    assert (status, out) == (1, "")
    assert err == (
        "error: There is nothing to do with 'num_clusters=8': flags begin with --. "
        "--help lists them.\n"
    )


def test_run_folder_that_cannot_be_made_ends_in_one_clear_line(run, reviews, tmp_path):
    (tmp_path / "file").touch()
    status, _, err = run(NAME, *reviews, f"--run_dir={tmp_path / 'file' / 'run'}")
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert "file" in err


def test_experiments_are_listed_with_their_first_lines():
    done = subprocess.run(
        [sys.executable, "-m", "experiments"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert "cluster_finetune" in done.stdout
    assert "Cluster and fine-tune an IMDB classifier" in done.stdout


def test_unknown_experiment_lists_those_there_are():
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "cluster_finetun"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Did you mean 'cluster_finetune'?" in done.stderr
    assert "predict" in done.stdout
