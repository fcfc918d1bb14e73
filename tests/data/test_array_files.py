"""Tests of arrays from .npz files, good and bad."""

import numpy as np
import pytest

from tfcompress.data.array_files import load_from_arrays
from tfcompress.data.dataset import SplitOptions
from tfcompress.errors import DataError

OPTIONS = SplitOptions()


@pytest.fixture
def write(tmp_path):
    """Returns `write(name, **arrays)`, which gives the path as text."""

    def write(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return str(tmp_path / name)

    return write


def test_load_from_arrays_one_file_is_cut_in_three(write):
    labels = np.arange(40) % 4
    path = write("a.npz", x=np.arange(40.0), labels=labels)
    dataset = load_from_arrays(path, OPTIONS)
    sizes = {name: split.num_examples for name, split in dataset.splits().items()}
    assert sizes == {"train": 32, "validation": 4, "test": 4}
    assert dataset.class_names == ("0", "1", "2", "3")
    for split in dataset.splits().values():
        assert np.array_equal(split.inputs["x"] % 4, split.labels)


def test_load_from_arrays_two_files_are_train_and_test(write):
    train = write("a.npz", x=np.arange(20), labels=np.arange(20) % 2)
    test = write("b.npz", x=np.arange(3), labels=np.zeros(3, np.int64))
    dataset = load_from_arrays(f"{train},{test}", OPTIONS)
    assert dataset.name == "a.npz,b.npz"
    assert dataset.test.inputs["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(4)}, r"needs whole numbers of shape \(examples,\) under"),
        ({"x": np.zeros(4), "labels": np.zeros(4)}, "needs whole numbers"),
        ({"labels": np.zeros(4, int)}, "holds labels alone"),
        ({"x": np.zeros(3), "labels": np.zeros(4, int)}, "has shape .* are 4 labels"),
        ({"x": np.float32([np.nan] * 4), "labels": np.zeros(4, int)}, "holds NaN"),
        ({"x": np.zeros(4), "labels": np.int32([0, 1, -1, 0])}, "must be from 0 on"),
    ],
)
def test_load_from_arrays_bad_arrays_raise(write, arrays, message):
    with pytest.raises(DataError, match=message):
        load_from_arrays(write("a.npz", **arrays), OPTIONS)


def test_load_from_arrays_label_that_train_lacks_raises(write):
    train = write("a.npz", x=np.arange(20), labels=np.arange(20) % 2)
    test = write("b.npz", x=np.arange(3), labels=np.int32([0, 1, 2]))
    message = "has the label 2, which the training file lacks; its labels go to 1"
    with pytest.raises(DataError, match=message):
        load_from_arrays(f"{train},{test}", OPTIONS)


def test_load_from_arrays_three_files_raise():
    with pytest.raises(DataError, match="names 3 files"):
        load_from_arrays("a.npz,b.npz,c.npz", OPTIONS)


def test_load_from_arrays_missing_file_raises(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        load_from_arrays(str(tmp_path / "a.npz"), OPTIONS)


def test_load_from_arrays_pickle_is_not_loaded(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{}, {}], dtype=object), labels=np.int32([0, 1]))
    with pytest.raises(DataError, match=r"is no \.npz file of plain arrays"):
        load_from_arrays(str(path), OPTIONS)


def test_load_from_arrays_other_file_raises(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("text")
    with pytest.raises(DataError, match=r"is no \.npz file of plain arrays"):
        load_from_arrays(str(path), OPTIONS)
