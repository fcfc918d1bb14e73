"""Tests of `python -m tfcompress.coding`: table, errors, exit status."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tfcompress.coding.__main__ import make_table, summary_lines
from tfcompress.coding.result import CodedTensor, CodingResult
from tfcompress.coding.tflite.graph import Graph
from tfcompress.formats.tflite_file import model_bytes, schema

ROOT = pathlib.Path(__file__).parents[2]


def _command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tfcompress.coding", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"COLUMNS": "80", "PATH": "", **environment},
    )


def _row(name, **fields):
    values = {
        "shape": (1280, 1000),
        "dtype": "float32",
        "code": "codebook",
        "num_bits": 4,
        "num_values": 16,
        "num_nonzero": 64,
        "dense_bytes": 5_120_000,
        "coded_bytes": 641_000,
    }
    return CodedTensor(name=name, **(values | fields))


RESULT = CodingResult(
    format="tflite",
    source_bytes=10_250_000,
    target_bytes=1_300_000,
    tensors=(
        _row("mobilenet/block_16/a_rather_long_name_of_a_layer/predictions/kernel"),
        _row("slow", is_slower=True, code="bitmap_codebook"),
        _row("noise", num_values=None).left_dense("more than 256 distinct values"),
        _row("bias", shape=(), dense_bytes=4).left_dense("only 4 bytes"),
    ),
)


def _lines(result):
    from rich.console import Console

    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(make_table(result, console.width))
    return console.export_text().splitlines()


def test_make_table_fits_80_columns_and_numbers_its_notes():
    lines = _lines(RESULT)
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) == 1 + 3
    assert lines[1].startswith("…")
    assert "/kernel 1280x1000 codebook 4 bit" in " ".join(lines[1].split())
    assert "bitmap+codebook 4 bit (1) 16 5,120,000 641,000" in " ".join(
        lines[2].split()
    )
    assert "dense (2) >257 5,120,000 5,120,000" in " ".join(lines[3].split())


def test_summary_lines_say_notes_small_tensors_and_ratio():
    assert summary_lines(RESULT, "out.tflite") == [
        "(1) its layer runs slower; --slow_layers=leave_slowest leaves it dense",
        "(2) more than 256 distinct values",
        "1 tensors under 256 bytes are left as they are",
        "out.tflite: coded, 10,250,000 -> 1,300,000 bytes, 7.88 times smaller",
    ]


@pytest.fixture
def path(tmp_path):
    fb = schema()
    model, subgraph = fb.ModelT(), fb.SubGraphT()
    model.version, model.operatorCodes, model.buffers = 3, [], [fb.BufferT()]
    model.subgraphs, subgraph.tensors = [subgraph], []
    graph = Graph(model, subgraph, {})
    x, y = (graph.tensor([-1, 4096], "FLOAT32", name) for name in "xy")
    array = np.random.default_rng(0).choice(np.float32([1, 2, 3, 5]), 4096)
    weights = graph.constant(array, "weights")
    subgraph.operators = [graph.operator("MUL", [x, weights], [y], "MulOptions")]
    subgraph.inputs, subgraph.outputs = np.int32([x]), np.int32([y])
    path = tmp_path / "dense.tflite"
    path.write_bytes(model_bytes(model))
    return path


def test_command_codes_a_file_and_prints_a_table(path, tmp_path):
    target = tmp_path / "coded.tflite"
    done = _command(path, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert "weights 4096 codebook 2 bit 4 16,384" in " ".join(done.stdout.split())
    assert "coded, " in done.stdout
    assert target.stat().st_size < path.stat().st_size / 3


def test_command_that_changes_nothing_says_so(path, tmp_path):
    done = _command(path, tmp_path / "coded.tflite", "--exclude=x", "--exclude=weights")
    assert done.returncode == 0
    assert "(1) left as asked by 'weights'" in done.stdout
    assert "copied, nothing pays" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{path}"], "error: Give two paths, FILE and OUT; got 1. --help says more.\n"),
        (["none.tflite", "x.tflite"], "error: There is no file 'none.tflite'.\n"),
        (
            ["{path}", "x.tflite", "--slow_layer=leave"],
            "error: Unknown flag --slow_layer. Did you mean --slow_layers? "
            "--help lists the flags.\n",
        ),
        (
            ["{path}", "x.tflite", "--slow_layers=skip"],
            "error: flag --slow_layers=skip: value should be one of "
            "<code|leave_slowest|leave>\n",
        ),
        (
            ["{path}", "{path}/x.tflite"],
            "error: The target's folder '{path}' is a file. Name a folder.\n",
        ),
        (["{path}", "/dev/null/a/x.tflite"], "error: Not a directory: '/dev/null/a'\n"),
    ],
)
def test_command_with_bad_input_prints_one_line(path, arguments, message):
    done = _command(*[argument.format(path=path) for argument in arguments])
    assert (done.returncode, done.stdout, done.stderr) == (
        *(1, ""),
        message.format(path=path),
    )
    assert [each.name for each in path.parent.iterdir()] == ["dense.tflite"]


def test_command_help_loads_no_runtime():
    done = _command("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert "--slow_layers" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tfcompress.coding" in imported
    heavy = {"tensorflow", "keras", "onnx", "onnxruntime", "openvino", "ai_edge_litert"}
    assert not imported & heavy
