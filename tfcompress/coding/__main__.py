"""Pack the weights of a model file, without loss; the stock runtime opens the result.

    python -m tfcompress.coding FILE OUT [--slow_layers=leave] [--exclude=REGEX ...]
        [--structures=FOLDER/structures.npz]

FILE is a .tflite, an .onnx or the .xml of an OpenVINO IR, whoever wrote it. What became
of each tensor is printed; the result is never larger than FILE.
"""

import dataclasses

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfcompress import entry_point
from tfcompress.coding import code_file
from tfcompress.coding.codes import MIN_BYTES
from tfcompress.errors import InvalidValueError
from tfcompress.settings import setting

_MIN_NAME_WIDTH = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command's flags say."""

    slow_layers: str = setting(
        "code",
        "TFLite: code the weights of layers that run slower for it, or leave dense "
        "those of convolutions other than 1x1 (several times slower), or of all "
        "convolutions.",
        choices=("code", "leave_slowest", "leave"),
    )
    exclude: tuple[str, ...] = setting(
        (),
        "Regular expression: a tensor whose whole name matches stays dense. "
        "Repeatable.",
        is_repeated=True,
    )
    structures: str | None = setting(
        None,
        "The structures.npz that CompressionResult.save wrote: it tells block scales "
        "and codebooks of channels, which the weights alone do not show.",
    )


def main(settings, *paths):
    """Codes the file that the arguments name and prints what each tensor became."""
    if len(paths) != 2:
        raise InvalidValueError(
            f"Give two paths, FILE and OUT; got {len(paths)}. --help says more."
        )
    source, target = paths
    result = code_file(
        source,
        target,
        slow_layers=settings.slow_layers,
        exclude=settings.exclude,
        structures=settings.structures,
    )
    console = Console()
    console.print(make_table(result, console.width))
    for line in summary_lines(result, target):
        console.print(Text(line), soft_wrap=True)


def make_table(result, width):
    """Returns a `rich` table: a row for each tensor that could be worth coding.

    Args:
        result: `CodingResult`.
        width: columns of the terminal; names of tensors get what is left of them.
    """
    notes = _notes(result)
    rows = [_cells(tensor, notes.get(_note(tensor))) for tensor in _large(result)]
    titles = ("tensor", "shape", "code", "values", "before", "after")
    columns = list(zip(titles, *rows, strict=True))
    taken = sum(max(map(len, column)) + 1 for column in columns[1:])
    name_width = max(_MIN_NAME_WIDTH, width - taken)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        is_number = title in ("values", "before", "after")
        table.add_column(title, no_wrap=True, justify="right" if is_number else "left")
    for name, *rest in rows:
        table.add_row(*map(Text, (_shorten(name, name_width), *rest)))
    return table


def _shorten(name, width):
    """Cuts the beginning off a name: its end tells one layer from another."""
    return name if len(name) <= width else "…" + name[1 - width :]


def _cells(tensor, note):
    """Returns the texts of a tensor's row."""
    code = tensor.code.replace("_", "+")
    bits = "" if tensor.num_bits is None else f" {tensor.num_bits} bit"
    return (
        tensor.name,
        "x".join(map(str, tensor.shape)) or "scalar",
        code + bits + ("" if note is None else f" ({note})"),
        ">257" if tensor.num_values is None else str(tensor.num_values),
        f"{tensor.dense_bytes:,}",
        f"{tensor.coded_bytes:,}",
    )


def summary_lines(result, target):
    """Returns the lines below the table: notes, small tensors, bytes and ratio.

    Args:
        result: `CodingResult`.
        target: path that was written.
    """
    lines = [f"({number}) {note}" for note, number in _notes(result).items()]
    small = len(result.tensors) - len(_large(result))
    if small:
        lines.append(f"{small} tensors under {MIN_BYTES} bytes are left as they are")
    what = "coded" if result.is_coded else "copied, nothing pays"
    lines.append(
        f"{target}: {what}, {result.source_bytes:,} -> {result.target_bytes:,} bytes, "
        f"{result.compression_ratio:.2f} times smaller"
    )
    return lines


def _large(result):
    return [tensor for tensor in result.tensors if tensor.dense_bytes >= MIN_BYTES]


def _note(tensor):
    if tensor.is_slower:
        return "its layer runs slower; --slow_layers=leave_slowest leaves it dense"
    return tensor.reason


def _notes(result):
    """Returns note -> its number, in the order of the table."""
    notes = dict.fromkeys(_note(tensor) for tensor in _large(result))
    notes.pop(None, None)
    return {note: number for number, note in enumerate(notes, start=1)}


if __name__ == "__main__":
    entry_point.run(main, Settings)
