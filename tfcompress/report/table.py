"""The table of an experiment: for the terminal (80 columns) and as Markdown (all)."""

import dataclasses
from collections.abc import Callable

from tfcompress.formats import Precision
from tfcompress.formats.target import runs_on
from tfcompress.tasks import format_value, metric_title

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
    """Returns what the tables call a record's file, such as `"onnx dyn int8"`.

    What runs it is named where that is not the format's own runtime, on the CPU, such
    as `"onnx coded on openvino"`.
    """
    coding = "" if record["coding"] == "dense" else record["coding"]
    place = runs_on(record["format"], record["runtime"], record["device"])
    precision = _short_name(Precision(record["precision"]))
    words = (record["format"], precision, coding, place)
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


def _figure(record, name):
    """Returns the figure of a metric, or of the primary one where `name` is None."""
    quality = record["quality"]
    return (quality["metrics"] or {}).get(name or quality["primary"])


def _primary(record):
    figure, quality = _figure(record, None), record["quality"]
    if figure is None:
        return "failed" if record["status"] == "failed" else _MISSING
    mark = "*" if quality["inherited_from"] else ""
    return f"{format_value(figure['value'], figure['unit'])}{mark}"


def _interval(record):
    figure = _figure(record, None)
    if figure is None or figure["low"] is None:
        return _MISSING
    low, high = (format_value(figure[end], figure["unit"]) for end in ("low", "high"))
    return f"{low} to {high}"


def _value(name):
    def cell(record):
        figure = _figure(record, name)
        if figure is None or figure["value"] is None:
            return _MISSING
        return format_value(figure["value"], figure["unit"])

    return cell


def _output_error(record):
    error = record["quality"]["output_error"]
    return "0" if error == 0 else _number(error, "{:.1e}")


def _flips(record):
    quality = record["quality"]
    if quality["num_worse"] is None:
        return _MISSING
    return f"{quality['num_worse']} / {quality['num_better']}"


def _memory(record):
    memory = record["memory"]
    if memory["peak_rss_bytes"] is None:
        return _MISSING
    return f"{memory['peak_rss_bytes'] / 1e6:,.1f}"


def _quality(name):
    return lambda r: _number(r["quality"][name], "{:.4f}")


_BEFORE = (
    _Column("row", lambda r: r["row"], "what was done to the model"),
    _Column(
        "file",
        file_name,
        "format, precision and coding",
    ),
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
)
_AFTER = (
    _Column(
        "agree",
        _quality("keras_agreement"),
        "share of test examples for which the file decides as Keras does with the same "
        "weights",
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
        "share of the examples scored for which it decides as the dense file does",
    ),
    _Column(
        "flips",
        _flips,
        "test examples scored worse / better than by the baseline",
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


def _columns(records):
    """Returns the columns; those of the metrics are as the records have them."""
    qualities = [r["quality"] for r in records if r["quality"]["metrics"]]
    primary = qualities[0]["primary"] if qualities else None
    names = dict.fromkeys(name for each in qualities for name in each["metrics"])
    title = metric_title(primary) if primary else "quality"
    lower = any(_is_lower(each["metrics"].get(primary)) for each in qualities)
    return (
        *_BEFORE,
        _Column(
            title,
            _primary,
            f"on the test split, through the file{', lower is better' if lower else ''}"
            "; * inherited from the dense file, whose tensors it holds to the bit",
            True,
        ),
        _Column("95% interval", _interval, f"of the {title}"),
        *(
            _Column(metric_title(name), _value(name), "on the test split too")
            for name in names
            if name != primary
        ),
        *_AFTER,
    )


def _is_lower(figure):
    return figure is not None and not figure["higher_is_better"]


def markdown_table(records):
    """Writes records as Markdown: what matters most, then every column and a legend.

    Args:
        records: sequence of records, in the order of the lines.
    Returns:
        Text that ends with a line break.
    """
    columns = _columns(records)
    brief = [c for c in columns if c.in_terminal or c.title in ("row", "file")]
    legend = "\n".join(f"- **{column.title}**: {column.note}" for column in columns)
    return (
        f"{_markdown_lines(brief, records)}\n\n"
        "<details>\n<summary>Every column, and what they mean</summary>\n\n"
        f"{_markdown_lines(columns, records)}\n\n{legend}\n\n</details>\n"
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

    columns = [column for column in _columns(records) if column.in_terminal]
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
