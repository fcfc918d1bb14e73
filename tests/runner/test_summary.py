"""Tests of the lines below the table."""

import dataclasses

import pytest

from tfcompress.formats.target import Target
from tfcompress.record import new_record
from tfcompress.runner.rows import Row
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.summary import outputs_lines, summarize, write_summary
from tfcompress.tasks import ClassHead

KERAS = Target(format="keras")
ROWS = (
    Row(name="baseline", targets=(KERAS,)),
    Row(name="control", parent="baseline", targets=(KERAS,)),
    Row(name="small", parent="baseline", control="control", targets=(KERAS,)),
)


def quality(name="accuracy", unit="share", **fields):
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "unit": unit}
    figure["higher_is_better"] = unit == "share"
    return {"primary": name, "metrics": {name: figure}, **fields}


def records_of(**of_quality):
    """A record of each row; the small one is compared with its control."""
    name = of_quality.get("name", "accuracy")
    compared = [
        {"against": KERAS.key(row), "metric": metric, "difference": 0.0125 * number,
         "low": -0.005, "high": 0.03}
        for number, (row, metric) in enumerate(
            [("baseline", name), ("control", "another"), ("control", name)]
        )
    ]  # fmt: skip
    return [
        new_record(
            row=row.name,
            status="ok",
            training={"seconds_per_epoch": seconds},
            quality=quality(**of_quality),
            comparisons=compared if row.name == "small" else [],
            **dataclasses.asdict(KERAS),
        )
        for row, seconds in zip(ROWS, (1.0, 2.0, 3.0), strict=True)
    ]


@pytest.mark.parametrize(
    ("of_quality", "line"),
    [
        (
            {},
            "small against control: +2.50 points of accuracy, 95% interval -0.50 to "
            "+3.00 (paired).",
        ),
        (
            {"name": "price.rmse", "unit": "EUR"},
            "small against control: +0.025 EUR of price RMSE, 95% interval -0.005 to "
            "+0.03 (paired).",
        ),
    ],
)
def test_summary_compares_a_row_with_its_control(tmp_path, of_quality, line):
    with RunFolder(tmp_path) as folder:
        difference, training = summarize(ROWS, records_of(**of_quality), folder)
    assert difference == line
    assert training == ("small trains an epoch in 3.00 s, 1.50 times control's 2.00 s.")


def test_summary_warns_of_a_baseline_with_one_prediction(tmp_path):
    with RunFolder(tmp_path) as folder:
        warning, *_ = summarize(ROWS, records_of(is_constant=True), folder)
    assert warning.startswith("WARNING: baseline predicts the same for every test exam")


def test_summary_gives_the_latency_beside_tensorflow(tmp_path):
    onnx = Target(format="onnx", precision="float16")
    row = Row(name="baseline", is_timed=True, targets=(KERAS, onnx))
    records = [
        new_record(
            row=row.name,
            status="ok",
            latency={
                "batch_1": {
                    "p50_ms": p50s[0],
                    "p90_ms": p50s[0],
                    "rounds": [{"p50_ms": p50, "p90_ms": p50} for p50 in p50s],
                    "ratio_to_baseline": None,
                    "ratio_to_dense": None,
                },
                "num_threads": 2,
                "sequence_length": 128,
            },
            **dataclasses.asdict(target),
        )
        for target, p50s in ((KERAS, (10.0, 20.0, 10.0)), (onnx, (5.0, 8.0, 9.0)))
    ]
    with RunFolder(tmp_path) as folder:
        (line,) = summarize((row,), records, folder)
    assert line == (
        "baseline, latency beside TensorFlow's at batch 1, length 128, 2 threads: "
        "onnx float16 0.50."
    )


def test_heading_names_every_commit_that_made_a_record(tmp_path):
    records = [
        new_record(
            row=row,
            status="failed",
            error="no",
            dataset={"name": "x", "source": "tfds", "num_examples": 9},
            environment={
                "commit": commit,
                "started_at": time,
                "cpu": "a CPU",
                "num_cores": 2,
                "versions": {"keras": "3"},
            },
            **dataclasses.asdict(KERAS),
        )
        for row, commit, time in (
            ("baseline", "abc", "Monday"),
            ("small", "abc", "Tuesday"),
            ("smaller", "def", "Friday"),
        )
    ]
    with RunFolder(tmp_path) as folder:
        write_summary("title", folder, "make it", records, [])
        text = folder.table.read_text()
    assert "a CPU, 2 cores; commit abc; Monday; commit def; Friday." in text


def test_heading_names_the_machine_of_the_timing_where_it_is_another(tmp_path):
    def record(**timing):
        here = {
            "commit": "abc",
            "started_at": "Monday",
            "cpu": "a CPU",
            "num_cores": 2,
            "versions": {"keras": "3"},
        }
        return new_record(
            row="baseline",
            status="ok",
            dataset={"name": "x", "source": "tfds", "num_examples": 9},
            environment=here,
            timing_environment=here | {"started_at": "Tuesday"} | timing,
            **dataclasses.asdict(KERAS),
        )

    def text(**timing):
        with RunFolder(tmp_path) as folder:
            write_summary("title", folder, "make it", [record(**timing)], [])
            return folder.table.read_text()

    assert "Latency and memory:" not in text()
    other = text(cpu="another CPU", num_cores=64, versions={"keras": "4"})
    assert "a CPU, 2 cores; commit abc; Monday." in other
    assert "Latency and memory: another CPU, 64 cores; commit abc; Tuesday.\n" in other
    assert "Versions: keras 3.\n\nVersions of the timing: keras 4." in other
    assert "commit def; Tuesday" in text(commit="def")


def test_summary_names_what_was_not_timed_and_what_is_far_from_keras(tmp_path):
    onnx = Target(format="onnx")
    record = new_record(
        row="baseline",
        status="ok",
        quality={"output_error": 0.25},
        timing_error="The worker was ended by SIGSEGV.",
        **dataclasses.asdict(onnx),
    )
    row = Row(name="baseline", targets=(onnx,))
    with RunFolder(tmp_path) as folder:
        lines = summarize((row,), [record], folder)
    assert lines == [
        "WARNING: baseline, onnx: an output differs from Keras's with the same weights "
        "by 2.5e-01 of the largest output.",
        "Not timed: baseline, onnx: The worker was ended by SIGSEGV.",
    ]


@pytest.mark.parametrize(
    ("activation", "line"),
    [
        (
            "sigmoid",
            "The files put out logits, as the model does; sigmoid makes probabilities "
            "of them, which an artifact applies.",
        ),
        ("none", "The files put out probabilities, as the model does."),
    ],
)
def test_outputs_line_is_that_of_a_file_that_was_made(
    tmp_path, tiny_artifact, activation, line
):
    targets = (KERAS, Target(format="onnx"))  # the Keras model failed
    row = Row(name="baseline", targets=targets)
    with RunFolder(tmp_path / "run") as folder:
        assert outputs_lines(row, folder) == []
        head = ClassHead(labels=("bad", "good"), activation=activation)
        artifact = tiny_artifact(heads=(head,))
        artifact.folder.rename(folder.artifacts / targets[1].key(row.name))
        assert outputs_lines(row, folder) == [line]
