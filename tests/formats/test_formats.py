"""The table of formats: whole, lazily bound, and the only one."""

import ast
import dataclasses
import importlib
import inspect
import pathlib

import pytest

from tfcompress.errors import InvalidValueError, MissingDependencyError
from tfcompress.formats import (
    FORMATS,
    LazyFunction,
    Runtime,
    format_named,
    format_of_suffix,
    shipped_formats,
)

ROOT = pathlib.Path(__file__).parents[2]
SUFFIXES = {each.suffix for each in FORMATS.values()}
# Arguments of the functions that a format names.
ARGUMENTS = {
    "write": (
        ["serving", "folder", "precision"],
        ["source", "target", "precision", "calibration", "layers"],
    ),
    "code": (
        ["source", "target", "leave", "structures"],
        ["source", "target", "slow_layers", "leave", "structures"],
    ),
    "read_constants": (["path"],),
    "read_operators": (["path"],),
    "read_integers": (["path"],),
}


def lazy_functions():
    for format in FORMATS.values():
        for part in (format, format.exporter, format.quantizer):
            for name, value in vars(part).items() if part else ():
                if isinstance(value, LazyFunction):
                    yield name, value


@pytest.mark.parametrize(
    ("name", "function"), lazy_functions(), ids=lambda value: str(value)
)
def test_every_function_that_a_format_names_is_there(name, function):
    arguments = list(inspect.signature(function.load()).parameters)
    assert arguments in ARGUMENTS[name]


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda each: each.name)
def test_every_runtime_of_a_format_has_a_module(format):
    for runtime in format.runtimes:
        module = importlib.import_module(f"tfcompress.runtime.{runtime.name}")
        assert callable(module.open_session)
        assert callable(module.import_runtime)
        assert callable(module.list_devices)
        assert callable(module.operators_elsewhere)


def test_slow_layers_are_an_argument_where_the_format_says_so():
    for format in map(format_named, shipped_formats()):
        arguments = inspect.signature(format.code.load()).parameters
        assert ("slow_layers" in arguments) == format.has_slow_layers


def test_precisions_of_int8_and_of_qat_are_written_by_something():
    for format in map(format_named, shipped_formats()):
        assert {format.quantizer.int8, *format.quantizer.of_qat.values()} <= {
            *format.precisions
        }


def test_no_other_table_is_keyed_by_formats_or_their_suffixes():
    """What a format is stands in `tfcompress/formats` alone."""
    found = []
    for path in sorted((ROOT / "tfcompress").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                if len(keys & {*FORMATS, *SUFFIXES}) > 1:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_suffixes_tell_formats_apart():
    assert len(SUFFIXES) == len(FORMATS)
    for format in FORMATS.values():
        assert format_of_suffix(format.suffix) is format
    assert format_of_suffix(".bin") is None


def test_format_named_lists_the_formats():
    message = (
        "^Unknown format 'tf'; choose one of 'tflite', 'onnx', 'openvino', 'keras'.$"
    )
    with pytest.raises(InvalidValueError, match=message):
        format_named("tf")


@pytest.mark.parametrize(
    ("names", "main"),
    [
        (["model.xml", "model.bin"], "model.xml"),
        (["model.bin"], None),
        (["a.xml", "b.xml"], None),
    ],
)
def test_main_file_is_the_one_of_the_first_suffix(names, main):
    assert FORMATS["openvino"].main_file(names) == main


def test_files_of_a_model_have_one_name():
    paths = FORMATS["openvino"].files_of("folder/a.b.xml")
    assert [path.name for path in paths] == ["a.b.xml", "a.b.bin"]


def test_runtime_on_a_device_that_none_runs_on_says_what_there_is():
    message = (
        "^No runtime of format 'onnx' runs on the device 'tpu': its files run by "
        "onnxruntime on cpu, gpu or openvino on cpu, gpu.$"
    )
    with pytest.raises(InvalidValueError, match=message):
        FORMATS["onnx"].runtime_on("tpu")


def test_runtime_on_without_its_package_says_how_to_install_it():
    missing = Runtime(name="litert", package="no_such_package", extra="tflite")
    format = dataclasses.replace(FORMATS["tflite"], runtimes=(missing,))
    message = (
        "^Files of format 'tflite' run by the package 'no_such_package', which is not "
        r"installed. Install it with: pip install 'tfcompress\[tflite\]', or leave it"
    )
    with pytest.raises(MissingDependencyError, match=message):
        format.runtime_on("cpu")


def test_runtime_on_takes_the_first_that_is_installed():
    missing = Runtime(name="other", package="no_such_package", extra="onnx")
    here = FORMATS["onnx"].runtime
    format = dataclasses.replace(FORMATS["onnx"], runtimes=(missing, here))
    assert format.runtime_on("cpu") is here
