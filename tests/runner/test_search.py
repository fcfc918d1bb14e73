"""Tests of the search for the smallest file that keeps the quality."""

import numpy as np
import pytest

from tfcompress.runner.search import Search, SearchTrial
from tfcompress.tasks import classification, regression

TASK = classification(["bad", "good"])
LOWER = regression()


class _Scorer:
    """Knows how the validation examples of each key are scored."""

    def __init__(self, **scores):
        self._scores = scores

    def scores(self, key, artifact):
        return self._scores[key]


def _ratio(numerator):
    return np.stack([numerator, np.ones(len(numerator))], axis=1)


def _record(row, size, holds, difference=-0.02):
    found = {"holds": holds, "difference": difference, "low": -0.03, "high": -0.01}
    return {
        "row": row,
        "recipe": f"recipe of {row}",
        "format": "onnx",
        "precision": "float32",
        "coding": "coded",
        "runtime": "onnxruntime",
        "device": "cpu",
        "size": {"file_bytes": size},
        "search": found,
        "quality": {
            "primary": "accuracy",
            "metrics": {"accuracy": {"unit": "share", "higher_is_better": True}},
        },
    }


@pytest.mark.parametrize(("max_drop", "holds"), [(0.05, True), (0.04, False)])
def test_section_compares_the_same_validation_examples(max_drop, holds):
    right = np.arange(100)
    scorer = _Scorer(original=_ratio(right < 80), small=_ratio(right < 75))
    search = Search(candidates=("small",), max_drop=max_drop)
    trial = SearchTrial(search, TASK, scorer, lambda: ("original", None))
    section = trial.section("small", None)
    assert section["difference"] == pytest.approx(-0.05)
    assert section["low"] <= section["difference"] <= section["high"]
    assert (section["holds"], section["num_examples"]) == (holds, 100)
    assert (section["metric"], section["validation_score"]) == ("accuracy", 0.75)


@pytest.mark.parametrize(("max_drop", "holds"), [(0.5, True), (0.25, False)])
def test_section_of_an_error_holds_where_it_has_not_grown_by_more(max_drop, holds):
    """The root mean squared error grows from 2 to 2.5."""
    scorer = _Scorer(original=_ratio(np.full(9, 4.0)), small=_ratio(np.full(9, 6.25)))
    search = Search(candidates=("small",), max_drop=max_drop)
    trial = SearchTrial(search, LOWER, scorer, lambda: ("original", None))
    section = trial.section("small", None)
    assert (section["metric"], section["difference"]) == ("rmse", 0.5)
    assert section["holds"] is holds
    assert trial.section("original", None)["holds"]
