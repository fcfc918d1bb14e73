"""Files of every kind, and what can be wrong with them."""

import json

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from tfcompress.data.dataset import SplitOptions
from tfcompress.data.files import is_file_name, load_from_files
from tfcompress.errors import DataError

ROWS = [(f"text {index}", ("no", "yes")[index % 2]) for index in range(40)]


def write(path, rows=ROWS, names=("text", "label")):
    """Writes rows in the format of the path's suffix."""
    if path.suffix == ".parquet":
        columns = list(zip(*rows, strict=True))
        parquet.write_table(pyarrow.table(dict(zip(names, columns, strict=True))), path)
        return path
    if path.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    else:
        delimiter = "," if path.suffix == ".csv" else "\t"
        lines = [delimiter.join(map(str, row)) for row in (names, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def load(*paths, columns=(None, None), **options):
    name = ",".join(map(str, paths))
    return load_from_files(name, SplitOptions(**options), columns=columns)


def pairs(split, names):
    labels = (names[label] for label in split.labels)
    return list(zip(split.inputs["text"], labels, strict=True))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_load_one_file_cuts_eighty_ten_ten(tmp_path, suffix):
    dataset = load(write(tmp_path / f"reviews{suffix}"))
    sizes = {name: split.num_examples for name, split in dataset.splits().items()}
    assert sizes == {"train": 32, "validation": 4, "test": 4}
    assert dataset.class_names == ("no", "yes")
    assert (dataset.name, dataset.source) == (f"reviews{suffix}", "file")
    found = [
        pair
        for split in dataset.splits().values()
        for pair in pairs(split, dataset.class_names)
    ]
    assert sorted(found) == sorted(ROWS)


def test_load_formats_give_the_same_dataset(tmp_path):
    prints = {
        load(write(tmp_path / f"a{suffix}")).fingerprint
        for suffix in (".csv", ".tsv", ".jsonl", ".parquet")
    }
    assert len(prints) == 1


def test_load_pair_keeps_the_test_file_in_order(tmp_path):
    train = write(tmp_path / "train.csv")
    test = write(tmp_path / "test.jsonl", ROWS[::-1])
    dataset = load(train, test, validation_fraction=0.25)
    assert (dataset.train.num_examples, dataset.validation.num_examples) == (30, 10)
    assert pairs(dataset.test, dataset.class_names) == ROWS[::-1]
    assert dataset.name == "train.csv,test.jsonl"


def test_load_folder_takes_train_and_test(tmp_path):
    write(tmp_path / "train.tsv")
    write(tmp_path / "test.tsv", ROWS[:6])
    assert is_file_name(str(tmp_path))
    assert load(tmp_path).test.num_examples == 6


def test_load_named_columns_are_taken(tmp_path):
    path = tmp_path / "a.csv"
    rows = [(row, "x", text, label) for row, (text, label) in enumerate(ROWS)]
    write(path, rows, names=("id", "text", "review", "sentiment"))
    dataset = load(path, columns=("review", "sentiment"))
    assert dataset.class_names == ("no", "yes")
    assert dataset.test.inputs["text"][0].startswith("text ")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_load_integer_labels_are_sorted_by_value(tmp_path, suffix):
    rows = [(f"text {index}", (10, 9, -1)[index % 3]) for index in range(30)]
    assert load(write(tmp_path / f"a{suffix}", rows)).class_names == ("-1", "9", "10")


def test_load_labels_that_only_look_like_integers_are_sorted_as_texts(tmp_path):
    rows = [(f"text {index}", ("10", "9", "--1")[index % 3]) for index in range(30)]
    assert load(write(tmp_path / "a.csv", rows)).class_names == ("--1", "10", "9")


def test_load_dictionary_column_is_read_as_its_values(tmp_path):
    texts, labels = zip(*ROWS, strict=True)
    labels = pyarrow.array(labels).dictionary_encode()
    table = pyarrow.table({"text": texts, "label": labels})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").class_names == ("no", "yes")


def test_load_csv_quotes_line_breaks_and_empty_texts_stay(tmp_path):
    special = ['"a, ""b""\nc"', "", "  blank ", "é 映画"]
    rows = [(special[index % 4], index % 2) for index in range(40)]
    dataset = load(write(tmp_path / "a.csv", rows))
    texts = set(dataset.train.inputs["text"])
    assert texts == {'a, "b"\nc', "", "  blank ", "é 映画"}


def test_load_csv_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = write(tmp_path / "a.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(path).class_names == ("no", "yes")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_load_row_of_two_megabytes_is_read(tmp_path, suffix):
    rows = [("x" * 2_000_000, "no"), *ROWS]
    dataset = load(write(tmp_path / f"a{suffix}", rows))
    lengths = [
        len(text)
        for split in dataset.splits().values()
        for text in split.inputs["text"]
    ]
    assert max(lengths) == 2_000_000


def test_load_same_seed_gives_same_cut(tmp_path):
    path = write(tmp_path / "a.csv")
    prints = [load(path, seed=seed).fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_load_missing_column_lists_the_columns(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", names=("review", "label"))
    with pytest.raises(DataError, match="no column 'text'; its columns are review, la"):
        load(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_load_one_class_raises(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", [(text, "no") for text, _ in ROWS])
    with pytest.raises(DataError, match=f"'a{suffix}' has only one class"):
        load(path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("content", [b"", b" \n"])
def test_load_empty_file_raises(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.\w+' is empty\."):
        load(path)


def test_load_header_alone_raises(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv' has no rows\."):
        load(write(tmp_path / "a.csv", []))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_load_not_utf8_names_the_line(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}")
    lines = path.read_bytes().split(b"\n")
    lines[4] = lines[4].replace(b"text", b"caf\xe9")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match="not UTF-8: line 5 holds the byte 0xe9"):
        load(path)


def test_load_parquet_not_utf8_raises(tmp_path):
    texts = pyarrow.array([b"caf\xe9", b"ok"]).view("string")
    table = pyarrow.table({"text": texts, "label": ["a", "b"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet' cannot be read: .*UTF8"):
        load(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("suffix", "label"), [(".csv", ""), (".tsv", ""), (".jsonl", None), (".jsonl", "")]
)
def test_load_empty_label_names_the_row(tmp_path, suffix, label):
    rows = [*ROWS[:2], ("text", label), *ROWS[2:]]
    path = write(tmp_path / f"a{suffix}", rows)
    with pytest.raises(DataError, match="'label' of file .* is empty in data row 3"):
        load(path)


def test_load_null_text_names_the_row(tmp_path):
    path = write(tmp_path / "a.parquet", [(None, "no"), *ROWS])
    with pytest.raises(DataError, match="'text' of file .* is empty in data row 1"):
        load(path)


@pytest.mark.parametrize(
    ("rows", "column", "wanted"),
    [([(1, "no"), (2, "yes")], "text", "texts"), ([("a", 0.5)], "label", "or integ")],
)
def test_load_column_of_other_values_raises(tmp_path, rows, column, wanted):
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match=f"{column}' .* has to hold .*{wanted}"):
        load(path)


def test_load_test_label_that_train_lacks_raises(tmp_path):
    train = write(tmp_path / "train.csv")
    test = write(tmp_path / "test.csv", [("text", "maybe")])
    with pytest.raises(DataError, match="'maybe', which .* lacks; there are no, yes"):
        load(train, test)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", "text,label\na,b,c\n"),
        (".jsonl", '{"text": "a", "label": '),
        (".parquet", "PAR1 no more"),
    ],
)
def test_load_damaged_file_raises_one_line(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_text(content)
    with pytest.raises(DataError, match=r"a\.\w+' cannot be read: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_load_missing_file_raises(tmp_path):
    with pytest.raises(DataError, match=r"There is no file '.*none\.csv'"):
        load(tmp_path / "none.csv")


def test_load_other_suffix_in_a_pair_raises(tmp_path):
    with pytest.raises(DataError, match=r"b\.txt' does not end in one of \.csv, "):
        load(write(tmp_path / "a.csv"), tmp_path / "b.txt")


def test_load_three_files_raises():
    with pytest.raises(DataError, match="names 3 files"):
        load("a.csv", "b.csv", "c.csv")


def test_load_one_column_for_both_raises(tmp_path):
    with pytest.raises(DataError, match="are both 'text'"):
        load(write(tmp_path / "a.csv"), columns=(None, "text"))


LINES = b"a,1\nb,2\n" * 20


def deep(text):
    return b'{"text": ' + text + b"}\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", deep(b"[" * 200_000), "nested 200001 levels deep or deeper"),
        ("a.jsonl", deep(b'{"a":' * 10_000), "nested 10001 levels deep or deeper"),
        ("a.csv", b"text,label" + b",a" * 10**6 + b"\n", "more than 5,000 columns"),
        ("a.tsv", b"text\tlabel" + b"\ta" * 5_000 + b"\n", "more than 5,000 columns"),
        ("a.csv", b"a,b" + b",c" * 99 + b"\n" + LINES, "c, c and 81 more. Choose"),
        ("a.parquet", b"PAR1" + bytes(50), "cannot be read: "),
    ],
)
def test_load_from_files_hostile_file_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_from_files(str(path), SplitOptions())


def test_load_from_files_a_new_key_in_each_row_costs_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"text": "t", "label": row % 2, f"key{row}": 1} for row in range(20_000)]
    path.write_text("\n".join(map(json.dumps, rows)))
    dataset = load_from_files(str(path), SplitOptions())
    assert dataset.train.num_examples == 16_000


def test_load_from_files_rows_over_several_lines_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a",\n "label": "x"}\n{"text": "b", "label": "y"}\n' * 20)
    assert load_from_files(str(path), SplitOptions()).class_names == ("x", "y")


def write_repeated(path, num_rows, text):
    """Writes a Parquet file whose one text stands for all rows."""
    indices = pyarrow.array(np.zeros(num_rows, np.int32))
    texts = pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array([text]))
    labels = pyarrow.array(np.arange(num_rows) % 2)
    parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path)
    return str(path)


def test_load_from_files_parquet_of_too_many_rows_is_refused(tmp_path):
    path = write_repeated(tmp_path / "a.parquet", 5_000_001, "x")
    with pytest.raises(DataError, match="5,000,001 rows, and at most 5,000,000"):
        load_from_files(path, SplitOptions())


def test_load_from_files_parquet_text_that_all_rows_share_is_counted(tmp_path):
    path = write_repeated(tmp_path / "a.parquet", 100_000, "x" * 100_000)
    with pytest.raises(DataError, match="has 10,000,.* bytes of texts, and at most"):
        load_from_files(path, SplitOptions())


def test_load_from_files_sparse_file_is_refused_unread(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="has 1,099,511,627,776 bytes, and at most"):
        load_from_files(str(path), SplitOptions())
