"""The benchmark of clustering: what its worker measures, records, and tables."""

import re

import numpy as np
import pytest

from experiments import _clustering_worker as worker
from experiments._clustering_tables import describe

NAME = "benchmark_clustering"
FLAGS = (
    "--presets=tiny",
    "--num_clusters=16",
    "--steps=2",
    "--kmeans_presets=tiny",
    "--scikit_learn_limit=0",
)


def test_benchmark_out_of_memory_is_a_result_and_is_kept(run, tmp_path):
    arguments = (*FLAGS, "--memory_limit_gb=0.25", f"--run_dir={tmp_path / 'run'}")
    status, out, err = run(NAME, *arguments)
    assert (status, err) == (0, "")
    text = (tmp_path / "run" / "table.md").read_text()
    assert text in out
    assert f"    make experiment NAME={NAME} ARGS=" in text
    lines = text.splitlines()
    for name, clusters in (("plain", "-"), ("TFMOT", "16"), ("ours", "16")):
        begin = f"| tiny | - | {name} | {clusters} | out of memory |"
        assert any(line.startswith(begin) for line in lines)
    end = "out of memory: The process took more than 0.25 GB and was stopped."
    assert f"- tiny, ours, 16 clusters: {end}" in lines
    assert "- tiny, scikit-learn, 16 clusters: not run: " in text
    begin = "| tiny | 4,382,592 | 256 | ours"
    measured, _ = (line for line in lines if line.startswith(begin))
    seconds, error = measured.split(" | ")[5:7]
    assert float(seconds) > 0
    assert 0 < float(error) < 1e-6

    records = {p: p.stat().st_mtime_ns for p in (tmp_path / "run/records").iterdir()}
    assert len(records) == 3 + 4  # nothing of what was not run
    status, _, _ = run(NAME, *arguments)
    assert status == 0
    assert records == {p: p.stat().st_mtime_ns for p in records}
    assert (tmp_path / "run" / "table.md").read_text().splitlines()[4:] == lines[4:]


@pytest.mark.parametrize("method", ["stock", "ours"])
def test_measure_step_times_the_steps_after_warming_up(method, monkeypatch):
    monkeypatch.setattr(worker, "VOCABULARY_SIZE", 200)
    values = worker.measure_step(method, "tiny", 4, steps=2, seed=0)
    assert len(values["all_step_seconds"]) == 2
    assert values["step_seconds"] > 0
    assert values["setup_seconds"] > 0
    if method == "ours":
        usual, assigning = values["all_step_seconds"]
        assert values["step_seconds"] == usual + (assigning - usual) / 20


@pytest.mark.parametrize("tool", ["ours", "scikit-learn"])
def test_measure_kmeans_finds_codebooks_of_all_weights(tool, monkeypatch):
    monkeypatch.setattr(worker, "VOCABULARY_SIZE", 200)
    values = worker.measure_kmeans(tool, "tiny", 4, num_threads=2, seed=0)
    shapes = worker.weight_shapes("tiny")
    assert values["num_tensors"] == len(shapes) == 17
    assert values["num_weights"] == sum(rows * columns for rows, columns in shapes)
    variance = np.mean([worker.draw_weights(s, i).var() for i, s in enumerate(shapes)])
    assert 0 < values["mean_squared_error"] < 0.5 * variance


ENVIRONMENT = {
    "versions": {"python": "3.11.7"},
    "cpu": "A processor",
    "num_cores": 2,
    "commit": "abc",
    "started_at": "2026-01-01T00:00:00+00:00",
}


def step_record(method, num_clusters, seconds, peak):
    request = {"task": "step", "method": method, "preset": "tiny"}
    values = {
        "step_seconds": seconds,
        "peak_rss_bytes": peak,
        "num_weights": 1000,
        "setup_seconds": 3.0,
    }
    return {
        "request": request | {"num_clusters": num_clusters},
        "values": values,
        "environment": ENVIRONMENT,
    }


def kmeans_record(tool, num_threads, seconds, error):
    request = {"task": "kmeans", "tool": tool, "preset": "tiny", "num_clusters": 16}
    values = {
        "seconds": seconds,
        "mean_squared_error": error,
        "num_weights": 1000,
        "peak_rss_bytes": 200e6,
    }
    return {
        "request": request | {"num_threads": num_threads},
        "num_threads": 2,
        "values": values,
        "environment": ENVIRONMENT,
    }


def test_tables_compare_with_plain_and_stock():
    steps = [
        step_record("plain", 0, 0.1, 1000e6),
        step_record("stock", 16, 0.5, 3000e6),
        step_record("ours", 16, 0.14, 1500e6),
    ]
    kmeans = [
        kmeans_record("ours", 2, 1.0, 1e-5),
        kmeans_record("scikit-learn", 1, 20.0, 2e-5),
    ]
    lines = describe("make it", steps, kmeans).splitlines()
    assert lines[2] == "    make it"
    begin = "| tiny | 1,000 |"
    assert f"{begin} plain | - | 0.100 | 1.00 | - | - | 1,000 | 1.00 | 3.0 |" in lines
    ours = f"{begin} ours | 16 | 0.140 | 1.40 | 0.040 | 0.10 | 1,500 | 1.50 | 3.0 |"
    assert ours in lines
    assert "| tiny | 1,000 | 16 | ours | 2 | 1.0 | 1.0000e-05 | 0.5000 | 200 |" in lines


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--presets=huge", "--presets must be of tiny, mini, .*, got 'huge'"),
        ("--num_clusters=1", "--num_clusters must be whole numbers from 2 to 256"),
        ("--num_clusters=many", "whole numbers with commas .*, got 'many'"),
        ("--steps=1", "--steps must be at least 2, got 1"),
        ("--memory_limit_gb=0", "--memory_limit_gb must be above 0, got 0.0"),
        ("--resume --fresh", "--resume and --fresh exclude each other"),
        ("--kmeans_presets=", "--kmeans_presets is empty. Name at least one of tiny"),
    ],
)
def test_benchmark_bad_flag_is_one_line(refuse, flag, message):
    assert re.search(message, refuse(NAME, *flag.split()))
