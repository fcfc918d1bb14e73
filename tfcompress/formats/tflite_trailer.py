"""The ZIP archive that a .tflite file may carry behind its flatbuffer.

Tools that describe models append one: labels and vocabularies, as "associated files" of
the model's metadata. Readers look for it from the file's end, so that whoever writes
the flatbuffer anew has to carry it over. Nothing is unpacked here.

Source: the ZIP file format (PKWARE APPNOTE 6.3, sections 4.3.12 and 4.3.16).
"""

import pathlib
import struct

from tfcompress.errors import ModelFileError

# The record at the end: disks, entries, size and offset of the directory, comment.
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_MAX_COMMENT = 0xFFFF

# An entry of the directory: its name, extra field and comment lie behind it.
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ENTRY_MARK = b"PK\x01\x02"
_OFFSET_PLACE = 42
_FILE_MARK = b"PK\x03\x04"
_IN_64_BITS = 0xFFFFFFFF


def read_trailer(path):
    """Reads the ZIP archive behind a .tflite file's flatbuffer.

    Args:
        path: path of the file.
    Returns:
        bytes of the archive, whose offsets are those of an archive by itself; empty
        where the file carries none.
    Raises:
        ModelFileError: if there is one that is damaged.
        OSError: if the file cannot be read.
    """
    data = pathlib.Path(path).read_bytes()
    end = _find_end(data)
    if end is None:
        return b""
    *_, size, offset, _ = _END.unpack_from(data, end)
    # Tools count offsets from the file's start, or append an archive as it is.
    shift = end - size - offset
    places = list(_entry_offsets(data, end - size, end, path))
    starts = [offset + shift for _, offset in places]
    if shift < 0 or any(data[s : s + 4] != _FILE_MARK for s in starts):
        raise _damaged(path)
    start = min([*starts, end - size])
    return _move(data[start:], shift - start)


def append_trailer(path, trailer):
    """Appends an archive to a .tflite file.

    Args:
        path: path of the file, which is written anew.
        trailer: what `read_trailer` returned; nothing is done where it is empty.
    """
    if trailer:
        with pathlib.Path(path).open("ab") as file:
            # Offsets from the start of the file: those that all readers understand.
            file.write(_move(trailer, file.tell()))


def _find_end(data):
    """Returns where the record at the end lies, None if there is no archive."""
    lowest = max(0, len(data) - _END.size - _MAX_COMMENT)
    place = data.rfind(_END_MARK, lowest)
    while place >= 0:
        if place + _END.size <= len(data):
            comment = _END.unpack_from(data, place)[-1]
            if place + _END.size + comment == len(data):
                return place
        place = data.rfind(_END_MARK, lowest, place)
    return None


def _entry_offsets(data, start, end, path):
    """Yields, for each entry of the directory, where its offset stands, and the offset.

    Raises:
        ModelFileError: if the directory is no list of entries.
    """
    place = start
    while place != end:
        if place < 0 or place + _ENTRY.size > end:
            raise _damaged(path)
        mark, *fields = _ENTRY.unpack_from(data, place)
        *_, name, extra, comment, _, _, _, offset = fields
        if mark != _ENTRY_MARK or offset == _IN_64_BITS:
            raise _damaged(path)
        yield place + _OFFSET_PLACE, offset
        place += _ENTRY.size + name + extra + comment


def _move(archive, distance):
    """Returns an archive whose offsets are greater by `distance`."""
    moved = bytearray(archive)
    end = _find_end(archive)
    *_, size, offset, _ = _END.unpack_from(archive, end)
    for place, each in _entry_offsets(archive, end - size, end, "archive"):
        struct.pack_into("<L", moved, place, each + distance)
    struct.pack_into("<L", moved, end + 16, offset + distance)
    return bytes(moved)


def _damaged(path):
    return ModelFileError(
        f"{str(path)!r} carries a ZIP archive behind its model that is damaged or of "
        "more than 4 GB. Take it off, or write it anew."
    )
