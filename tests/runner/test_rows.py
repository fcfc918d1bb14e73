"""Tests of rows, targets and their keys."""

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.formats import RUNTIMES
from tfcompress.formats.target import Target
from tfcompress.runner.rows import (
    Row,
    check_rows,
    devices_without_keras,
    standard_targets,
    widen_rows,
)
from tfcompress.runtime.devices import has_device


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
    message = (
        "^No runtime 'openvino' of format 'openvino' runs on the device 'npu': its "
        "files run by openvino on cpu, gpu.$"
    )
    with pytest.raises(InvalidValueError, match=message):
        check_rows([row])


def test_check_rows_device_that_is_not_here_is_one_line():
    """ONNX Runtime is asked: where it has a GPU there is nothing to say."""
    row = Row(name="baseline", targets=(Target(format="onnx", device="gpu"),))
    if has_device(RUNTIMES["onnxruntime"], "gpu"):
        check_rows([row])
        return
    message = (
        "^There is no device 'gpu' here that onnxruntime can use: it finds [^\n]*"
        "CPUExecutionProvider. Leave gpu out of --devices, or [^\n]*$"
    )
    with pytest.raises(InvalidValueError, match=message):
        check_rows([row])


def test_target_shares_the_file_of_its_formats_own_runtime():
    target = Target(format="onnx", coding="coded", runtime="openvino", device="gpu")
    assert target.key("a") == "a.onnx.float32.coded.openvino.gpu"
    assert target.file.key("a") == "a.onnx.float32.coded.onnxruntime.cpu"
    assert target.dense.key("a") == "a.onnx.float32.dense.openvino.gpu"


def test_target_of_a_runtime_of_other_formats_raises():
    message = "^Format 'onnx' runs on 'onnxruntime' or 'openvino', not on 'jax'.$"
    with pytest.raises(InvalidValueError, match=message):
        Target(format="onnx", runtime="jax")


def widened(format, **options):
    """Keys of a widened row of the Keras model and one file, without what is common."""
    targets = (Target(format="keras"), Target(format=format))
    row = Row(name="a", targets=targets)
    fields = {"runtimes": (), "devices": ("cpu",), "finds": lambda *_: True} | options
    (found,) = widen_rows((row,), **fields)
    assert found.files == targets
    return [(t.format, t.runtime, t.device) for t in found.targets]


def test_widen_rows_as_it_is_by_default():
    own = [("keras", "tensorflow", "cpu"), ("onnx", "onnxruntime", "cpu")]
    assert widened("onnx") == own
    assert widened("onnx", runtimes=("onnxruntime", "tensorflow")) == own


def test_widen_rows_puts_other_runtimes_after_each_file():
    assert widened("onnx", runtimes=("openvino", "jax")) == [
        ("keras", "tensorflow", "cpu"),
        ("keras", "jax", "cpu"),
        ("onnx", "onnxruntime", "cpu"),
        ("onnx", "openvino", "cpu"),
    ]


def test_widen_rows_device_takes_the_runtimes_that_run_on_it():
    """LiteRT runs on the CPU alone, and OpenVINO opens its files on a GPU."""
    expected = [
        ("keras", "tensorflow", "cpu"),
        ("keras", "tensorflow", "gpu"),
        ("tflite", "litert", "cpu"),
        ("tflite", "openvino", "gpu"),
    ]
    assert widened("tflite", devices=("cpu", "gpu")) == expected
    assert widened("tflite", devices=("gpu",)) == expected


def test_widen_rows_leaves_keras_out_where_nothing_finds_the_device():
    devices, absent = ("cpu", "gpu"), []

    def finds(runtime, device):
        absent.append((runtime.name, device))
        return False

    found = widened("onnx", runtimes=("jax",), devices=devices, finds=finds)
    assert found == [
        ("keras", "tensorflow", "cpu"),
        ("keras", "jax", "cpu"),
        ("onnx", "onnxruntime", "cpu"),
        ("onnx", "onnxruntime", "gpu"),
    ]
    assert absent == [("tensorflow", "gpu"), ("jax", "gpu")]


def test_devices_without_keras_are_told():
    keras, onnx = Target(format="keras"), Target(format="onnx", device="gpu")
    (line,) = devices_without_keras([Row(name="a", targets=(keras, onnx))], ("gpu",))
    assert line == "The Keras model is not run on gpu: its runtimes find none here."
    assert not devices_without_keras([Row(name="a", targets=(keras,))], ("cpu",))
    assert not devices_without_keras([Row(name="a", targets=(onnx,))], ("gpu",))


def test_widen_rows_runtime_that_runs_no_file_raises():
    row = Row(name="a", targets=(Target(format="openvino"),))
    message = (
        "^--runtimes: 'jax' runs no file of this run, whose formats are openvino; they "
        "run on openvino.$"
    )
    with pytest.raises(InvalidValueError, match=message):
        widen_rows((row,), ("jax",), ())
