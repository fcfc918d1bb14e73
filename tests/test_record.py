"""Tests of the record's schema, which is that of the design, section 5."""

import json
import math
import pathlib
import re

import pytest

from tfcompress import record as record_module
from tfcompress.errors import InvalidValueError
from tfcompress.record import (
    SCHEMA,
    SCHEMA_VERSION,
    artifact_key,
    check_record,
    new_record,
    read_records,
    record_key,
    write_record,
)


def _fields(schema):
    """Yields the name of every field, at any depth."""
    if isinstance(schema, list):
        schema = schema[0] if schema else {}
    if isinstance(schema, dict):
        for name, kind in schema.items():
            yield name
            yield from _fields(kind)


def test_schema_has_no_field_that_nothing_fills_in_or_reads():
    package = pathlib.Path(record_module.__file__).parent
    sources = [p for p in package.rglob("*.py") if p.name != "record.py"]
    words = set()
    for path in sources:
        words.update(re.findall(r"\w+", path.read_text("utf-8")))
    fields = set(_fields(SCHEMA))
    assert {"ratio_to_dense", "stripped"} <= fields
    assert fields - {"*"} <= words  # that stands for any name


def test_new_record_has_every_field_and_null_where_nothing_was_measured():
    record = new_record(row="baseline", size={"file_bytes": 10})
    assert record.keys() == SCHEMA.keys()
    assert record["size"]["file_bytes"] == 10
    assert record["quality"]["metrics"] is None
    assert record["schema_version"] == SCHEMA_VERSION


def figure(**changes):
    """Sections with a figure of one metric."""
    found = {"value": 0.5, "low": 0.4, "high": 0.6, "unit": "share"}
    found |= {"higher_is_better": True} | changes
    return {"quality": {"primary": "wer", "metrics": {"wer": found}}}


def test_new_record_takes_a_metric_of_any_name():
    assert new_record(**figure())["quality"]["metrics"]["wer"]["low"] == 0.4


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"rows": "x"}, "record has an unknown field 'rows'"),
        ({"size": {"bytes": 3}}, "record.size has an unknown field 'bytes'"),
        ({"row": 3}, "record.row must be text, got 3"),
        ({"seed": 1.5}, "record.seed must be integer, got 1.5"),
        ({"seed": True}, "record.seed must be integer"),
        (figure(value=math.nan), r"metrics\.wer\.value must be number, got nan"),
        (figure(high=math.inf), r"metrics\.wer\.high must be number, got inf"),
        (figure(p=1), r"metrics\.wer has an unknown field 'p'"),
        ({"comparisons": [{"against": "a"}]}, r"comparisons\[\] lacks the field"),
        ({"layers": [{"name": "a"}]}, r"record.layers\[\] lacks the field"),
        ({"layers": 3}, "record.layers must be a list"),
        ({"flags": 3}, "record.flags must be a mapping"),
    ],
)
def test_new_record_outside_the_schema_raises(sections, message):
    with pytest.raises(InvalidValueError, match=message):
        new_record(**sections)


def test_check_record_lacking_a_field_raises():
    record = new_record()
    del record["memory"]
    with pytest.raises(InvalidValueError, match="lacks the field 'memory'"):
        check_record(record)


def test_records_written_are_read_back(tmp_path):
    record = new_record(row="a", flags={"seed": 0})
    write_record(tmp_path / "a.onnx.json", record)
    assert read_records(tmp_path) == {"a.onnx": record}


def test_read_records_damaged_file_raises_and_names_it(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InvalidValueError, match="a.json is not JSON.*Delete it"):
        read_records(tmp_path)


def test_write_record_refuses_what_json_has_no_word_for(tmp_path):
    record = new_record(flags={"x": math.nan})
    with pytest.raises(ValueError, match="JSON"):
        write_record(tmp_path / "a.json", record)
    assert list(tmp_path.iterdir()) == []
    assert json.dumps(record)  # Python's own default would have let it through


def test_read_records_of_another_schema_version_raises(tmp_path):
    old = new_record(row="baseline") | {"schema_version": 1}
    (tmp_path / "old.json").write_text(json.dumps(old))
    with pytest.raises(InvalidValueError, match="schema version 1.*--fresh"):
        read_records(tmp_path)


QUALITY_3 = {
    "accuracy": 0.5,
    "accuracy_low": 0.25,
    "accuracy_high": 0.75,
    "macro_f1": 0.4,
    "keras_agreement": 1.0,
    "dense_agreement": None,
    "baseline_agreement": 0.9,
    "flips_to_wrong": 3,
    "flips_to_right": 2,
    "output_error": 1e-6,
    "inherited_from": None,
}


def _of_version_3():
    """A record as version 3 wrote it, of a classifier as all were."""
    record = new_record(row="baseline", status="ok")
    del record["comparisons"], record["operators_elsewhere"]
    for name in ("training", "search"):
        for field in ("metric", "validation_score"):
            del record[name][field]
        record[name]["validation_accuracy"] = 0.25
    del record["training"]["objective"]
    return record | {"schema_version": 3, "quality": dict(QUALITY_3)}


def _of_version_2():
    """A record as version 2 wrote it."""
    record = _of_version_3()
    for name in ("verification", "timing_error", "timing_environment"):
        del record[name]
    del record["quality"]["output_error"]
    return record | {"schema_version": 2}


def test_read_records_of_version_4_does_not_know_where_operators_ran(tmp_path):
    record = new_record(row="baseline", comparisons=[], schema_version=4)
    del record["operators_elsewhere"]
    (tmp_path / "old.json").write_text(json.dumps(record))
    found = read_records(tmp_path)["old"]
    assert found["operators_elsewhere"] is None
    assert found["comparisons"] == []
    check_record(found)


def test_artifact_key_is_that_of_the_formats_own_runtime():
    fields = {"precision": "float32", "coding": "dense", "runtime": "openvino"}
    record = new_record(row="a", format="onnx", device="gpu", **fields)
    assert record_key(record) == "a.onnx.float32.dense.openvino.gpu"
    assert artifact_key(record) == "a.onnx.float32.dense.onnxruntime.cpu"


def test_read_records_of_version_3_has_metrics_in_place_of_fields(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps(_of_version_3()))
    record = read_records(tmp_path)["old"]
    quality = record["quality"]
    assert quality["primary"] == "accuracy"
    assert quality["metrics"] == {
        "accuracy": {
            "value": 0.5,
            "low": 0.25,
            "high": 0.75,
            "unit": "share",
            "higher_is_better": True,
        },
        "macro_f1": {
            "value": 0.4,
            "low": None,
            "high": None,
            "unit": "share",
            "higher_is_better": True,
        },
    }
    assert (quality["num_worse"], quality["num_better"]) == (3, 2)
    assert (quality["output_error"], quality["is_constant"]) == (1e-6, None)
    for name in ("training", "search"):
        found = record[name]
        assert (found["metric"], found["validation_score"]) == ("accuracy", 0.25)
    assert record["comparisons"] is None
    assert record["training"]["objective"] is None
    check_record(record)


def test_read_records_of_version_3_that_failed_has_no_figures(tmp_path):
    old = _of_version_3() | {"quality": dict.fromkeys(QUALITY_3), "status": "failed"}
    (tmp_path / "old.json").write_text(json.dumps(old))
    quality = read_records(tmp_path)["old"]["quality"]
    assert (quality["primary"], quality["metrics"]) == (None, None)


def test_read_records_of_version_3_lacking_a_figure_raises(tmp_path):
    old = _of_version_3()
    del old["quality"]["macro_f1"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    with pytest.raises(InvalidValueError, match="has an unknown field 'accuracy'"):
        read_records(tmp_path)


def test_read_records_of_version_2_gives_null_for_what_it_did_not_measure(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps(_of_version_2()))
    record = read_records(tmp_path)["old"]
    assert record["schema_version"] == SCHEMA_VERSION
    assert record["quality"]["metrics"]["accuracy"]["value"] == 0.5
    assert record["quality"]["output_error"] is None
    assert record["verification"]["status"] is None
    assert record["timing_environment"]["commit"] is None
    check_record(record)


def test_read_records_of_version_2_with_an_unknown_field_raises(tmp_path):
    odd = _of_version_2() | {"colour": "red"}
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    with pytest.raises(InvalidValueError, match="has an unknown field 'colour'"):
        read_records(tmp_path)


def test_read_records_of_version_2_lacking_a_field_of_it_raises(tmp_path):
    old = _of_version_2()
    del old["memory"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    with pytest.raises(InvalidValueError, match="lacks the field 'memory'"):
        read_records(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"row": 1, "row": 2}', "is not JSON .the key 'row' stands in it twice"),
        ('{"flags": ' + "[" * 100_000, "is nested 100001 levels deep or deeper"),
        ('{"schema_version": ' + "9" * 5_000 + "}", "is not JSON .Exceeds the limit"),
        (
            json.dumps(new_record() | {"row": 5}),
            "a.json cannot be used: record.row mus",
        ),
    ],
)
def test_read_records_hostile_file_raises(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InvalidValueError, match=message):
        read_records(tmp_path)
