"""Tests of the search for inputs that a model takes."""

import numpy as np
import pytest

from tfcompress.errors import ArtifactError
from tfcompress.runtime import TensorSpec
from tfcompress.verification.examples import BATCH_SIZE, find_inputs

TOKENS = TensorSpec("tokens", (None, None), "int32")
IMAGE = TensorSpec("image", (None, None, None, 3), "float32")


def lookup(rows):
    """A model that looks its input up in a table of so many rows: 1, 2, 3, ..."""

    def run(inputs):
        (ids,) = inputs.values()
        if ids.min() < 0 or ids.max() >= rows:
            raise ArtifactError("a row that is not there")
        return {"y": ids.astype(int) + 1.0}

    return run


def test_find_inputs_integers_reach_the_whole_of_a_known_table():
    sizes = {"tokens": [16, 300, 5000]}
    inputs, outputs = find_inputs([TOKENS], lookup(300), sizes)
    assert 200 < inputs["tokens"].max() < 300
    assert inputs["tokens"].shape == (BATCH_SIZE, 8)
    assert inputs["tokens"].dtype == np.int32
    assert np.array_equal(outputs["y"], inputs["tokens"] + 1.0)


def test_find_inputs_integers_reach_a_quarter_of_an_unknown_table():
    inputs, _ = find_inputs([TOKENS], lookup(600))
    assert 200 < inputs["tokens"].max() < 256


def test_find_inputs_integers_without_a_table_stay_zeros_and_ones():
    inputs, _ = find_inputs([TOKENS], lookup(1000), {})
    assert set(np.unique(inputs["tokens"])) == {0, 1}


def test_find_inputs_a_single_integer_may_be_a_count_and_stays_small():
    spec = TensorSpec("steps", (1,), "int64")
    inputs, _ = find_inputs([spec], lookup(10**9))
    assert inputs["steps"].max() <= 1


def test_find_inputs_floats_that_are_ids_are_zeros_and_ones():
    spec = TensorSpec("ids", (None, 6), "float32")
    inputs, _ = find_inputs([spec], lookup(2))
    assert set(np.unique(inputs["ids"])) <= {0, 1}


def test_find_inputs_free_sizes_grow_until_the_model_takes_them():
    def run(inputs):
        if inputs["image"].shape[1] < 20:
            raise ArtifactError("too small")
        return {"y": inputs["image"]}

    inputs, _ = find_inputs([IMAGE], run)
    assert inputs["image"].shape == (BATCH_SIZE, 32, 32, 3)


def test_find_inputs_prefers_those_that_give_numbers():
    def run(inputs):
        with np.errstate(invalid="ignore"):
            return {"y": np.sqrt(inputs["image"])}

    inputs, outputs = find_inputs([IMAGE], run)
    assert inputs["image"].min() >= 0
    assert np.isfinite(outputs["y"]).all()


def test_find_inputs_gives_nan_where_there_is_nothing_else():
    def run(inputs):
        return {"y": np.full_like(inputs["image"], np.nan)}

    _, outputs = find_inputs([IMAGE], run)
    assert np.isnan(outputs["y"]).all()


def test_find_inputs_that_a_model_refuses_raises_its_words():
    def run(inputs):
        raise ArtifactError("never")

    with pytest.raises(ArtifactError, match="never"):
        find_inputs([IMAGE], run)


def test_find_inputs_of_a_model_without_inputs_runs_it():
    assert find_inputs([], lambda inputs: {"y": np.ones(1)})[0] == {}
