"""Tests of the BERT baseline, end to end, on a small file: killed and begun again."""

import signal
import time

import pytest

from tfcompress.artifact import Artifact
from tfcompress.record import read_records

NAME = "bert_baseline"


@pytest.fixture(scope="module")
def finished(start, run, reviews, tmp_path_factory):
    """Begins a run, kills it before its model is made, and runs it to its end."""
    run_dir = tmp_path_factory.mktemp("experiment") / "runs" / "one"
    arguments = [
        NAME,
        *reviews,
        "--max_length=24",
        "--epochs=4",
        "--formats=tflite,onnx,openvino",
        "--rounds=1",
        f"--run_dir={run_dir}",
    ]
    process = start(*arguments)
    while not (run_dir / "log.txt").exists() or not (run_dir / "models").is_dir():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list((run_dir / "models").glob("*.json"))
    status, out, err = run(*arguments)
    assert status == 0, err
    return {"run_dir": run_dir, "out": out}


def test_baseline_learns_and_is_shipped_in_every_format(finished):
    records = read_records(finished["run_dir"] / "records")
    shipped = {(record["format"], record["precision"]) for record in records.values()}
    assert shipped - {("openvino", "bfloat16")} == {
        ("keras", "float32"),
        *(
            (format, precision)
            for format in ("tflite", "onnx", "openvino")
            for precision in ("float32", "float16")
        ),
    }
    for key, record in records.items():
        assert record["status"] == "ok", key
        assert record["quality"]["metrics"]["accuracy"]["value"] > 0.9, key
        assert record["latency"]["sequence_length"] == 24
        if record["precision"] == "float32":
            assert record["quality"]["keras_agreement"] == 1.0
        if record["precision"] == "float16":
            assert 1.8 < record["size"]["compression_ratio"] < 2.1, key


def test_table_shows_latency_beside_tensorflow(finished):
    text = (finished["run_dir"] / "table.md").read_text()
    assert "latency beside TensorFlow's at batch 1, length 24, 2 threads: " in text
    assert max(map(len, finished["out"].splitlines()[:-12])) <= 80


def test_artifact_takes_texts_of_any_length(finished):
    key = "baseline.onnx.float32.dense.onnxruntime.cpu"
    artifact = Artifact.load(finished["run_dir"] / "artifacts" / key)
    prediction = artifact.predict(["fine lovely film", "dull " * 100, ""])
    assert prediction.labels[:2] == ("good", "bad")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset=random:huge"], "random:huge"),
        (["--preset=no_such_preset"], "no_such_preset"),
        (["--max_length=1000"], "1000"),
        (["--max_length=0"], "max_length"),
        (["--epochs=0"], "epochs must be an integer of at least 1"),
        (["--batch_size=0"], "batch_size must be an integer of at least 1"),
        (["--learning_rate=0"], "learning_rate must be above 0"),
        (["--training_precision=int8"], "training_precision"),
        (["--vocabulary=no.txt"], "no.txt"),
        (["--preset=bert_tiny_en_uncased", "--vocabulary=a"], "--vocabulary is for"),
    ],
)
def test_bad_flag_ends_in_one_clear_line(refuse, reviews, tmp_path, arguments, message):
    run_dir = tmp_path / "run"
    assert message in refuse(NAME, *reviews, *arguments, f"--run_dir={run_dir}")
    assert not list(run_dir.glob("records/*"))
