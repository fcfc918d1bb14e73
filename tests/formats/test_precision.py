"""Precisions: texts that know their parts."""

import json
import re

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.formats import FORMATS, Precision

EVERY = sorted({each for format in FORMATS.values() for each in format.precisions})


@pytest.mark.parametrize("text", EVERY)
def test_precision_is_its_text_on_disk_and_back(text):
    precision = Precision(str(text))
    assert precision == str(text) == f"{precision}"
    assert json.loads(json.dumps({"precision": precision}))["precision"] == text
    assert vars(Precision(precision)) == vars(precision)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("float32", ("float", "float", 32, None, None, None, False)),
        ("float16", ("float", "float", 16, None, None, None, False)),
        ("bfloat16", ("float", "bfloat", 16, None, None, None, False)),
        ("weight_only_wi4", ("weight_only", "int", 4, None, None, None, False)),
        ("weight_only_nf4", ("weight_only", "nf", 4, None, None, None, False)),
        ("weight_only_cb4", ("weight_only", "cb", 4, None, None, None, False)),
        ("dynamic_range_wi4b32", ("dynamic_range", "int", 4, 32, None, None, False)),
        (
            "dynamic_range_wi8_efp32",
            ("dynamic_range", "int", 8, None, None, "float32", False),
        ),
        (
            "dynamic_range_wi4_ei8",
            ("dynamic_range", "int", 4, None, None, "int8", False),
        ),
        (
            "static_range_wi8_ai8_full",
            ("static_range", "int", 8, None, 8, None, True),
        ),
    ],
)
def test_precision_knows_its_parts(text, parts):
    found = Precision(text)
    assert (
        found.scheme,
        found.weight_type,
        found.weight_bits,
        found.block_size,
        found.activation_bits,
        found.embeddings,
        found.is_full,
    ) == parts
    assert found.is_float == (found.scheme == "float")
    assert found.needs_calibration == (found.scheme == "static_range")


@pytest.mark.parametrize(
    "text",
    ["", "int8", "float64", "float32 ", "static_range", "weight_only_wi3", "wi8"],
)
def test_precision_of_another_text_says_what_there_is(text):
    message = re.escape(f"Unknown precision {text!r}: it is float32, float16 or bfloat")
    with pytest.raises(
        InvalidValueError, match=f"^{message}.*weight_only_wi4"
    ) as error:
        Precision(text)
    assert "\n" not in str(error.value)


def test_precision_of_a_format_names_those_that_there_are():
    message = (
        "^Format 'onnx' has the precisions float32, float16, dynamic_range_wi8, "
        "weight_only_wi8, static_range_wi8_ai8, got precision='bfloat16'.$"
    )
    with pytest.raises(InvalidValueError, match=message):
        FORMATS["onnx"].precision("bfloat16")
    assert FORMATS["onnx"].precision("float16").weight_bits == 16
