"""Tests that a written file is run beside its source, and of what is said of it."""

import os
import pathlib
import shutil

import numpy as np
import pytest

from tfcompress.errors import ArtifactError, VerificationError
from tfcompress.formats import FORMATS, shipped_formats
from tfcompress.runtime import TensorSpec
from tfcompress.verification import (
    ModelFiles,
    Reference,
    bound_of,
    check,
    verify_beside_file,
    verify_beside_keras,
)

ADVICE = "Do something else."


def model_files(paths, format="onnx", precision="float32"):
    folder = pathlib.Path(paths[0]).parent
    names = tuple(pathlib.Path(path).name for path in paths)
    return ModelFiles(
        format=format, folder=str(folder), files=names, precision=precision
    )


def tiny_reference(bias=-1.0, **fields):
    """The tiny model of all tests, in numpy."""

    def compute(inputs):
        tokens = inputs["tokens"]
        if tokens.max() > 7:
            raise ArtifactError("a row that is not there")
        return {"logits": np.float32(tokens.mean(1, keepdims=True) / 2 + bias)}

    defaults = {
        "inputs": (TensorSpec("tokens", (None, 4), "int32"),),
        "compute": compute,
        "table_sizes": {"tokens": [8]},
    }
    return Reference(**defaults | fields)


def edit_onnx(source, target, edit):
    import onnx

    model = onnx.load(source)
    edit(model.graph)
    onnx.save(model, target)
    return [target]


@pytest.fixture
def use_worker(monkeypatch, tmp_path):
    """Function: the text of a module that takes the place of the worker."""

    def use(text):
        (tmp_path / "other_worker.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        monkeypatch.setattr(check, "_MODULE", "other_worker")

    return use


@pytest.mark.parametrize("format", shipped_formats())
def test_verify_beside_keras_right_file_passes(tiny_model_files, format):
    target = model_files(tiny_model_files(format), format)
    result = verify_beside_keras(tiny_reference(), target, advice=ADVICE)
    assert (result.status, result.against, result.reason) == ("passed", "keras", None)
    assert result.error < 1e-6
    assert (result.bound, result.num_examples) == (1e-3, 4)


def test_verify_beside_keras_other_results_raise(tiny_model_files):
    target = model_files(tiny_model_files("onnx"))
    message = (
        r"'model.onnx' \(onnx, float32\) is not right and was not kept: its output "
        r"'logits' is off by 0\.\d+ of the source's, and 0.001 is allowed. Do something"
    )
    with pytest.raises(VerificationError, match=message):
        verify_beside_keras(tiny_reference(bias=-1.1), target, advice=ADVICE)


def test_verify_beside_keras_an_input_that_the_model_has_not_raises(
    tmp_path, tiny_model_files
):
    import onnx

    def add_input(graph):
        extra = onnx.helper.make_tensor_value_info("Sub/y:0", 1, [1])
        graph.input.append(extra)

    (source,) = tiny_model_files("onnx")
    target = model_files(edit_onnx(source, tmp_path / "model.onnx", add_input))
    with pytest.raises(VerificationError, match="Sub/y:0"):
        verify_beside_keras(tiny_reference(), target, advice=ADVICE)


@pytest.mark.parametrize("format", shipped_formats())
def test_verify_beside_keras_file_that_does_not_load_raises(
    tmp_path, tiny_model_files, format
):
    paths = [shutil.copy(path, tmp_path) for path in tiny_model_files(format)]
    pathlib.Path(paths[0]).write_bytes(b"no model at all")
    message = "not right and was not kept: (litert|onnxruntime|openvino) cannot load"
    with pytest.raises(VerificationError, match=message):
        verify_beside_keras(tiny_reference(), model_files(paths, format), advice=ADVICE)


def test_verify_beside_keras_model_without_inputs_that_it_takes_loads_the_file(
    tiny_model_files,
):
    def compute(inputs):
        raise ArtifactError("never")

    reference = tiny_reference(compute=compute)
    target = model_files(tiny_model_files("onnx"))
    result = verify_beside_keras(reference, target, advice=ADVICE)
    assert (result.status, result.error, result.num_examples) == ("passed", None, None)
    assert result.reason == "the Keras model takes none of the random inputs: never"


def test_verify_beside_keras_rounding_model_has_a_wider_bound(tiny_model_files):
    target = model_files(tiny_model_files("onnx"))
    reference = tiny_reference(bias=-1.001, least_bound=0.05)
    result = verify_beside_keras(reference, target, advice=ADVICE)
    assert 1e-4 < result.error < result.bound == 0.05


@pytest.mark.parametrize("format", shipped_formats())
def test_verify_beside_file_same_file_passes(tiny_model_files, format):
    files = model_files(tiny_model_files(format), format)
    result = verify_beside_file(files, files, advice=ADVICE)
    assert (result.status, result.against, result.error) == ("passed", "file", 0.0)


def test_verify_beside_file_other_results_raise(tmp_path, tiny_model_files):
    import onnx

    def change_bias(graph):
        (bias,) = (tensor for tensor in graph.initializer if tensor.name == "bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([1]), "bias"))

    (source,) = tiny_model_files("onnx")
    target = edit_onnx(source, tmp_path / "model.onnx", change_bias)
    with pytest.raises(VerificationError, match="its output 'logits' is off by"):
        verify_beside_file(model_files([source]), model_files(target), advice=ADVICE)


def test_verify_beside_file_runs_on_the_inputs_that_it_is_given(tiny_model_files):
    files = model_files(tiny_model_files("onnx"), precision="static_range_wi8_ai8")
    inputs = {"tokens": np.full((7, 4), 3, np.int32)}
    result = verify_beside_file(files, files, advice=ADVICE, inputs=inputs)
    assert (result.num_examples, result.bound) == (7, 0.5)


def test_verify_beside_file_source_that_does_not_run_skips(tmp_path, tiny_model_files):
    source = tmp_path / "model.onnx"
    source.write_bytes(b"an operator of their own")
    target = model_files(tiny_model_files("onnx"))
    result = verify_beside_file(model_files([source]), target, advice=ADVICE)
    assert result.status == "skipped"
    assert result.reason.startswith("the source does not run: onnxruntime cannot load")


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("target", "is not right and was not kept: the process that ran it was ended "),
        ("source", "The source of 'model.onnx' cannot be used: the process that ran "),
    ],
)
def test_verify_beside_file_runtime_that_crashes_raises(
    use_worker, tiny_model_files, stage, message
):
    use_worker(
        "import os, pathlib, sys\n"
        f"pathlib.Path(sys.argv[1], 'stage.txt').write_text({stage!r})\n"
        "os.abort()"
    )
    files = model_files(tiny_model_files("onnx"))
    with pytest.raises(VerificationError, match=message + ".*SIGABRT"):
        verify_beside_file(files, files, advice=ADVICE)


def test_verify_beside_file_runtime_that_hangs_raises(
    monkeypatch, use_worker, tiny_model_files
):
    use_worker("import time\ntime.sleep(3600)")
    monkeypatch.setattr(check, "_SECONDS", 0.1)
    files = model_files(tiny_model_files("onnx"))
    with pytest.raises(VerificationError, match="took longer than .* and was stopped"):
        verify_beside_file(files, files, advice=ADVICE)


@pytest.mark.parametrize(
    ("precision", "bound"),
    [
        ("float32", 1e-3),
        ("weight_only_wi8", 0.1),
        ("weight_only_nf4", 0.7),
        ("dynamic_range_wi8_efp32", 0.2),
        ("dynamic_range_wi4b32", 0.7),
        ("static_range_wi8_ai8_full", 0.5),
    ],
)
def test_bound_of_is_the_schemes_and_the_weights(precision, bound):
    assert bound_of(precision) == bound


def test_every_precision_has_a_bound():
    for format in FORMATS.values():
        for precision in format.precisions:
            assert 0 < bound_of(precision) < 1
