"""Tests of arrays from .npz files, good and bad."""

import io
import pathlib
import zipfile

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
        ({"x": np.zeros(4), "labels": np.float32([0, 0.5, 1, 1])}, "be whole, got 0.5"),
        ({"x": np.zeros(4), "labels": np.eye(4, 3)}, r"take labels.argmax\(axis=1\)"),
        ({"x": np.zeros(4), "labels": np.array(list("abcd"))}, "Number the classes"),
        ({"x": np.zeros(2), "labels": np.int64([2**32, 2**32 + 1])}, "got 4294967296"),
        ({"x": np.zeros(2), "labels": np.uint64([0, 2**63])}, "got 92233720368547758"),
        ({"x": np.zeros(2), "labels": np.int32([0, 10**9])}, "go to 999999 at most"),
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


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint64", "float32"])
def test_load_from_arrays_takes_labels_of_any_type(write, dtype):
    labels = (np.arange(40) % 2).astype(dtype)
    path = write("a.npz", x=np.arange(40.0), labels=labels)
    dataset = load_from_arrays(path, OPTIONS)
    for split in dataset.splits().values():
        assert split.labels.dtype == np.int32
        assert np.array_equal(split.inputs["x"] % 2, split.labels)


def write_header(path, shape, *, num_bytes=0):
    """Writes an .npz file of headers whose directory tells of `num_bytes` each."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"shape": shape, "fortran_order": False, "descr": "<f4"}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x.npy", "labels.npy"):
            archive.writestr(name, header.getvalue())
        for info in archive.infolist():
            info.file_size += num_bytes
    return str(path)


def test_load_from_arrays_header_of_terabytes_raises(tmp_path):
    path = write_header(tmp_path / "a.npz", (11 * 2**40,))
    with pytest.raises(DataError, match="needs 48378511622144 bytes and has 0"):
        load_from_arrays(path, OPTIONS)


def test_load_from_arrays_bomb_of_zeros_raises(tmp_path):
    path = write_header(tmp_path / "a.npz", (2**31,), num_bytes=2**33)
    with pytest.raises(DataError, match="bytes unpack to .* write it again without"):
        load_from_arrays(path, OPTIONS)


@pytest.mark.parametrize("seed", range(20))
def test_load_from_arrays_damaged_file_is_refused_or_right(write, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(40) % 2
    path = pathlib.Path(write("a.npz", x=np.arange(40.0), labels=labels))
    data = bytearray(path.read_bytes())
    if seed % 2:
        data = data[: rng.integers(0, len(data))]
    else:
        data[rng.integers(0, len(data))] ^= 1 << rng.integers(0, 8)
    path.write_bytes(data)
    try:
        dataset = load_from_arrays(str(path), OPTIONS)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        for split in dataset.splits().values():
            assert np.array_equal(split.inputs["x"] % 2, split.labels)
