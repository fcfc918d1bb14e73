"""Tests of the record's schema, which is that of the design, section 5."""

import json
import math

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.record import (
    SCHEMA,
    SCHEMA_VERSION,
    check_record,
    new_record,
    read_records,
    write_record,
)

FIELDS = (
    "schema_version experiment row parent control recipe format precision coding "
    "runtime tool device seed status error dataset quality size verification search "
    "latency memory timing_error timing_environment operators training model layers "
    "environment flags"
)
SECTIONS = {
    "dataset": "name source split num_examples fingerprint is_synthetic",
    "quality": "accuracy accuracy_low accuracy_high macro_f1 keras_agreement "
    "dense_agreement baseline_agreement flips_to_wrong flips_to_right output_error "
    "inherited_from",
    "size": "file_bytes artifact_bytes gzip_bytes baseline_int8_gzip_bytes num_weights "
    "num_nonzero max_distinct_values bits_per_weight compression_ratio",
    "verification": "status error bound num_examples against reason seconds",
    "search": "max_drop num_examples validation_accuracy difference low high holds",
    "operators": "integer floating conversions",
    "latency": "batch_1 batch_32 load_ms first_run_ms num_threads sequence_length",
    "memory": "peak_rss_bytes runtime_rss_bytes gpu_bytes",
    "training": "epochs seconds seconds_per_epoch validation_accuracy",
    "model": "name preset num_weights",
    "timing_environment": "versions cpu cpu_flags num_cores gpu commit started_at",
    "environment": "versions cpu cpu_flags num_cores gpu commit started_at",
}


def test_schema_fields_are_those_of_the_design():
    assert list(SCHEMA) == FIELDS.split()
    for section, names in SECTIONS.items():
        assert list(SCHEMA[section]) == names.split()
    layer = "name kind status reason requested stripped exported"
    assert list(SCHEMA["layers"][0]) == layer.split()
    batch = "p50_ms p90_ms rounds ratio_to_baseline ratio_to_dense"
    assert list(SCHEMA["latency"]["batch_1"]) == batch.split()


def test_new_record_has_every_field_and_null_where_nothing_was_measured():
    record = new_record(row="baseline", size={"file_bytes": 10})
    assert list(record) == FIELDS.split()
    assert record["size"]["file_bytes"] == 10
    assert record["quality"]["accuracy"] is None
    assert record["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"rows": "x"}, "record has an unknown field 'rows'"),
        ({"size": {"bytes": 3}}, "record.size has an unknown field 'bytes'"),
        ({"row": 3}, "record.row must be text, got 3"),
        ({"seed": 1.5}, "record.seed must be integer, got 1.5"),
        ({"seed": True}, "record.seed must be integer"),
        ({"quality": {"accuracy": math.nan}}, "accuracy must be number, got nan"),
        ({"quality": {"accuracy": math.inf}}, "accuracy must be number, got inf"),
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


def _of_version_2():
    """A record as version 2 wrote it."""
    record = new_record(row="baseline", status="ok", quality={"accuracy": 0.5})
    for name in ("verification", "timing_error", "timing_environment"):
        del record[name]
    del record["quality"]["output_error"]
    return record | {"schema_version": 2}


def test_read_records_of_version_2_gives_null_for_what_it_did_not_measure(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps(_of_version_2()))
    record = read_records(tmp_path)["old"]
    assert record["schema_version"] == SCHEMA_VERSION
    assert record["quality"]["accuracy"] == 0.5
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
