"""Tests of what the shared flags say."""

import dataclasses

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.runner.flags import Options, deciding_flags

OPTIONS = Options(
    dataset=None,
    data_dir="somewhere",
    text_column=None,
    label_column=None,
    limit=None,
    formats=("onnx",),
    codings=("dense",),
    seed=0,
    num_threads=2,
    rounds=5,
    full_coded_quality=False,
    verify=True,
    run_dir="there",
    resume=False,
    fresh=True,
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"formats": ("tensorrt",)}, "--formats must be of tflite.*got 'tensorrt'"),
        ({"formats": ()}, "--formats is empty"),
        ({"codings": ("zip",)}, "--codings must be of dense, coded, got 'zip'"),
        ({"num_threads": 0}, "--num_threads must be at least 1, got 0"),
        ({"rounds": -1}, "--rounds must be at least 0"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"limit": 1}, "--limit must be at least 2"),
        ({"resume": True}, "--resume and --fresh exclude each other"),
    ],
)
def test_options_that_cannot_be_raise(change, message):
    with pytest.raises(InvalidValueError, match=message):
        dataclasses.replace(OPTIONS, **change)


def test_deciding_flags_leave_out_where_the_run_lies():
    flags = deciding_flags(OPTIONS, {"num_clusters": 16})
    assert flags["num_clusters"] == 16
    assert flags["formats"] == ["onnx"]
    assert not {"run_dir", "resume", "fresh", "data_dir"} & set(flags)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_deciding_flags_not_finite_raises(value):
    with pytest.raises(InvalidValueError, match="--sparsity must be a finite number"):
        deciding_flags(OPTIONS, {"sparsity": value})
