"""The check of random models: ten of them, a few files of each, and its table."""

import pytest

from experiments import check_random_models
from experiments._random_models import make_random_model
from experiments.check_random_models import FileCheck, check_model

NUM_FILES = 2  # of each model, drawn by its seed


@pytest.mark.parametrize("seed", range(10))
def test_files_of_a_random_model_are_right_or_refused(seed):
    checks = check_model(seed, NUM_FILES)
    assert len(checks) == NUM_FILES
    for check in checks:
        assert check.is_well, check_random_models.describe(check)


def test_random_model_of_a_seed_is_the_same():
    first, second = (make_random_model(3) for _ in range(2))
    examples = first.examples(2, seed=1)
    outputs = [
        each.model([examples[tensor.name] for tensor in each.model.inputs])
        for each in (first, second)
    ]
    assert (outputs[0].numpy() == outputs[1].numpy()).all()


def test_file_that_its_check_let_pass_and_is_off_is_wrong(monkeypatch):
    monkeypatch.setattr(check_random_models, "_bound", lambda precision: -1.0)
    checks = check_model(0, 1)
    assert [check.verdict for check in checks] == [check_random_models.WRONG]
    assert not checks[0].is_well


def test_table_counts_by_format_and_precision():
    known = {"model": "random_0", "format": "onnx", "precision": "float32"}
    checks = [
        FileCheck(**known, verdict="right", error=1e-7),
        FileCheck(**known, verdict="right", error=3e-7),
        FileCheck(**known, verdict="stopped", message="'model.onnx' is not right"),
    ]
    counts, table = check_random_models._body(checks)
    assert counts == (
        "3 files of 1 models: 2 right, 0 refused, 1 stopped, 0 wrong, 0 failed."
    )
    row = "| onnx | float32 | 3 | 2 | 0 | 1 | 0 | 0 | 2.0e-07 | 3.0e-07 | 0.001 |"
    assert table.splitlines()[-1] == row
