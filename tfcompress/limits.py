"""Limits on files that others made, read before anything in them is unpacked.

Each is far above what an honest file has, and is there so that a damaged or hostile one
ends in a line, in seconds and in little memory. What is refused here is a `ValueError`
whose text is the reason; whoever reads a file turns it into its own error, with the
file's name and what to do.
"""

import json
import pathlib
import re
import reprlib
import zipfile

import numpy as np

# The largest tokenizer.json in common use, of 256,000 entries, has 34 MB; the records
# and manifests of ours have some kilobytes.
MAX_JSON_BYTES = 64 * 2**20
# Keras's configurations nest six levels for each model within a model; ours five.
MAX_JSON_DEPTH = 100
# What is compressed well may unpack to this anyway; images and texts shrink 2 to 10
# times, and an honest file that shrinks more is written again without compression.
MAX_UNPACKED_BYTES = 512 * 2**20
MAX_UNPACKED_RATIO = 20
MAX_ZIP_ENTRIES = 10_000

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))
_STRINGS = re.compile(rb'"[^"]*"?')
_BRACKETS_AT_ONCE = 2**20
_ENCRYPTED = 0x1
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 120
_SHOWN.maxlong, _SHOWN.maxlevel = 60, 3


def shown(value):
    """Returns the `repr` of a value, cut so that it fits into a line.

    >>> shown("short"), len(shown("long" * 1000)) < 130
    ("'short'", True)
    """
    return _SHOWN.repr(value)


def check_path(path):
    """Refuses a path that the runtimes, which take UTF-8, cannot be given.

    Args:
        path: a path.
    Returns:
        `pathlib.Path` of it.
    Raises:
        ValueError: if its name is not UTF-8, or holds a NUL.

    >>> check_path("model.onnx").name
    'model.onnx'
    """
    path = pathlib.Path(path)
    try:
        is_plain = b"\0" not in str(path).encode("utf-8")
    except UnicodeEncodeError:
        is_plain = False
    if not is_plain:
        raise ValueError(
            f"the path {str(path)!r} is not UTF-8, or holds a NUL. Rename the file or "
            "its folder."
        )
    return path


def read_json(path, *, max_bytes=MAX_JSON_BYTES):
    """Reads a JSON file: UTF-8, of bounded size and depth, no key twice.

    Args:
        path: `pathlib.Path` of the file.
        max_bytes: its largest size.
    Returns:
        What it holds.
    Raises:
        ValueError: if it is not such a file; the text says why.
        OSError: if it cannot be read.
    """
    size = path.stat().st_size
    if size > max_bytes:
        raise ValueError(f"it has {size:,} bytes, and at most {max_bytes:,} are read")
    return parse_json(path.read_bytes())


def parse_json(data):
    """Parses JSON as `read_json` does.

    Args:
        data: bytes.
    Returns:
        What they hold.
    Raises:
        ValueError: if they are no JSON, nested too deep, or have a key twice.

    >>> parse_json(b'{"a": [1]}')
    {'a': [1]}
    """
    check_json_depth(data)
    return json.loads(data.decode("utf-8"), object_pairs_hook=_unique)


def check_json_depth(data, *, max_depth=MAX_JSON_DEPTH):
    """Raises `ValueError` if JSON is nested too deep; the rest of it is not checked.

    Parsers recurse: some end the process on deep nesting, some take minutes.

    Args:
        data: bytes of one or of many JSON values.
        max_depth: most levels of lists and objects.
    """
    # What is left are quotes and brackets; first go the quotes that are escaped.
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")
    brackets = _STRINGS.sub(b"", plain.translate(None, _NOT_STRUCTURE))
    depth = 0
    for start in range(0, len(brackets), _BRACKETS_AT_ONCE):
        part = np.frombuffer(brackets[start : start + _BRACKETS_AT_ONCE], np.uint8)
        levels = depth + np.cumsum(np.where(np.isin(part, list(b"[{")), 1, -1))
        if levels.max() > max_depth:
            raise ValueError(
                f"it is nested {int(levels.max())} levels deep or deeper, and at most "
                f"{max_depth} are read"
            )
        depth = int(levels[-1])


def check_zip(path):
    """Reads the directory of a zip file and nothing else.

    Args:
        path: path of the file.
    Returns:
        Dict of name -> `zipfile.ZipInfo`.
    Raises:
        ValueError: if it is no zip file, holds a name twice or an entry that is
            encrypted or compressed by an unusual method, has too many entries, or would
            unpack to far more than it has.
        OSError: if it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OverflowError) as error:
        raise ValueError(f"it is no whole zip file ({error})") from error
    if len(infos) > MAX_ZIP_ENTRIES:
        raise ValueError(
            f"it has {len(infos):,} entries, and at most {MAX_ZIP_ENTRIES:,} are read"
        )
    entries = {info.filename: info for info in infos}
    if len(entries) < len(infos):
        raise ValueError("it has two entries of one name")
    for info in infos:
        if info.flag_bits & _ENCRYPTED:
            raise ValueError(f"its entry {shown(info.filename)} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(
                f"its entry {shown(info.filename)} is compressed by the unusual method "
                f"{info.compress_type}"
            )
    check_unpacked(sum(info.file_size for info in infos), pathlib.Path(path))
    return entries


def check_unpacked(num_bytes, path):
    """Raises `ValueError` where a file holds far more than it has bytes.

    Args:
        num_bytes: what it unpacks to.
        path: `pathlib.Path` of it.
    """
    size = path.stat().st_size
    if num_bytes > max(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * size):
        raise ValueError(
            f"its {size:,} bytes unpack to {num_bytes:,}, more than "
            f"{MAX_UNPACKED_RATIO} times as many. If that is meant, write it again "
            "without compression"
        )


def _unique(pairs):
    value = dict(pairs)
    if len(value) < len(pairs):
        seen = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {shown(twice)} stands in it twice")
    return value
