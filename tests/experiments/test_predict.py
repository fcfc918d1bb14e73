"""The predict program, as a user starts it: an artifact's folder and nothing else."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TEXTS = ["good good good good", "bad bad"]


def predict(*arguments, stdin=""):
    """Runs `python -m experiments.predict`; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "experiments.predict", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
    )


def lines(done):
    return [line.rstrip() for line in done.stdout.splitlines()]


def check_error(done, message):
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino", "keras"])
def test_predict_prints_label_and_probability(format, tmp_path, tiny_artifact):
    folder = tmp_path / "moved"
    shutil.move(tiny_artifact(format).folder, folder)
    done = predict(f"--artifact={folder}", *TEXTS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    # sigmoid(1) = 0.731; 1 - sigmoid(-0.5) = 0.622
    assert lines(done) == [
        "positive  0.731  good good good good",
        "negative  0.622  bad bad",
    ]


def test_predict_reads_texts_from_standard_input(tiny_artifact):
    folder = tiny_artifact().folder
    done = predict(
        f"--artifact={folder}", "-", stdin="good good good good\n\nbad bad\n"
    )
    assert [line.split()[0] for line in lines(done)] == ["positive", "negative"]


def test_predict_any_text_fits_80_columns(tiny_artifact):
    texts = ["good " * 40, "[bold]good[/bold]\nbad", "映画" * 50, ""]
    done = predict(f"--artifact={tiny_artifact().folder}", *texts)
    assert done.returncode == 0, done.stderr
    printed = lines(done)
    assert len(printed) == 4
    assert all(len(line) <= 80 for line in printed)
    assert printed[0].endswith("…")
    assert printed[1].endswith("[bold]good[/bold] bad")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_predict_standard_input_of_another_encoding_is_refused(tiny_artifact, locale):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.predict"),
            *(f"--artifact={tiny_artifact().folder}", "-"),
        ],
        input=b"good\ncaf\xe9\n",
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "LC_ALL": locale},
    )
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert "input is not UTF-8: line 2 holds the byte 0xe9. Convert it first" in line


def test_predict_closed_standard_input_is_refused(tiny_artifact):
    command = f"{sys.executable} -m experiments.predict"
    command += f" --artifact={tiny_artifact().folder} - <&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    check_error(done, "The standard input is closed, and '-' reads it")


def test_predict_folder_that_is_not_utf8_is_named(tmp_path):
    done = predict(os.fsdecode(f"--artifact={tmp_path}/".encode() + b"\xff"), "bad")
    check_error(done, r"\udcff' is no artifact")


def test_predict_artifact_in_a_folder_that_is_not_utf8_is_refused(
    tmp_path, tiny_artifact
):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    shutil.move(tiny_artifact().folder, folder)
    done = predict(f"--artifact={folder}", "bad")
    check_error(done, "is not UTF-8, or holds a NUL. Rename the file or its folder")


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_predict_imports_no_tensorflow(format, tiny_artifact):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['predict', '--artifact={tiny_artifact(format).folder}', 'bad']\n"
        "try:\n"
        "    runpy.run_module('experiments.predict', run_name='__main__')\n"
        "finally:\n"
        "    print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    modules = done.stdout.splitlines()[-1].split()
    assert "tokenizers" in modules
    assert not {"tensorflow", "keras", "tf_keras", "onnx"} & set(modules)


def test_predict_without_artifact_raises():
    check_error(predict("a film"), "--artifact is missing. Give the folder of an")


def test_predict_without_text_raises(tiny_artifact):
    check_error(predict(f"--artifact={tiny_artifact().folder}"), "There is no text to")


def test_predict_empty_standard_input_raises(tiny_artifact):
    done = predict(f"--artifact={tiny_artifact().folder}", "-", stdin="\n")
    check_error(done, "There is no text to predict")


def test_predict_standard_input_not_utf8_raises(tiny_artifact):
    done = predict(f"--artifact={tiny_artifact().folder}", "-", stdin="good\udcff\n")
    check_error(done, "The standard input is not UTF-8: line 1 holds")


def test_predict_text_that_no_terminal_shows_is_printed_without(tiny_artifact):
    done = predict(f"--artifact={tiny_artifact().folder}", "good \udcff\x1b[1m good")
    assert done.returncode == 0, done.stderr
    assert lines(done)[0].endswith("good [1m good")


def test_predict_no_artifact_there_raises(tmp_path):
    done = predict(f"--artifact={tmp_path}", "a film")
    check_error(done, "is no artifact: it has no 'manifest.json'")


def test_predict_damaged_artifact_raises(tiny_artifact):
    folder = tiny_artifact().folder
    (folder / "model.onnx").write_bytes(b"x" * 10)
    check_error(predict(f"--artifact={folder}", "a film"), "it is truncated or another")


def test_predict_artifact_of_arrays_raises(tiny_artifact):
    folder = tiny_artifact(is_text=False).folder
    check_error(
        predict(f"--artifact={folder}", "a film"), "takes named arrays, not tex"
    )


def test_predict_no_threads_raises(tiny_artifact):
    done = predict(f"--artifact={tiny_artifact().folder}", "--num_threads=0", "a film")
    check_error(done, "--num_threads must be at least 1, got 0")
