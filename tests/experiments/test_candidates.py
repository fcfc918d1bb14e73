"""Tests of the recipes that compress --max_drop tries."""

import pytest

from experiments._candidates import candidate_rows
from tfcompress.formats.target import Target
from tfcompress.recipe import parse_recipe


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_candidates_end_with_the_model_as_it_is(format):
    rows = candidate_rows(format, trains=False, seed=3)
    assert len({row.name for row in rows}) == len(rows)
    assert rows[0].targets[-1] == Target(format=format, coding="coded")
    assert rows[-1].targets[-1] == Target(format=format)
    assert {row.parent for row in rows} == {"original"}
    for row in rows:
        assert row.recipe == "" or parse_recipe(row.recipe)
