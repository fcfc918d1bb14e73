"""What a result says of a run: facts, and the lines and the page made of them."""

import dataclasses
import types

import pytest

from tfcompress.formats.target import Target
from tfcompress.record import new_record, record_key
from tfcompress.report import markdown_page
from tfcompress.report.notes import chosen_line, failure_lines, result_notes
from tfcompress.runner.collecting import collect_result
from tfcompress.runner.experiment import Experiment
from tfcompress.runner.rows import Row
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.search import Search
from tfcompress.runner.settings import ExperimentSettings
from tfcompress.runner.store import RunStore
from tfcompress.tasks import ClassHead

KERAS = Target(format="keras")
ROWS = (
    Row(name="baseline", targets=(KERAS,)),
    Row(name="control", parent="baseline", targets=(KERAS,)),
    Row(name="small", parent="baseline", control="control", targets=(KERAS,)),
)
DATASET = types.SimpleNamespace(name="x", warning=None)


@pytest.fixture
def collect(tmp_path):
    """Function: rows, records -> the result of a run of them; further fields of it."""

    def make(rows, records, artifacts=None, **fields):
        experiment = Experiment(
            name="title", default_dataset="x", rows=rows, make_task=None, **fields
        )
        settings = ExperimentSettings(formats=("onnx",))
        with RunFolder(tmp_path / "run") as folder:
            store = RunStore(folder)
            store.records = {record_key(record): record for record in records}
            for key, artifact in (artifacts or {}).items():
                store.keep_artifact(key, artifact)
            return collect_result(experiment, settings, DATASET, store)

    return make


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
def test_notes_compare_a_row_with_its_control(collect, of_quality, line):
    result = collect(ROWS, records_of(**of_quality))
    (found,) = result.comparisons
    assert (found["row"], found["against_row"], found["difference"]) == (
        "small",
        "control",
        0.025,
    )
    difference, training = result_notes(result)
    assert difference == line
    assert training == ("small trains an epoch in 3.00 s, 1.50 times control's 2.00 s.")


def test_notes_warn_of_a_baseline_with_one_prediction(collect):
    warning, *_ = result_notes(collect(ROWS, records_of(is_constant=True)))
    assert warning.startswith("WARNING: baseline predicts the same for every test exam")


def test_notes_give_the_latency_beside_tensorflow(collect):
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
    result = collect((row,), records)
    assert [each["ratio"] for each in result.latency_ratios] == [0.5]
    (line,) = result_notes(result)
    assert line == (
        "baseline, latency beside TensorFlow's at batch 1, length 128, 2 threads: "
        "onnx float16 0.50."
    )


def test_heading_names_every_commit_that_made_a_record(collect):
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
            ("control", "abc", "Tuesday"),
            ("small", "def", "Friday"),
        )
    ]
    text = markdown_page(collect(ROWS, records))
    assert text.startswith("# title\n\n    make experiment NAME=title ARGS=")
    assert "a CPU, 2 cores; commit abc; Monday; commit def; Friday." in text


def test_heading_names_the_machine_of_the_timing_where_it_is_another(collect):
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
        return markdown_page(collect(ROWS[:1], [record(**timing)]))

    assert "Latency and memory:" not in text()
    other = text(cpu="another CPU", num_cores=64, versions={"keras": "4"})
    assert "a CPU, 2 cores; commit abc; Monday." in other
    assert "Latency and memory: another CPU, 64 cores; commit abc; Tuesday.\n" in other
    assert "Versions: keras 3.\n\nVersions of the timing: keras 4." in other
    assert "commit def; Tuesday" in text(commit="def")


def test_notes_name_what_was_not_timed_and_what_is_far_from_keras(collect):
    onnx = Target(format="onnx")
    record = new_record(
        row="baseline",
        status="ok",
        quality={"output_error": 0.25},
        timing_error="The worker was ended by SIGSEGV.",
        **dataclasses.asdict(onnx),
    )
    row = Row(name="baseline", targets=(onnx,))
    result = collect((row,), [record])
    assert [each["step"] for each in result.failures] == ["timing"]
    assert result.status == 0
    assert result_notes(result) == [
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
def test_line_on_outputs_is_that_of_a_file_that_was_made(
    tiny_artifact, collect, activation, line
):
    onnx = Target(format="onnx")
    rows = (Row(name="baseline", targets=(KERAS, onnx)),)  # the Keras model failed
    assert result_notes(collect(rows, records_of()[:1])) == []
    head = ClassHead(labels=("bad", "good"), activation=activation)
    artifacts = {onnx.key("baseline"): tiny_artifact(heads=(head,))}
    assert result_notes(collect(rows, records_of()[:1], artifacts)) == [line]


def test_failed_file_is_told_and_gives_the_exit_status(collect):
    fields = {"row": "baseline", **dataclasses.asdict(KERAS)}
    result = collect(ROWS, [new_record(status="failed", error="No.", **fields)])
    assert result.status == 1
    assert failure_lines(result) == ["baseline, keras float32 dense: No."]


CODED = Target(format="onnx", coding="coded")
CANDIDATES = tuple(
    Row(name=name, recipe=f"recipe of {name}", targets=(CODED,))
    for name in ("original", "tiny", "small", "large")
)


def candidate(name, file_bytes, holds):
    found = dict.fromkeys(("difference", "low", "high"), -0.02)
    return new_record(
        row=name,
        recipe=f"recipe of {name}",
        status="ok",
        size={"file_bytes": file_bytes},
        quality=quality(),
        search={"holds": holds, **found},
        **dataclasses.asdict(CODED),
    )


def test_search_names_the_smallest_that_holds_and_its_folder(collect, tmp_path):
    records = [
        candidate("original", 9_000_000, None),
        candidate("tiny", 1000, False),
        candidate("small", 2000, True),
        candidate("large", 3000, True),
    ]
    search = Search(candidates=("tiny", "small", "large"), max_drop=0.01)
    result = collect(CANDIDATES, records, search=search, choose=lambda r: r[2])
    assert result.search["found"] == result.chosen == CODED.key("small")
    *tried, last = [x for x in result_notes(result) if "Keras's" not in x]
    assert len(tried) == 3
    assert tried[0].startswith("Validation: tiny, onnx float32 coded, 1.0 kB: -2.00 p")
    assert tried[0].endswith("(paired): too much.")
    assert last == (
        "Smallest tried within 0.01 of the baseline: small (recipe of small), in "
        "artifacts/small.onnx.float32.coded.onnxruntime.cpu."
    )
    take = f"Take {tmp_path}/artifacts/{result.chosen} (small, onnx coded, 2.0 kB)."
    assert chosen_line(result, tmp_path) == take


def test_search_without_a_candidate_that_holds_says_so(collect):
    search = Search(candidates=("tiny",), max_drop=0.01)
    result = collect(CANDIDATES, [candidate("tiny", 1000, False)], search=search)
    assert result.search["found"] is None
    assert result_notes(result)[-1] == "No candidate is within 0.01 of the baseline."
    assert chosen_line(result, "run") is None
