"""Scores of a real file beside those of others: labels, outputs, what is inherited."""

import types

import numpy as np
import pytest

from tfcompress.data.dataset import Split
from tfcompress.errors import ArtifactError
from tfcompress.evaluate import write_examples
from tfcompress.formats.target import Target
from tfcompress.runner.rows import Row
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.scoring import Scorer
from tfcompress.tasks import classification, wilson_interval

TOKENS = np.int32([[4] * 4, [2, 2, 0, 0], [3] * 4, [7] * 4])
OUTPUTS = np.float32([[1.0], [-0.5], [0.5], [2.5]])  # mean / 2 - 1
KERAS, DENSE = Target(format="keras"), Target(format="onnx")
CODED = Target(format="onnx", coding="coded")
ROW = Row(name="baseline", targets=(KERAS, DENSE, CODED))
TASK = classification(["negative", "positive"])
SCORES = TASK.score({"labels": np.int32([1, 0, 1, 1])}, {"labels": [1, 0, 0, 1]})
OPTIONS = types.SimpleNamespace(full_coded_quality=False, num_threads=1)


@pytest.fixture
def score(tmp_path, tiny_artifact):
    """Function: scores a file of `OUTPUTS` beside others whose outputs are given."""
    artifact = tiny_artifact(is_text=False)
    folder = RunFolder(tmp_path / "run")
    for name in ("test", "check"):
        write_examples(folder.data / f"{name}.npz", {"tokens": TOKENS})
    split = Split({"tokens": TOKENS}, [1, 0, 0, 1])
    scorer = Scorer(split, TASK, folder, OPTIONS, ".npz")

    def run(target, records=None, **outputs):
        for format, values in outputs.items():
            name = f"{Target(format=format).key(ROW.name)}.npz"
            np.savez(folder.predictions / name, output_0=values)
            np.savez(folder.scores / name, **SCORES)
        return scorer.quality_section(ROW, target, artifact, records or {}, ROW)

    run.folder, run.scorer, run.artifact = folder, scorer, artifact
    with folder:
        yield run


def test_quality_section_has_figures_and_outputs_beside_those_of_keras(score):
    keras_outputs = OUTPUTS + np.float32([[0.5], [0], [0], [0]])
    quality = score(DENSE, keras=keras_outputs)
    assert quality["primary"] == "accuracy"
    accuracy = quality["metrics"]["accuracy"]
    assert (accuracy["value"], accuracy["low"]) == (0.75, wilson_interval(3, 4)[0])
    assert (accuracy["unit"], accuracy["higher_is_better"]) == ("share", True)
    assert quality["metrics"]["macro_f1"]["low"] is not None
    assert quality["keras_agreement"] == 1
    assert quality["output_error"] == pytest.approx(0.5 / 2.5)
    assert (quality["num_worse"], quality["num_better"]) == (0, 0)
    assert quality["is_constant"] is False
    with np.load(score.folder.scores / f"{DENSE.key(ROW.name)}.npz") as kept:
        for name, scores in SCORES.items():
            np.testing.assert_array_equal(kept[name], scores)


def test_quality_section_coded_file_of_the_same_outputs_inherits(score):
    measured = {"primary": "accuracy", "output_error": 0.1}
    records = {DENSE.key(ROW.name): {"quality": measured}}
    quality = score(CODED, records, onnx=OUTPUTS * np.float32(1 + 1e-6))
    assert quality == measured | {
        "inherited_from": DENSE.key(ROW.name),
        "dense_agreement": 1.0,
    }


def test_quality_section_coded_file_that_only_decides_the_same_is_scored_itself(score):
    quality = score(CODED, keras=OUTPUTS, onnx=OUTPUTS * 2)
    assert quality["metrics"]["accuracy"]["value"] == 0.75
    assert quality["dense_agreement"] == 1
    assert quality["output_error"] == 0
    assert "inherited_from" not in quality


def test_scores_predicts_again_what_older_code_kept_otherwise(score):
    path = score.folder.predictions / "validation.original.npz"
    np.savez(path, indices=np.int32([0, 0, 0, 0]))
    write_examples(score.folder.data / "validation.npz", {"tokens": TOKENS})
    scores = score.scorer.scores("original", score.artifact)
    np.testing.assert_array_equal(scores, SCORES["accuracy"])


def test_quality_section_beside_a_keras_model_that_failed_raises(score):
    with pytest.raises(ArtifactError, match=r"compared with 'baseline\.keras.*failed"):
        score(DENSE)
