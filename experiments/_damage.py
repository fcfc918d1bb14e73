"""Damages files, by seed: as disks and networks do, and as one who knows the format.

A file is bytes; a kind of damage is a function of them and a random generator. Where
the format is known (JSON, zip archives, XML), fields are changed and the file stays
whole.
"""

import io
import json
import re
import zipfile

import numpy as np

# Numbers that readers trip over, as little-endian integers of 4 and 8 bytes.
_EXTREMES = (0, 1, 2, 7, 255, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_LARGE = (*_EXTREMES, 2**32, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
_VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        10**30,
        0.5,
        1e308,
        "",
        "x",
        "a" * 300,
    ),
    *("\ud800", "\0", "../x", "int99", [], {}, [[]], {"a": 1}, [1, 2, 3], [None]),
)
_MAX_BLOCK = 64  # bytes that are moved, repeated or zeroed at once
_DIGITS = re.compile(rb"[0-9]+")
_ATTRIBUTE = re.compile(rb'="[^"]*"')


def damage(data, suffix, random):
    """Damages the bytes of a file.

    Args:
        data: bytes.
        suffix: of the file, such as `".json"`.
        random: `numpy.random.Generator`.
    Returns:
        Other bytes, once in a while the same.
    """
    knowing = _KNOWING.get(suffix)
    if knowing is not None and random.random() < 0.5:
        return knowing(data, random)
    return _pick(_BLIND, random)(data, random)


def _pick(choices, random):
    return choices[int(random.integers(len(choices)))]


def _place(data, random, size=1):
    return int(random.integers(max(1, len(data) - size + 1)))


def _block(data, random):
    """Returns the start and the end of a short part."""
    start = _place(data, random)
    return start, start + int(random.integers(1, _MAX_BLOCK))


def _cut(data, random):
    return data[: int(random.integers(len(data) + 1))]


def _cut_front(data, random):
    return data[int(random.integers(1, 17)) :]


def _flip_bits(data, random):
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 9)) if changed else 0):
        changed[_place(data, random)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _set_byte(data, random):
    changed = bytearray(data)
    if changed:
        changed[_place(data, random)] = _pick((0, 1, 127, 128, 255), random)
    return bytes(changed)


def _zero(data, random):
    start, end = _block(data, random)
    return data[:start] + bytes(len(data[start:end])) + data[end:]


def _scramble(data, random):
    start, end = _block(data, random)
    return data[:start] + random.bytes(len(data[start:end])) + data[end:]


def _repeat(data, random):
    start, end = _block(data, random)
    return data[:end] + data[start:end] * int(random.integers(1, 4)) + data[end:]


def _remove(data, random):
    start, end = _block(data, random)
    return data[:start] + data[end:]


def _swap(data, random):
    (start, end), other = _block(data, random), _place(data, random)
    changed, size = bytearray(data), len(data[start:end])
    changed[other : other + size], changed[start:end] = (
        data[start:end],
        data[other : other + size],
    )
    return bytes(changed)


def _append(data, random):
    return data + random.bytes(int(random.integers(1, _MAX_BLOCK)))


def _set_number(data, random):
    size = _pick((2, 4, 8), random)
    number = _pick(_LARGE if size == 8 else _EXTREMES, random) % 2 ** (8 * size)
    start = _place(data, random, size) // size * size
    return data[:start] + number.to_bytes(size, "little") + data[start + size :]


def _insert_varint(data, random):
    start = _place(data, random)
    varint = b"\xff" * int(random.integers(1, 10)) + b"\x01"
    return data[:start] + varint + data[start + int(random.integers(0, 3)) :]


def _change_digits(data, random):
    found = list(_DIGITS.finditer(data))
    if not found:
        return _flip_bits(data, random)
    match = _pick(found, random)
    number = str(_pick((*_LARGE, -1, "1e999", "9" * 5000), random)).encode()
    return data[: match.start()] + number + data[match.end() :]


_BLIND = (
    *(_cut, _cut_front, _flip_bits, _flip_bits, _set_byte, _zero, _scramble, _repeat),
    *(_remove, _swap, _append, _set_number, _set_number, _insert_varint),
    _change_digits,
)


def _change_json(data, random):
    """Replaces a value anywhere in JSON by one of another kind, or repeats a key."""
    value = json.loads(data)
    places = list(_places(value))
    if not places:
        return _flip_bits(data, random)
    holder, key = _pick(places, random)
    action = random.random()
    if action < 0.1:
        del holder[key]
    elif action < 0.2 and isinstance(holder, dict):
        holder[str(key) + "_"] = holder[key]
    elif action < 0.25:
        depth = _pick((50, 150, 2_000, 100_000), random)
        holder[key] = "DEEP"
        text = json.dumps(value)
        return text.replace('"DEEP"', "[" * depth + "]" * depth, 1).encode()
    elif action < 0.35 and isinstance(holder, dict):
        marked = dict(holder) | {"TWICE": holder[key]}
        holder.clear()
        holder.update(marked)
        return json.dumps(value).replace('"TWICE"', json.dumps(str(key)), 1).encode()
    else:
        holder[key] = _pick(_VALUES, random)
    return json.dumps(value).encode()


def _places(value):
    """Yields each list or dict within a value, with each of its keys."""
    if isinstance(value, list | dict):
        for key in range(len(value)) if isinstance(value, list) else list(value):
            yield value, key
            yield from _places(value[key])


def _change_lines(data, random):
    """Changes a line of a text: one of JSON, or the fields of a table."""
    lines = data.split(b"\n")
    index = int(random.integers(len(lines)))
    if lines[index].startswith(b"{"):
        lines[index] = _change_json(lines[index], random)
    else:
        lines[index] = _pick(
            (lines[0], lines[index] * 2, b"", b'"', b"\xff", b",,,\t\t", b"\0", b"-5"),
            random,
        )
    return b"\n".join(lines)


def _change_xml(data, random):
    """Replaces the value of an attribute by an extreme one."""
    match = _pick(list(_ATTRIBUTE.finditer(data)), random)
    values = (
        "",
        "-1",
        "0",
        "2147483647",
        "9223372036854775807",
        "1e9",
        "1,-1,?",
        "f99",
    )
    value = f'="{_pick(values, random)}"'.encode()
    return data[: match.start()] + value + data[match.end() :]


def _change_zip(data, random):
    """Damages an entry of an archive; checksums are right again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = _pick(list(entries), random)
    suffix = "." + name.rpartition(".")[2]
    if random.random() < 0.1:
        del entries[name]
    elif suffix == ".npy" and random.random() < 0.5:
        entries[name] = _change_header(entries[name], random)
    else:
        entries[name] = damage(entries[name], suffix, random)
    packed = io.BytesIO()
    method = _pick((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED), random)
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, entry in entries.items():
            archive.writestr(name, entry)
    return packed.getvalue()


def _change_header(data, random):
    """Writes another header over that of an .npy array."""
    shapes = ((), (0,), (40,), (-1,), (2**40,), (2**31, 2**31), (40, 1), (1,) * 40)
    dtypes = ("<i8", "<u8", "<f4", "|O", "<U9", "|b1", "<M8[s]", "|V0", "<c8", "<f9")
    fields = {
        "descr": _pick(dtypes, random),
        "fortran_order": bool(random.integers(2)),
        "shape": _pick(shapes, random),
    }
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, fields)
    return head.getvalue() + data[128:]


_KNOWING = {
    ".json": _change_json,
    ".xml": _change_xml,
    ".keras": _change_zip,
    ".npz": _change_zip,
    **dict.fromkeys((".jsonl", ".csv", ".tsv", ".txt"), _change_lines),
}
