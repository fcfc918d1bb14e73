"""Which dataset is taken, and what is said when it is not the one that was meant."""

import logging

import pytest

from tfcompress.data import load_dataset, synthetic
from tfcompress.errors import DataError, InvalidValueError

ROWS = "text,label\n" + "good,yes\nbad,no\n" * 20


@pytest.fixture
def table(tmp_path):
    (tmp_path / "a.csv").write_text(ROWS)
    return str(tmp_path / "a.csv")


def test_load_named_file_is_taken(table):
    dataset = load_dataset(table, default="imdb_reviews", limit=20)
    assert dataset.source == "file"
    assert dataset.warning is None


def test_load_not_named_takes_the_default(table):
    assert load_dataset(default=table).name == "a.csv"


def test_load_columns_and_fraction_are_passed_on(table):
    dataset = load_dataset(
        table,
        default="imdb_reviews",
        text_column="label",
        label_column="text",
        validation_fraction=0.45,
    )
    assert dataset.class_names == ("bad", "good")
    assert dataset.validation.num_examples == 18


def test_load_synthetic_by_name_warns_that_it_is():
    dataset = load_dataset("synthetic_reviews", default="imdb_reviews", limit=100)
    assert dataset.is_synthetic
    assert dataset.warning == synthetic.WARNING
    assert dataset.test.num_examples == 100


def test_load_default_that_cannot_be_had_falls_back_loudly(tmp_path, caplog):
    missing = str(tmp_path / "none.csv")
    with caplog.at_level(logging.WARNING):
        dataset = load_dataset(default=missing, limit=100)
    assert dataset.is_synthetic
    assert dataset.warning.startswith("SYNTHETIC DATA: ")
    assert f"stands in for '{missing}': There is no file" in dataset.warning
    assert dataset.warning in caplog.text


def test_load_named_dataset_that_cannot_be_had_raises(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        load_dataset(str(tmp_path / "none.csv"), default="synthetic_reviews")


def test_load_bad_number_raises_and_does_not_fall_back(table):
    with pytest.raises(InvalidValueError, match="limit must be at least 2"):
        load_dataset(default=table, limit=1)
