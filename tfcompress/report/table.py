"""The table of an experiment: for the terminal (80 columns) and as Markdown (all)."""

import dataclasses
from collections.abc import Callable

from tfcompress.formats import Precision

_SHORT_SCHEMES = {"dynamic_range": "dyn ", "static_range": "static "}
_SHORT_FLOATS = {"float32": "", "float16": "f16", "bfloat16": "bf16"}
_GROUPED = ("int4", "nf4")  # by NNCF, in groups of 64 weights
_NNCF_GROUP = 64
_MISSING = "-"


@dataclasses.dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable  # record -> str
    note: str  # what it means, for the legend
    in_terminal: bool = False


def _number(value, template):
    return _MISSING if value is None else template.format(value)


def _kilobytes(name):
    return lambda r: (
        _MISSING if r["size"][name] is None else f"{r['size'][name] / 1e3:,.1f}"
    )


def _against_int8(record):
    size = record["size"]
    if None in (size["file_bytes"], size["baseline_int8_gzip_bytes"]):
        return _MISSING
    return f"{size['file_bytes'] / size['baseline_int8_gzip_bytes']:.2f}"


def _batch(batch, field, template):
    def cell(record):
        return _number((record["latency"][batch] or {}).get(field), template)

    return cell


def file_name(record):
    """Returns what the tables call a record's file, such as `"onnx dyn int8"`."""
    coding = "" if record["coding"] == "dense" else record["coding"]
    words = (record["format"], _short_name(Precision(record["precision"])), coding)
    return " ".join(word for word in words if word)


def _short_name(precision):
    if precision.is_float:
        return _SHORT_FLOATS[precision.weights]
    if (precision.embeddings, precision.weights) == ("int8", "int8"):
        return "int8 table, dyn"
    group = precision.block_size
    if precision.scheme == "weight_only" and precision.weights in _GROUPED:
        group = _NNCF_GROUP
    name = _SHORT_SCHEMES.get(precision.scheme, "") + precision.weights
    tables = {None: "", "int8": ", int8 table", "float32": ", f32 table"}
    name += f"/{group}" if group else ""
    return name + tables[precision.embeddings] + (", all" if precision.is_full else "")


def _accuracy(record):
    quality = record["quality"]
    if quality["accuracy"] is None:
        return "failed" if record["status"] == "failed" else _MISSING
    mark = "*" if quality["inherited_from"] else ""
    return f"{quality['accuracy']:.4f}{mark}"


def _interval(record):
    quality = record["quality"]
    if quality["accuracy_low"] is None:
        return _MISSING
    return f"{quality['accuracy_low']:.4f} to {quality['accuracy_high']:.4f}"


def _output_error(record):
    error = record["quality"]["output_error"]
    return "0" if error == 0 else _number(error, "{:.1e}")


def _flips(record):
    quality = record["quality"]
    if quality["flips_to_wrong"] is None:
        return _MISSING
    return f"{quality['flips_to_wrong']} / {quality['flips_to_right']}"


def _memory(record):
    memory = record["memory"]
    if memory["peak_rss_bytes"] is None:
        return _MISSING
    return f"{memory['peak_rss_bytes'] / 1e6:,.1f}"


def _quality(name):
    return lambda r: _number(r["quality"][name], "{:.4f}")


_COLUMNS = (
    _Column("row", lambda r: r["row"], "what was done to the model"),
    _Column("file", file_name, "format, precision and coding"),
    _Column("kB", _kilobytes("file_bytes"), "model files on the disk", True),
    _Column("gzip kB", _kilobytes("gzip_bytes"), "the same under gzip -9"),
    _Column(
        "/ int8 gz",
        _against_int8,
        "model files / the baseline's int8 file of this format under gzip -9",
    ),
    _Column(
        "smaller",
        lambda r: _number(r["size"]["compression_ratio"], "{:.2f}x"),
        "the baseline's dense float32 file of this format / this file",
        True,
    ),
    _Column(
        "bits",
        lambda r: _number(r["size"]["bits_per_weight"], "{:.2f}"),
        "bits per weight, decoders included",
    ),
    _Column(
        "values",
        lambda r: _number(r["size"]["max_distinct_values"], "{}"),
        "most distinct values of a compressed weight, in the file",
    ),
    _Column(
        "accuracy",
        _accuracy,
        "on the test split, through the file; * inherited from the dense file, "
        "whose tensors it holds to the bit",
        True,
    ),
    _Column("95% interval", _interval, "Wilson interval of the accuracy"),
    _Column("macro F1", _quality("macro_f1"), "mean of the classes' F1"),
    _Column(
        "agree",
        _quality("keras_agreement"),
        "share of test examples labelled as by Keras with the same weights",
        True,
    ),
    _Column(
        "output error",
        _output_error,
        "largest difference of an output from Keras's with the same weights / the "
        "largest output",
    ),
    _Column(
        "as dense",
        _quality("dense_agreement"),
        "share of the examples scored that are labelled as by the dense file",
    ),
    _Column(
        "flips",
        _flips,
        "labels that differ from the baseline's: to wrong / to right",
    ),
    _Column("ms", _batch("batch_1", "p50_ms", "{:.3f}"), "p50 at batch 1", True),
    _Column("p90 ms", _batch("batch_1", "p90_ms", "{:.3f}"), "p90 at batch 1"),
    _Column(
        "/ dense",
        _batch("batch_1", "ratio_to_dense", "{:.2f}"),
        "p50 / the dense file's, median of the rounds, batch 1",
        True,
    ),
    _Column(
        "/ baseline",
        _batch("batch_1", "ratio_to_baseline", "{:.2f}"),
        "p50 / that of the baseline in this format",
    ),
    _Column("ms, 32", _batch("batch_32", "p50_ms", "{:.3f}"), "p50 at batch 32"),
    _Column(
        "/ dense, 32",
        _batch("batch_32", "ratio_to_dense", "{:.2f}"),
        "p50 / the dense file's at batch 32",
    ),
    _Column(
        "load ms", lambda r: _number(r["latency"]["load_ms"], "{:.1f}"), "opening it"
    ),
    _Column(
        "first ms",
        lambda r: _number(r["latency"]["first_run_ms"], "{:.1f}"),
        "the first run, where TFLite decodes",
    ),
    _Column("MB", _memory, "peak memory above that of the runtime with no model"),
)


def markdown_table(records):
    """Writes records as Markdown: what matters most, then every column and a legend.

    Args:
        records: sequence of records, in the order of the lines.
    Returns:
        Text that ends with a line break.
    """
    brief = [c for c in _COLUMNS if c.in_terminal or c.title in ("row", "file")]
    legend = "\n".join(f"- **{column.title}**: {column.note}" for column in _COLUMNS)
    return (
        f"{_markdown_lines(brief, records)}\n\n"
        "<details>\n<summary>Every column, and what they mean</summary>\n\n"
        f"{_markdown_lines(_COLUMNS, records)}\n\n{legend}\n\n</details>\n"
    )


def _markdown_lines(columns, records):
    lines = [[column.title for column in columns]]
    lines.append(["---"] * 2 + ["---:"] * (len(columns) - 2))
    lines += [[column.cell(record) for column in columns] for record in records]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def print_table(records, console):
    """Prints the columns that matter most, at most 80 characters wide.

    Args:
        records: sequence of records, in the order of the lines.
        console: `rich.console.Console`.
    """
    import rich.box
    import rich.table

    columns = [column for column in _COLUMNS if column.in_terminal]
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("row and file", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    previous = None
    for record in records:
        if record["row"] != previous:
            previous = record["row"]
            table.add_row(previous)  # a line of its own, above the row's files
        table.add_row(f"  {file_name(record)}", *(c.cell(record) for c in columns))
    console.print(table)
