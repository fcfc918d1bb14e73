"""Holds the README and the documents to the code: its examples run, commands exist."""

import ast
import contextlib
import dataclasses
import importlib
import io
import pathlib
import re

import numpy as np
import pytest

from experiments.__main__ import list_experiments

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]


def _python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.S)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_examples_of_a_model_run_as_they_stand(in_folder):
    import keras

    import tfcompress

    compressing, training, quantizing, _, experiment = _python_blocks(README)
    images = np.random.default_rng(0).normal(size=(64, 6, 6, 1)).astype(np.float32)
    labels = (images.mean((1, 2, 3)) > 0).astype(np.int32)
    inputs = keras.Input((6, 6, 1), name="image")
    hidden = keras.layers.Dense(32, "relu")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(hidden))
    model.save("my.keras")
    np.savez("my.npz", image=images, labels=labels)
    names = {
        "tfcompress": tfcompress,
        "model": model,
        "my_splits": [(images, labels)] * 3,
    }
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(training, names)
        exec(compressing, names)
        exec(quantizing, names)
        small = '"cluster(16)", formats=("onnx",), epochs=0, rounds=0, verify=False'
        exec(experiment.replace('"cluster(16)"', small), names)
    assert {"logits", "compressed"} <= set(printed.getvalue().split())
    assert "100% of the weights' bytes" in printed.getvalue()
    assert {"model.keras", "structures.npz", "small.onnx", "model.onnx"} <= {
        path.name for path in in_folder.rglob("*")
    }


def test_readme_example_of_a_preset_runs_on_a_small_one(in_folder):
    import tfcompress

    example = _python_blocks(README)[3]
    downloaded = '"path/to/all-MiniLM-L6-v2"'
    assert downloaded in example
    small = '"random:tiny", texts=["a lovely film", "a dull film"]'
    exec(example.replace(downloaded, small), {"tfcompress": tfcompress})
    assert (in_folder / "out" / "model.onnx").is_file()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_names_what_the_package_has(path):
    import tfcompress

    text = path.read_text("utf-8")
    names = set(re.findall(r"tfcompress\.([a-zA-Z_0-9]+)\(", text))
    assert names <= set(tfcompress.__all__)
    for block in _python_blocks(path):
        assert ast.parse(block).body


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_commands_name_experiments_and_flags_that_there_are(path):
    text = path.read_text("utf-8")
    assert set(re.findall(r"make experiment NAME=(\w+)", text)) <= set(
        list_experiments()
    )
    known = _defined_flags() | {"help"}
    commands = re.findall(r"make experiment NAME=\w+ ARGS=\"(.*?)(?<!\\)\"", text, re.S)
    assert set(re.findall(r"--(\w+)", " ".join(commands))) <= known


def _defined_flags():
    modules = [importlib.import_module(f"experiments.{n}") for n in list_experiments()]
    return {
        field.name for each in modules for field in dataclasses.fields(each.Settings)
    }
