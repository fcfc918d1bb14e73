"""Tests of limits: what is refused before it is unpacked."""

import zipfile

import pytest

from tfcompress import limits


@pytest.mark.parametrize(
    "data", [b"[" * 100 + b"]" * 100, b'{"a": "[[[["}' * 200, b'"\\"[" [1]', b"", b"["]
)
def test_check_json_depth_within_the_limit(data):
    limits.check_json_depth(data)


@pytest.mark.parametrize(
    "data", [b"[" * 101, b'{"a":' * 101, b'"\\\\"' + b"[" * 101, b"[]" * 9 + b"[" * 101]
)
def test_check_json_depth_beyond_the_limit_raises(data):
    with pytest.raises(
        ValueError, match="nested 101 levels deep or deeper, and at mos"
    ):
        limits.check_json_depth(data)


def test_parse_json_key_twice_raises_at_any_depth():
    with pytest.raises(ValueError, match="the key 'b' stands in it twice"):
        limits.parse_json(b'{"a": [{"b": 1, "b": 1}]}')


def test_read_json_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="it has 1,099,511,627,776 bytes, and at most"):
        limits.read_json(path)


def edit_name(archive):
    archive.writestr("a", b"")
    archive.writestr("b", b"")
    archive.infolist()[1].filename = "a"


def edit_method(archive):
    archive.writestr("a", b"", zipfile.ZIP_LZMA)


def edit_flags(archive):
    archive.writestr("a", b"")
    archive.infolist()[0].flag_bits |= 1


def edit_size(archive):
    archive.writestr("a", b"")
    archive.infolist()[0].file_size = 2**33


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_name, "it has two entries of one name"),
        (edit_method, "its entry 'a' is compressed by the unusual method 14"),
        (edit_flags, "its entry 'a' is encrypted"),
        (edit_size, "unpack to 8,589,934,592, more than 20 times as many"),
    ],
)
def test_check_zip_refuses_by_the_directory(tmp_path, edit, message):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        edit(archive)
    with pytest.raises(ValueError, match=message):
        limits.check_zip(path)


def test_check_zip_large_file_without_compression_passes(tmp_path):
    path = tmp_path / "a.zip"
    with path.open("wb") as file:
        file.truncate(2**30)  # sparse
    limits.check_unpacked(2**34, path)


@pytest.mark.parametrize("name", ["a\udcff", "a\0b"])
def test_check_path_that_no_runtime_takes_raises(name):
    with pytest.raises(ValueError, match="is not UTF-8, or holds a NUL. Rename"):
        limits.check_path(name)
