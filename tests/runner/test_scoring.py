"""Scores of a real file beside those of others: labels, outputs, what is inherited."""

import types

import numpy as np
import pytest

from tfcompress.data.dataset import Split
from tfcompress.errors import ArtifactError
from tfcompress.evaluate import write_examples
from tfcompress.runner.rows import Row, Variant
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.scoring import Scorer

TOKENS = np.int32([[4] * 4, [2, 2, 0, 0], [3] * 4, [7] * 4])
OUTPUTS = np.float32([[1.0], [-0.5], [0.5], [2.5]])  # mean / 2 - 1
INDICES = np.int32([1, 0, 1, 1])
KERAS, DENSE = Variant(format="keras"), Variant(format="onnx")
CODED = Variant(format="onnx", coding="coded")
ROW = Row(name="baseline", variants=(KERAS, DENSE, CODED))
OPTIONS = types.SimpleNamespace(full_coded_quality=False, num_threads=1)


@pytest.fixture
def score(tmp_path, tiny_artifact):
    """Function: scores a file of `OUTPUTS` beside others whose outputs are given."""
    artifact = tiny_artifact(is_text=False)
    folder = RunFolder(tmp_path / "run")
    for name in ("test", "check"):
        write_examples(folder.data / f"{name}.npz", {"tokens": TOKENS})
    split = Split({"tokens": TOKENS}, [1, 0, 0, 1])
    scorer = Scorer(split, folder, OPTIONS, ".npz")

    def run(variant, records=None, **outputs):
        for format, values in outputs.items():
            path = folder.predictions / f"{Variant(format=format).key(ROW.name)}.npz"
            np.savez(path, indices=INDICES, **values)
        return scorer.quality_section(ROW, variant, artifact, records or {}, ROW)

    with folder:
        yield run


def test_quality_section_has_labels_and_outputs_beside_those_of_keras(score):
    quality = score(
        DENSE, keras={"outputs": OUTPUTS + np.float32([[0.5], [0], [0], [0]])}
    )
    assert quality["accuracy"] == 0.75
    assert quality["keras_agreement"] == 1
    assert quality["output_error"] == pytest.approx(0.5 / 2.5)


def test_quality_section_coded_file_of_the_same_outputs_inherits(score):
    records = {DENSE.key(ROW.name): {"quality": {"accuracy": 0.5, "output_error": 0.1}}}
    quality = score(CODED, records, onnx={"outputs": OUTPUTS * np.float32(1 + 1e-6)})
    assert quality == {
        "accuracy": 0.5,
        "output_error": 0.1,
        "inherited_from": DENSE.key(ROW.name),
        "dense_agreement": 1.0,
    }


def test_quality_section_coded_file_of_the_same_labels_alone_is_scored_itself(score):
    beside = {"outputs": OUTPUTS * 2}
    quality = score(CODED, keras={"outputs": OUTPUTS}, onnx=beside)
    assert quality["accuracy"] == 0.75
    assert quality["dense_agreement"] == 1
    assert quality["output_error"] == 0
    assert "inherited_from" not in quality


def test_quality_section_beside_labels_of_older_code_has_no_output_error(score):
    assert score(DENSE, keras={"logits": OUTPUTS})["output_error"] is None


def test_quality_section_beside_a_keras_model_that_failed_raises(score):
    with pytest.raises(ArtifactError, match=r"compared with 'baseline\.keras.*failed"):
        score(DENSE)
