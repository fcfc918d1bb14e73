"""Tests of the text task: how long each row is trained."""

import pytest

from tfcompress.data.dataset import Dataset, Split, text_array
from tfcompress.runner.rows import Row
from tfcompress.runner.text_classification import EmbeddingTask


def make_task(num_examples):
    texts = text_array(["good film", "bad film"] * (num_examples // 2))
    split = Split({"text": texts}, [1, 0] * (num_examples // 2))
    dataset = Dataset.from_splits(split, split, split, ["bad", "good"])
    return EmbeddingTask(dataset, seed=3, finetuning={"epochs": 2})


@pytest.mark.parametrize(
    ("num_examples", "patience", "epochs"),
    [(22_400, 2, 60), (3_200, 4, 60), (448, 20, 200)],
)
def test_baseline_is_trained_longer_on_few_examples(num_examples, patience, epochs):
    config = make_task(num_examples).training(Row(name="baseline")).config
    assert (config.patience, config.epochs, config.seed) == (patience, epochs, 3)


def test_other_rows_are_trained_for_the_epochs_of_fine_tuning():
    row = Row(name="clustered", parent="baseline")
    config = make_task(64).training(row).config
    assert (config.patience, config.epochs) == (None, 2)


def test_row_may_be_trained_in_a_way_of_its_own():
    task = make_task(64)
    row = Row(name="pruned", parent="baseline", finetuning={"learning_rate": 0.5})
    config = task.training(row).config
    assert (config.learning_rate, config.epochs) == (0.5, 2)
