"""Tests of the per-layer report."""

import json

import numpy as np

from tfcompress.compression_report import CompressionReport, LayerRow, measure_weight


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
