"""A result is written and read back; what is damaged is refused in one line."""

import json

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.record import SCHEMA_VERSION
from tfcompress.report import read_result, write_result


def test_result_is_read_back_as_it_was_written(tmp_path, run_result):
    write_result(tmp_path / "result.json", run_result)
    assert read_result(tmp_path / "result.json") == run_result


def test_result_with_records_of_an_older_version_is_read_as_of_this_one(
    tmp_path, run_result
):
    value = run_result.to_json()
    del value["records"][0]["comparisons"]
    value["records"][0]["schema_version"] = 3
    (tmp_path / "result.json").write_text(json.dumps(value))
    assert (
        read_result(tmp_path / "result.json").records[0]["schema_version"]
        == SCHEMA_VERSION
    )


def without(name):
    return lambda value: {key: each for key, each in value.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v | {"schema_version": 9}, "is of schema version 9, and this code"),
        (lambda v: [], "is of schema version None"),
        (without("rows"), "cannot be used: result lacks the field 'rows'"),
        (lambda v: v | {"odd": 1}, "cannot be used: result has an unknown field 'odd'"),
        (lambda v: v | {"records": None}, r"cannot be used: result.records is null"),
        (lambda v: v | {"noise": {"a": 1}}, "result.noise.a must be a mapping, got 1"),
        (
            lambda v: v | {"chosen": "b"},
            "names the file 'b', of which it has no",
        ),
        (
            lambda v: v | {"records": [{}]},
            "a record of result does not say which",
        ),
    ],
)
def test_read_result_refuses_what_is_no_result(tmp_path, run_result, change, message):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(change(run_result.to_json())))
    with pytest.raises(InvalidValueError, match=message) as caught:
        read_result(path)
    assert "\n" not in str(caught.value)


def test_read_result_refuses_what_is_missing_and_what_is_not_json(tmp_path):
    path = tmp_path / "result.json"
    with pytest.raises(InvalidValueError, match="no result .*has not ended.*Start"):
        read_result(path)
    path.write_text("{")
    with pytest.raises(InvalidValueError, match="json is not JSON.*Start the run"):
        read_result(path)
