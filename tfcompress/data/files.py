"""Texts and labels from CSV, TSV, JSONL and Parquet files.

One file is cut by seed into train, validation and test with the share of each class
kept; of a pair of files, or a folder that holds `train` and `test`, the second is the
test split.
"""

import dataclasses
import json
import pathlib
import re

import numpy as np

from tfcompress.data.dataset import Split, cut, make_dataset, text_array
from tfcompress.errors import DataError, require
from tfcompress.limits import check_json_depth

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
TEST_FRACTION = 0.1  # of a single file
DEFAULT_COLUMNS = ("text", "label")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
# The largest sets of labelled texts have 4 million rows; as Python's texts these take
# 1 GB.
MAX_ROWS = 5_000_000
MAX_TEXT_BYTES = 2**30
# pyarrow takes memory for a block of each column.
MAX_COLUMNS = 5_000
MAX_FILE_BYTES = 2**31 - 2  # pyarrow parses a block at once, and a file is one
_HEAD_BYTES = 2**20  # of JSON lines, from which the types of columns are known
_NUM_NAMED = 20  # columns or labels in a message
_LINE_END = re.compile(rb"[\r\n]")
_WHITE_SPACE = re.compile(r"[ \t\r\n]*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def is_file_name(name):
    """Says whether a dataset's name means files: by its suffix, or a folder of them.

    >>> is_file_name("reviews.csv"), is_file_name("a.tsv,b.tsv"), is_file_name("glue")
    (True, True, False)
    """
    if any(part.strip().lower().endswith(SUFFIXES) for part in name.split(",")):
        return True
    return _pair_in_folder(name) is not None


def load_from_files(name, options, *, columns=(None, None)):
    """Reads a dataset from files.

    Args:
        name: path of a file with one of `SUFFIXES`; two with a comma between them,
            train and test; or a folder with `train` and `test` of one suffix. A single
            file gives a tenth of its rows to the test split and the share
            `validation_fraction` of them to the validation split.
        options: `SplitOptions`.
        columns: names of the text column, strings, and of the label column, strings or
            integers; `None` stands for `DEFAULT_COLUMNS`. Class names are the labels
            of train, sorted (by value where all are integers).
    Returns:
        `Dataset` of source `"file"`, named by the file names without their folders.
    Raises:
        DataError: if a file is missing, empty, not UTF-8 or of another form, a column
            is missing or has empty labels, a label of test is not in train, or there is
            only one class.
        MissingDependencyError: if `pyarrow` is not installed.
    """
    columns = tuple(
        given or usual for given, usual in zip(columns, DEFAULT_COLUMNS, strict=True)
    )
    if columns[0] == columns[1]:
        raise DataError(
            f"text_column and label_column are both {columns[0]!r}. Choose two columns."
        )
    paths = _paths(name)
    tables = [_read_columns(path, columns) for path in paths]
    label_rank = _rank_labels(tables[0][1])
    splits = [
        Split({"text": text_array(texts)}, _to_ids(path, labels, label_rank))
        for path, (texts, labels) in zip(paths, tables, strict=True)
    ]
    if len(splits) == 1:
        splits = cut(splits[0], TEST_FRACTION, options.seed)
        share = options.validation_fraction / (1 - TEST_FRACTION)
        options = dataclasses.replace(options, validation_fraction=share)
    title = ",".join(path.name for path in paths)
    return make_dataset(title, "file", *splits, list(label_rank), options)


def _paths(name):
    """Returns one path, or those of train and test."""
    pair = _pair_in_folder(name)
    paths = pair or [pathlib.Path(part.strip()) for part in name.split(",")]
    if len(paths) > 2:
        raise DataError(
            f"{name!r} names {len(paths)} files. Name one, or train and test with a "
            "comma between them."
        )
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"File {str(path)!r} does not end in one of {', '.join(SUFFIXES)}."
            )
        if not path.is_file():
            raise DataError(
                f"There is no file {str(path)!r}. Check the path; it is relative to "
                "the folder in which the command runs."
            )
    return paths


def _pair_in_folder(name):
    folder = pathlib.Path(name)
    for suffix in SUFFIXES:
        pair = [folder / f"{split}{suffix}" for split in ("train", "test")]
        if folder.is_dir() and all(path.is_file() for path in pair):
            return pair
    return None


def _read_columns(path, columns):
    """Returns the texts and the labels of a file as lists; no label is empty."""
    pyarrow = require("pyarrow", extra="data")
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise _too_large(path, f"{size:,} bytes", f"{MAX_FILE_BYTES:,}")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read file {str(path)!r}: {error.strerror}.") from error
    if path.suffix.lower() != ".parquet":
        data = data.removeprefix(_BYTE_ORDER_MARK)
        _check_utf8(path, data)
    if not data.strip():
        raise DataError(f"File {str(path)!r} is empty.")
    try:
        table = _READERS[path.suffix.lower()](data, columns)
        table.validate(full=True)
    except _MissingColumnError as error:
        raise DataError(
            f"File {str(path)!r} has no column {error.args[0]!r}; its columns are "
            f"{_listed(error.args[1])}. Choose text_column and label_column."
        ) from error
    except (ValueError, pyarrow.ArrowException, OSError) as error:
        # pyarrow's ArrowInvalid is a ValueError, and so are our limits
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise DataError(f"File {str(path)!r} cannot be read: {reason}.") from error
    if table.num_rows == 0:
        raise DataError(f"File {str(path)!r} has no rows.")
    _check_size(path, table)
    texts, labels = (_plain(table.column(column)) for column in columns)
    _check_kinds(path, columns, (texts.type, labels.type))
    texts, labels = texts.to_pylist(), labels.to_pylist()
    _check_rows(path, columns[0], texts, (None,))
    _check_rows(path, columns[1], labels, (None, ""))
    return texts, [str(label) for label in labels]


def _listed(names):
    listed = ", ".join(" ".join(str(name).split()) for name in names[:_NUM_NAMED])
    more = len(names) - _NUM_NAMED
    return f"{listed} and {more:,} more" if more > 0 else listed


def _check_size(path, table):
    """Refuses what would be too large as Python's texts."""
    from pyarrow import compute, types

    if table.num_rows > MAX_ROWS:
        raise _too_large(path, f"{table.num_rows:,} rows", f"{MAX_ROWS:,}")
    for column in table.columns:
        size = column.nbytes
        for chunk in column.chunks if types.is_dictionary(column.type) else ():
            # each row becomes a text of its own, however often it stands in the file
            values = chunk.dictionary
            if types.is_string(values.type) or types.is_large_string(values.type):
                lengths = compute.binary_length(values)
                total = compute.sum(compute.take(lengths, chunk.indices)).as_py()
                size += total or 0
        if size > MAX_TEXT_BYTES:
            raise _too_large(path, f"{size:,} bytes of texts", f"{MAX_TEXT_BYTES:,}")


def _too_large(path, what, most):
    return DataError(
        f"File {str(path)!r} has {what}, and at most {most} are read. Write a part of "
        "the rows to a file of its own."
    )


def _plain(column):
    """Returns a column that stands as codes and a dictionary as its values."""
    import pyarrow

    values = pyarrow.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if values else column


class _MissingColumnError(Exception):
    """A column that was asked for, and those that there are."""


def _select(names, columns):
    for column in columns:
        if column not in names:
            raise _MissingColumnError(column, names)
    return list(columns)


def _read_delimited(data, columns, delimiter):
    from pyarrow import BufferReader, csv

    head = _first_record(data)
    if head.count(delimiter.encode()) >= MAX_COLUMNS:
        raise ValueError(f"it has more than {MAX_COLUMNS:,} columns")
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    names = csv.read_csv(BufferReader(head), parse_options=parse).column_names
    convert = csv.ConvertOptions(
        include_columns=_select(names, columns),
        column_types=dict.fromkeys(columns, "string"),
        strings_can_be_null=False,
    )
    read = csv.ReadOptions(block_size=len(data) + 1)  # no row reaches beyond its block
    return csv.read_csv(BufferReader(data), read, parse, convert)


def _first_record(data):
    """Returns the bytes to the end of the first line that ends outside of quotes."""
    start = 0
    is_quoted = False
    for end in _LINE_END.finditer(data):
        is_quoted ^= data.count(b'"', start, end.start()) % 2 == 1
        start = end.end()
        if not is_quoted and data[:start].strip():
            return data[:start]
    return data


def _read_csv(data, columns):
    return _read_delimited(data, columns, ",")


def _read_tsv(data, columns):
    return _read_delimited(data, columns, "\t")


def _read_jsonl(data, columns):
    """Reads two columns and passes over others, of which each row could have new ones.

    Their types are those of the first rows.
    """
    import pyarrow
    from pyarrow import json as arrow_json

    check_json_depth(data)
    rows = _first_rows(data)
    names = list(dict.fromkeys(key for row in rows for key in row))
    if rows:
        _select(names, columns)
    kinds = [pyarrow.infer_type([row.get(key) for row in rows]) for key in columns]
    kinds = [
        pyarrow.string() if pyarrow.types.is_null(kind) else kind for kind in kinds
    ]
    parse = arrow_json.ParseOptions(
        explicit_schema=pyarrow.schema(list(zip(columns, kinds, strict=True))),
        unexpected_field_behavior="ignore",
    )
    read = arrow_json.ReadOptions(block_size=len(data) + 1)
    table = arrow_json.read_json(pyarrow.BufferReader(data), read, parse)
    return table.select(list(columns))


def _first_rows(data):
    """Returns the objects at the beginning of JSON lines, as far as they are such."""
    decoder = json.JSONDecoder()
    text = data[:_HEAD_BYTES].decode("utf-8", "ignore")
    if not text.strip().count("\n") and len(data) > _HEAD_BYTES:
        text = data.decode("utf-8")  # a row alone is longer
    rows, start = [], 0
    while start < len(text):
        try:
            row, start = decoder.raw_decode(text, start)
        except ValueError:
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
        start = _WHITE_SPACE.match(text, start).end()
    return rows


def _read_parquet(data, columns):
    from pyarrow import BufferReader, parquet

    file = parquet.ParquetFile(BufferReader(data))
    names = file.schema_arrow.names
    _select(names, columns)
    footer = file.metadata
    if footer.num_rows > MAX_ROWS:
        raise ValueError(
            f"it has {footer.num_rows:,} rows, and at most {MAX_ROWS:,} are read. "
            "Write a part of the rows to a file of its own"
        )
    if footer.num_columns > MAX_COLUMNS:
        raise ValueError(f"it has more than {MAX_COLUMNS:,} columns")
    # Of groups of rows, not of columns: asked for one whose statistics are damaged,
    # pyarrow ends the process.
    groups = map(footer.row_group, range(footer.num_row_groups))
    size = sum(group.total_byte_size for group in groups)
    if size > max(MAX_TEXT_BYTES, 2 * len(data)):
        raise ValueError(
            f"it unpacks to {size:,} bytes, and at most {MAX_TEXT_BYTES:,} are read. "
            "Write a part of the rows to a file of its own"
        )
    # A text that stands once in the file may be that of all rows: it stays one here.
    return parquet.read_table(
        BufferReader(data), columns=list(columns), read_dictionary=list(columns[:1])
    )


_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def _check_utf8(path, data):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"File {str(path)!r} is not UTF-8: line {line} holds the byte "
            f"0x{data[error.start]:02x}. Save it as UTF-8."
        ) from error


def _check_kinds(path, columns, kinds):
    """Refuses columns whose values are no texts or no labels."""
    from pyarrow import types

    is_text = [types.is_string, types.is_large_string]
    is_label = [*is_text, types.is_integer, types.is_boolean]
    for column, kind, tests, wanted in zip(
        columns, kinds, (is_text, is_label), ("texts", "texts or integers"), strict=True
    ):
        if not any(test(kind) for test in tests):
            raise DataError(
                f"Column {column!r} of file {str(path)!r} holds {kind}, and it has to "
                f"hold {wanted}. Choose another column."
            )


def _check_rows(path, column, values, empty):
    for row, value in enumerate(values, start=1):
        if value in empty:
            raise DataError(
                f"Column {column!r} of file {str(path)!r} is empty in data row {row}. "
                "Fill it in, or leave the row out."
            )


def _rank_labels(labels):
    """Returns the class id of each label."""
    names = set(labels)
    ordered = sorted(names)
    if all(_INTEGER.fullmatch(name) for name in names):
        ordered.sort(key=int)
    return {name: rank for rank, name in enumerate(ordered)}


def _to_ids(path, labels, label_rank):
    unknown = sorted(set(labels) - label_rank.keys())
    if unknown:
        raise DataError(
            f"File {str(path)!r} has the label {unknown[0]!r}, which the training file "
            f"lacks; there are {_listed(list(label_rank))}."
        )
    return np.array([label_rank[label] for label in labels], dtype=np.int32)
