"""Splits, cuts and fingerprints on arrays that fit on a line."""

import numpy as np
import pytest

from tfcompress.data.dataset import (
    Dataset,
    Split,
    SplitOptions,
    cut,
    fingerprint,
    make_dataset,
    text_array,
)
from tfcompress.errors import DataError, InvalidValueError


def make_split(labels):
    texts = text_array([f"text {index}" for index in range(len(labels))])
    return Split({"text": texts}, labels)


def make(train_labels, test_labels=(0, 1), **options):
    return make_dataset(
        "toy",
        "file",
        make_split(train_labels),
        make_split(test_labels),
        ("no", "yes"),
        SplitOptions(**options),
    )


def test_split_labels_become_int32():
    assert make_split([0, 1]).labels.dtype == np.int32


def test_split_other_number_of_rows_raises():
    with pytest.raises(InvalidValueError, match="'x' has 2 rows, but there are 3"):
        Split({"x": np.zeros(2)}, [0, 1, 0])


def test_select_indices_keeps_their_order():
    selected = make_split([0, 1, 0, 1]).select([3, 0])
    assert selected.inputs["text"].tolist() == ["text 3", "text 0"]
    assert selected.labels.tolist() == [1, 0]


def test_text_array_equal_lengths_stays_one_dimensional():
    assert text_array(["ab", "cd"]).shape == (2,)


def test_cut_keeps_share_of_each_class_and_every_example():
    split = make_split([0] * 90 + [1] * 10)
    first, second = cut(split, 0.1, seed=0)
    assert np.bincount(first.labels).tolist() == [81, 9]
    assert np.bincount(second.labels).tolist() == [9, 1]
    both = {*first.inputs["text"], *second.inputs["text"]}
    assert both == set(split.inputs["text"])


def test_cut_seed_zero_gives_known_examples():
    # numpy guarantees the stream of RandomState for good.
    _, second = cut(make_split([0] * 5 + [1] * 5), 0.2, seed=0)
    assert second.inputs["text"].tolist() == ["text 2", "text 5"]


def test_cut_other_seed_gives_other_examples():
    split = make_split([0, 1] * 50)
    chosen = [cut(split, 0.1, seed)[1].inputs["text"].tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_cut_rare_class_is_in_both_parts():
    first, second = cut(make_split([0] * 50 + [1, 1]), 0.01, seed=0)
    assert 1 in first.labels
    assert 1 in second.labels


def test_make_dataset_limit_bounds_train_and_test():
    dataset = make([0, 1] * 50, [0, 1] * 20, limit=10, validation_fraction=0.2)
    sizes = [split.num_examples for split in dataset.splits().values()]
    assert sizes == [8, 2, 10]


def test_make_dataset_one_class_raises():
    with pytest.raises(DataError, match="'toy' has only one class in its training"):
        make([1, 1, 1])


def test_make_dataset_too_few_to_cut_raises():
    with pytest.raises(DataError, match="'toy' has 2 training examples, too few"):
        make([0, 1])


def test_make_dataset_empty_test_raises():
    with pytest.raises(DataError, match="has 2 training and 0 test examples"):
        make([0, 1], [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 0.0}, r"in \(0, 1\), got 0.0"),
        ({"validation_fraction": 1.0}, r"in \(0, 1\), got 1.0"),
        ({"limit": 1}, "limit must be at least 2 examples, or None for all, got 1"),
        ({"seed": -1}, r"seed must be in \[0, 2\*\*32\), got -1"),
    ],
)
def test_split_options_bad_value_raises(options, message):
    with pytest.raises(InvalidValueError, match=message):
        SplitOptions(**options)


def test_dataset_unknown_source_raises():
    split = make_split([0, 1])
    with pytest.raises(InvalidValueError, match="synthetic, arrays, got 'web'"):
        Dataset("toy", "web", split, split, split, ("no", "yes"), "0" * 16)


def test_map_inputs_replaces_texts_and_keeps_fingerprint():
    dataset = make([0, 1] * 10)
    mapped = dataset.map_inputs(
        lambda inputs: {"length": np.array([len(text) for text in inputs["text"]])}
    )
    assert list(mapped.train.inputs) == ["length"]
    assert mapped.test.inputs["length"].tolist() == [6, 6]
    assert mapped.fingerprint == dataset.fingerprint
    assert mapped.num_classes == 2
    assert not mapped.is_synthetic


def test_fingerprint_same_contents_agree_and_any_change_shows():
    split = make_split([0, 1])
    names = ("no", "yes")
    first = fingerprint([split], names)
    assert len(first) == 16
    assert first == fingerprint([make_split([0, 1])], names)
    changed = [
        fingerprint([make_split([1, 1])], names),
        fingerprint([split], ("no", "yep")),
        fingerprint([split, split], names),
        fingerprint([Split({"text": text_array(["text 0t", "ext 1"])}, [0, 1])], names),
        fingerprint([Split({"words": split.inputs["text"]}, [0, 1])], names),
    ]
    assert first not in changed
    assert len(set(changed)) == len(changed)


def test_fingerprint_numeric_inputs_depend_on_shape_and_dtype():
    arrays = [np.zeros((2, 2)), np.zeros((2, 2), np.float32), np.zeros((2, 4))]
    prints = {fingerprint([Split({"x": x}, [0, 1])], ()) for x in arrays}
    assert len(prints) == 3


def test_split_float_labels_are_never_cut():
    with pytest.raises(InvalidValueError, match="be whole, got 0.7 for example 0"):
        Split({"x": np.zeros(3)}, [0.7, -1.2, 2.9])


def test_split_labels_beyond_int32_never_wrap():
    with pytest.raises(InvalidValueError, match="got 4294967296 for example 1"):
        Split({"x": np.zeros(2)}, np.int64([0, 2**32]))


def test_split_whole_floats_are_labels():
    assert Split({"x": np.zeros(2)}, [0.0, 1.0]).labels.tolist() == [0, 1]
