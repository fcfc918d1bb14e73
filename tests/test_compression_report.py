"""Tests of the per-layer report."""

import json

import numpy as np

from tfcompress.compression_report import (
    CompressionReport,
    LayerRow,
    measure_weight,
    merge_reports,
)


def test_measure_weight_counts_negative_zero_as_a_value_of_its_own():
    assert measure_weight(np.float32([0.0, -0.0, 1.0])) == {
        "num_weights": 3,
        "num_nonzero": 1,
        "distinct_values": 3,
    }


def test_report_to_json_is_plain_data():
    row = LayerRow(
        name="head", kind="Dense", status="skipped", reason="no", requested={"n": 16}
    )
    rows = CompressionReport(rows=(row,)).to_json()
    assert json.loads(json.dumps(rows)) == rows
    assert rows[0]["requested"] == {"n": 16}
    assert rows[0]["stripped"] == {}


def report(structures, *rows):
    rows = tuple(
        LayerRow(name=n, kind="Dense", status=s, reason=r, requested=q)
        for n, s, r, q in rows
    )
    return CompressionReport(rows=rows, structures=structures, training_log=1)


def test_merge_reports_makes_one_row_a_layer_of_all_steps():
    pruned = report(
        {},
        ("a", "compressed", None, {"sparsity": 0.5}),
        ("b", "skipped", "too small", {"sparsity": 0.5}),
        ("c", "left_alone", "it has no weights", {}),
    )
    clustered = report(
        {("a", "kernel"): {"codebook": 1}},
        ("a", "compressed", "fewer", {"num_clusters": 4}),
        ("b", "compressed", None, {"num_clusters": 4}),
        ("c", "left_alone", "it has no weights", {}),
    )
    measured = {("a", "kernel"): {"num_nonzero": 3}, ("b", "bias"): {"num_nonzero": 1}}
    merged = merge_reports({"prune": pruned, "cluster": clustered}, measured)
    first, second, third = merged.rows
    assert first.requested == {"sparsity": 0.5, "num_clusters": 4}
    assert (first.status, first.reason) == ("compressed", "cluster: fewer")
    assert first.stripped == {"kernel": {"num_nonzero": 3}}
    assert (second.status, second.reason) == ("compressed", "prune: too small")
    assert second.stripped == {"bias": {"num_nonzero": 1}}
    assert (third.status, third.reason) == ("left_alone", "it has no weights")
    assert merged.structures == {("a", "kernel"): {"codebook": 1}}
    assert merged.training_log is None
