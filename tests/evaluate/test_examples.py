"""Examples, to a file and back."""

import numpy as np
import pytest

from tfcompress.errors import DataError
from tfcompress.evaluate.examples import read_examples, write_examples


def test_arrays_round_trip_keeps_dtype_and_values(tmp_path):
    arrays = {"tokens": np.arange(6, dtype=np.int32).reshape(3, 2), "mask": np.ones(3)}
    write_examples(tmp_path / "a.npz", arrays)
    read = read_examples(tmp_path / "a.npz")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_texts_round_trip_keeps_line_ends_and_letters(tmp_path):
    texts = ["one\ntwo", "", "clichéd \u2028 \U0001f600 \ud800", '"quoted"']
    write_examples(tmp_path / "a.jsonl", np.array(texts, object))
    assert read_examples(tmp_path / "a.jsonl") == texts


def test_write_examples_wrong_suffix_raises(tmp_path):
    with pytest.raises(DataError, match=r"go to a \.npz file, got 'a\.jsonl'"):
        write_examples(tmp_path / "a.jsonl", {"x": np.zeros(1)})
    with pytest.raises(DataError, match=r"go to a \.jsonl file, got 'a\.npz'"):
        write_examples(tmp_path / "a.npz", ["x"])


def test_read_examples_wrong_suffix_raises(tmp_path):
    with pytest.raises(DataError, match=r"are a \.npz or a \.jsonl file, got .*a\.csv"):
        read_examples(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npz", b""),
        ("a.npz", b"junk"),
        ("a.npz", b"PK\x03\x04junk"),
        ("a.jsonl", b"junk"),
        ("a.jsonl", b"[1]\n"),
        ("a.jsonl", b'{"label": 1}\n'),
    ],
)
def test_read_examples_damaged_raises(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}' holds no examples: "):
        read_examples(tmp_path / name)


def test_read_examples_never_unpickles(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], object))
    with pytest.raises(DataError, match="holds no examples: Object arrays cannot be"):
        read_examples(tmp_path / "a.npz")
