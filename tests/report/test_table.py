"""Tests of the table in the terminal and as Markdown."""

import dataclasses
import io

import pytest
import rich.console

from tfcompress.formats.target import Target
from tfcompress.record import new_record
from tfcompress.report import markdown_table, print_table
from tfcompress.report.table import file_name


def figure(value, low, high, unit="share", higher=True):
    found = {"value": value, "low": low, "high": high, "unit": unit}
    return found | {"higher_is_better": higher}


def record(row, **changes):
    sections = {
        "row": row,
        "format": "openvino",
        "precision": "float32",
        "coding": "coded",
        "runtime": "openvino",
        "device": "cpu",
        "status": "ok",
        "size": {"file_bytes": 98_765, "compression_ratio": 6.5},
        "quality": {
            "primary": "accuracy",
            "metrics": {
                "accuracy": figure(0.8712, 0.86, 0.88),
                "macro_f1": figure(0.8654, None, None),
            },
            "inherited_from": "a",
            "keras_agreement": 0.9999,
        },
        "latency": {
            "batch_1": {
                "p50_ms": 12.3456,
                "p90_ms": 13.0,
                "rounds": [],
                "ratio_to_baseline": None,
                "ratio_to_dense": 1.04,
            }
        },
    }
    return new_record(**(sections | changes))


def terminal_lines(records):
    console = rich.console.Console(record=True, width=80, file=io.StringIO())
    print_table(records, console)
    return console.export_text().splitlines()


def test_print_table_fits_80_columns_with_the_longest_names():
    lines = terminal_lines([record("clustered_finetuned_every_step")] * 2)
    assert max(map(len, lines)) <= 80
    assert any("98.8" in line and "6.50x" in line for line in lines)


def test_print_table_marks_inherited_accuracy_and_names_a_row_once():
    text = "\n".join(terminal_lines([record("a_row"), record("a_row"), record("b")]))
    assert "0.8712*" in text
    assert text.count("a_row") == 1


def test_print_table_failed_target_shows_its_status():
    failed = record("a", status="failed", error="no memory", quality={})
    assert any("failed" in line for line in terminal_lines([failed]))


def test_markdown_table_has_a_cell_for_every_column_and_a_legend():
    text = markdown_table([record("a")])
    brief, rest = text.split("<details>")
    tables = [brief.split("\n"), rest.split("\n\n")[1].split("\n")]
    for header, rule, line, *_ in tables:
        assert header.count("|") == rule.count("|") == line.count("|")
        assert "12.346" in line
    assert "0.8600 to 0.8800" in rest
    assert "0.8600 to 0.8800" not in brief
    assert "- **smaller**:" in text


def test_markdown_table_of_a_classifier_has_its_metrics():
    text = markdown_table([record("a")])
    assert "| accuracy | 95% interval | macro F1 | agree |" in text
    assert "| 0.8712* | 0.8600 to 0.8800 | 0.8654 | 0.9999 |" in text


def test_markdown_table_of_numbers_has_theirs():
    metrics = {
        "price.rmse": figure(1234.567, 1200, 1270.5, "EUR", False),
        "price.r2": figure(0.9, 0.8, 1, ""),
    }
    quality = {"primary": "price.rmse", "metrics": metrics}
    text = markdown_table([record("a", quality=quality), record("b", quality={})])
    assert "| price RMSE | 95% interval | price R2 | agree |" in text
    assert "| 1235 | 1200 to 1270 | 0.9 | - |" in text
    assert "on the test split, through the file, lower is better; *" in text
    assert "accuracy" not in text


def test_markdown_table_says_how_far_outputs_are_from_keras():
    near = record("near", quality={"output_error": 1.234e-6})
    text = markdown_table([near, record("same", quality={"output_error": 0.0})])
    assert "- **output error**: largest difference of an output from Keras's" in text
    assert "| 1.2e-06 |" in text
    assert "| 0 |" in text


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        ("float32", "onnx"),
        ("float16", "onnx f16"),
        ("bfloat16", "onnx bf16"),
        ("dynamic_range_wi8", "onnx dyn int8"),
        ("dynamic_range_wi4", "onnx dyn int4"),
        ("dynamic_range_wi4b32", "onnx dyn int4/32"),
        ("dynamic_range_wi8_ei8", "onnx int8 table, dyn"),
        ("dynamic_range_wi8_efp32", "onnx dyn int8, f32 table"),
        ("dynamic_range_wi4_ei8", "onnx dyn int4, int8 table"),
        ("static_range_wi8_ai8", "onnx static int8"),
        ("static_range_wi8_ai8_full", "onnx static int8, all"),
        ("weight_only_wi8", "onnx int8"),
        ("weight_only_wi4", "onnx int4/64"),
        ("weight_only_nf4", "onnx nf4/64"),
        ("weight_only_cb4", "onnx cb4"),
    ],
)
def test_file_name_shortens_every_precision(precision, name):
    record = dataclasses.asdict(Target(format="onnx")) | {"precision": precision}
    assert file_name(record) == name
    assert file_name(record | {"coding": "coded"}) == f"{name} coded"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ({"format": "onnx", "runtime": "openvino"}, "onnx coded on openvino"),
        ({"format": "onnx", "device": "gpu"}, "onnx coded on onnxruntime gpu"),
        ({"format": "keras", "runtime": "jax"}, "keras coded on jax"),
        ({"format": "openvino", "runtime": "openvino"}, "openvino coded"),
    ],
)
def test_file_name_says_what_runs_it_where_that_is_another(place, name):
    assert file_name(dataclasses.asdict(Target(coding="coded", **place))) == name


def test_print_table_fits_80_columns_with_another_runtime():
    other = {"format": "tflite", "runtime": "openvino", "device": "gpu"}
    lines = terminal_lines([record("clustered", **other)])
    assert max(map(len, lines)) <= 80
    assert any("tflite coded on openvino gpu" in line for line in lines)
