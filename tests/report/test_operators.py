"""Tests of the table of what is computed in integers."""

from tfcompress.record import new_record
from tfcompress.report import operators_table


def _record(row, operators):
    return new_record(
        row=row,
        format="tflite",
        precision="static_range_wi8_ai8",
        coding="dense",
        runtime="litert",
        device="cpu",
        operators=operators,
    )


def test_operators_table_counts_the_most_frequent_first():
    operators = {
        "integer": {"FULLY_CONNECTED": 37, "GATHER": 3},
        "floating": {"SOFTMAX": 6, "ADD": 20, "MUL": 6},
        "conversions": {"QUANTIZE": 12},
    }
    *_, line = operators_table([_record("qat", operators)]).splitlines()
    assert line == (
        "| qat | tflite static int8 | 37 FULLY_CONNECTED, 3 GATHER | "
        "20 ADD, 6 MUL, 6 SOFTMAX |"
    )


def test_operators_table_without_quantized_files_is_empty():
    assert operators_table([_record("baseline", {})]) == ""


def test_operators_table_all_in_integers_has_a_dash():
    operators = {"integer": {"MEAN": 1}, "floating": {}, "conversions": {}}
    *_, line = operators_table([_record("all", operators)]).splitlines()
    assert line.endswith("| 1 MEAN | - |")
