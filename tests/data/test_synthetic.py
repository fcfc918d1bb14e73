"""The embedded corpus: the same everywhere, fast, and no better than stated."""

import re

import numpy as np
import pytest

from tfcompress.data import synthetic
from tfcompress.data.dataset import SplitOptions

# Of the texts, labels and default cut; it changes only if the generator is changed.
FINGERPRINT = "3df5ecf9a136a5e7"


@pytest.fixture(scope="module")
def dataset():
    return synthetic.synthetic_reviews(SplitOptions())


def class_of(text):
    """Counts opinions sentence by sentence, from the published word lists alone."""
    score = 0
    for sentence in re.split(r"[.!]", text.replace("<br />", " ").lower()):
        words = set(sentence.split())
        opinion = len(words & set(synthetic.POSITIVE_WORDS))
        opinion -= len(words & set(synthetic.NEGATIVE_WORDS))
        score += -opinion if words & set(synthetic.NEGATIONS) else opinion
    assert score % 2 == 1
    return int(score > 0)


def test_synthetic_contents_are_the_same_everywhere(dataset):
    assert dataset.fingerprint == FINGERPRINT


def test_synthetic_sizes_and_source(dataset):
    sizes = {name: split.num_examples for name, split in dataset.splits().items()}
    assert sizes == {"train": 18_000, "validation": 2_000, "test": 5_000}
    assert dataset.is_synthetic
    assert dataset.class_names == ("negative", "positive")


def test_synthetic_oracle_reaches_best_possible_accuracy_and_no_more(dataset):
    assert synthetic.BEST_POSSIBLE_ACCURACY < 0.95
    right = [
        class_of(text) == label
        for split in dataset.splits().values()
        for text, label in zip(split.inputs["text"], split.labels, strict=True)
    ]
    # Three standard errors of a share of 0.92 among 25,000.
    assert abs(np.mean(right) - synthetic.BEST_POSSIBLE_ACCURACY) < 0.0052


def test_synthetic_classes_are_balanced(dataset):
    assert abs(dataset.train.labels.mean() - 0.5) < 0.02


def test_synthetic_words_fill_a_vocabulary_of_ten_thousand(dataset):
    words = {word for text in dataset.train.inputs["text"] for word in text.split()}
    assert len(words) > 10_000


def test_synthetic_word_lists_do_not_meet():
    fillers = synthetic._filler_words()
    lists = (synthetic.POSITIVE_WORDS, synthetic.NEGATIVE_WORDS, synthetic.NEGATIONS)
    words = [word for each in (*lists, synthetic._NOUNS, fillers) for word in each]
    assert len(set(words)) == len(words)


def test_synthetic_warning_states_the_best_possible_accuracy(dataset):
    assert "SYNTHETIC" in dataset.warning
    assert "best possible accuracy is 0.92" in dataset.warning
