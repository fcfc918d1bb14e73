"""Tests of rows, targets and their keys."""

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.runner.rows import Row, Target, check_rows, standard_targets


def test_target_key_names_all_that_tells_it_apart():
    target = Target(format="tflite", precision="float16")
    assert target.key("baseline") == "baseline.tflite.float16.dense.litert.cpu"


def test_standard_targets_keras_first_and_dense_before_coded():
    found = [(v.format, v.coding) for v in standard_targets(["onnx"], ["coded"])]
    assert found == [("keras", "dense"), ("onnx", "dense"), ("onnx", "coded")]


def test_check_rows_unknown_parent_raises():
    with pytest.raises(InvalidValueError, match="starts from 'b', which is no earlier"):
        check_rows([Row(name="a", parent="b")])


@pytest.mark.parametrize("names", [("a", "a"), ("a.b",)])
def test_check_rows_bad_name_raises(names):
    with pytest.raises(InvalidValueError, match="used twice or has a dot"):
        check_rows([Row(name=name) for name in names])


def test_check_rows_other_training_than_the_controls_raises():
    control = Row(name="control")
    row = Row(name="pruned", control="control", finetuning={"learning_rate": 1e-4})
    with pytest.raises(InvalidValueError, match="'pruned' must be trained as its con"):
        check_rows([control, row])


def test_target_of_an_unknown_precision_names_those_of_its_format():
    message = "Format 'openvino' has the precisions float32, .*, got precision='int8'"
    with pytest.raises(InvalidValueError, match=message):
        Target(format="openvino", precision="int8")


def test_target_knows_the_parts_of_its_precision():
    target = Target(format="openvino", precision="weight_only_nf4")
    assert (target.precision, target.precision.weight_bits) == ("weight_only_nf4", 4)


def test_check_rows_file_that_no_runtime_can_run_raises():
    targets = (Target(format="keras"), Target(format="openvino", device="npu"))
    row = Row(name="baseline", targets=targets)
    message = "No runtime of format 'openvino' runs on the device 'npu': its files run"
    with pytest.raises(InvalidValueError, match=message):
        check_rows([row])
