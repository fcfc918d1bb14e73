"""Tests that published figures stand beside ours, each in its own columns."""

import json
import pathlib

import pytest

from experiments import tweet_sentiment
from experiments._published import published_beside
from tfcompress.record import new_record
from tfcompress.report.published import Match, beside, published_table, read_published

PUBLISHED = pathlib.Path(__file__).parents[2] / "experiments" / "published.csv"
MATCHES = (
    Match(table="tweets", method="original", row="original", format="keras"),
    Match(table="tweets", method="onnx", row="original", format="onnx"),
)


@pytest.fixture(scope="module")
def table():
    record = new_record(
        row="original",
        format="keras",
        precision="float32",
        coding="dense",
        quality={
            "primary": "accuracy",
            "metrics": {
                name: {
                    "value": value,
                    "low": None,
                    "high": None,
                    "unit": "share",
                    "higher_is_better": True,
                }
                for name, value in {"accuracy": 0.8, "macro_f1": 0.79}.items()
            },
        },
        size={"file_bytes": 90_000_000},
    )
    return published_table([record], beside(read_published(PUBLISHED), MATCHES))


def test_published_table_has_ours_left_and_theirs_right(table):
    line = next(line for line in table.splitlines() if line.startswith("| original"))
    ours = "| original | keras float32 dense | 0.8000 | 0.7900 | 90.00 |"
    theirs = " bert-base-cased, original | 0.784 (macro f1) | 413.188 | float32 PyTorch"
    assert line.startswith(ours + theirs)


def test_published_table_of_what_was_not_measured_has_dashes(table):
    assert (
        "| original | onnx float32 dense | - | - | - | bert-base-cased, onnx" in table
    )


def test_published_table_names_its_sources(table):
    assert table.endswith(
        "Published by: Model Compression Course (ITMO, AI Talent Hub).\n"
    )


def test_published_figures_are_texts_and_of_their_dataset_alone():
    of_tweets = published_beside("tweets", tweet_sentiment.PUBLISHED)
    assert of_tweets("ag_news_subset") == []
    rows = json.loads(json.dumps(of_tweets("tweets")))
    assert len(rows) == len(tweet_sentiment.PUBLISHED)
    assert {type(value) for row in rows for value in row.values()} == {str}
    assert {"row", "format", "precision", "coding", "quality", "source"} <= set(rows[0])
