"""Tests of the ZIP archive that a .tflite file may carry behind its flatbuffer."""

import io
import struct
import zipfile

import pytest

from tfcompress.errors import ModelFileError
from tfcompress.formats.tflite_trailer import append_trailer, read_trailer

LABELS = {"labels.txt": b"cat\ndog\n", "vocabulary.txt": b"[UNK]\n" * 400}
MODEL = b"\x1c\0\0\0TFL3" + bytes(range(256)) * 3


def _write_in_place(path):
    """Appends as tools do that open the model itself for appending."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in LABELS.items():
            archive.writestr(name, content)


def _write_concatenated(path):
    """Appends a finished archive, whose offsets are its own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in LABELS.items():
            archive.writestr(name, content)
        archive.comment = b"labels of the model"
    path.write_bytes(path.read_bytes() + buffer.getvalue())


def _contents(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(MODEL)
    return path


@pytest.mark.parametrize("write", [_write_in_place, _write_concatenated])
@pytest.mark.parametrize("length", [9, 70_001])
def test_append_trailer_keeps_what_read_trailer_found(model, tmp_path, write, length):
    write(model)
    other = tmp_path / "other.tflite"
    other.write_bytes(b"x" * length)
    append_trailer(other, read_trailer(model))
    assert other.read_bytes()[:length] == b"x" * length
    assert _contents(other) == _contents(model) == LABELS
    # Offsets are those of the whole file, which readers need that know no others.
    with zipfile.ZipFile(other) as archive:
        offsets = [info.header_offset for info in archive.infolist()]
    end = other.read_bytes().rpartition(b"PK\5\6")[2]
    directory = struct.unpack_from("<L", end, 12)
    assert offsets[0] == length < directory[0]
    assert other.read_bytes()[directory[0] :].startswith(b"PK\1\2")


@pytest.mark.parametrize("write", [_write_in_place, _write_concatenated])
def test_read_trailer_is_an_archive_by_itself(model, tmp_path, write):
    write(model)
    alone = tmp_path / "alone.zip"
    alone.write_bytes(read_trailer(model))
    assert alone.read_bytes().startswith(b"PK\3\4")
    assert _contents(alone) == LABELS


@pytest.mark.parametrize("content", [b"", b"PK", MODEL, MODEL + b"PK\5\6" + b"\1" * 30])
def test_read_trailer_without_archive_is_empty(model, content):
    model.write_bytes(content)
    assert read_trailer(model) == b""
    append_trailer(model, b"")
    assert model.read_bytes() == content


@pytest.mark.parametrize("mark", [b"PK\1\2", b"PK\3\4"])
def test_read_trailer_of_damaged_archive_raises(model, mark):
    _write_in_place(model)
    model.write_bytes(model.read_bytes().replace(mark, b"PK\7\7", 1))
    with pytest.raises(ModelFileError, match="model.tflite' carries a ZIP archive beh"):
        read_trailer(model)


def test_read_trailer_with_sizes_that_do_not_fit_raises(model):
    _write_in_place(model)
    head, _, end = model.read_bytes().rpartition(b"PK\5\6")
    huge = end[:8] + struct.pack("<L", 1 << 30) + end[12:]
    model.write_bytes(head + b"PK\5\6" + huge)
    with pytest.raises(ModelFileError, match="damaged or of more than 4 GB. Ta"):
        read_trailer(model)
