"""Print label and probability of texts, from an artifact's folder alone.

    make experiment NAME=predict ARGS="--artifact=FOLDER 'a lovely film'"
    make experiment NAME=predict ARGS="--artifact=FOLDER -" < texts.txt

Each text is an argument; "-" reads one from each line of the standard input. The
folder is one of `runs/<experiment>/<run id>/artifacts/`. Nothing else is read, and
TensorFlow is not imported, unless the artifact's format is keras.

Expected time: 1 s (keras: 10 s). Expected result: a line for each text,

    positive  0.973  a lovely film
"""

import dataclasses
import os
import sys

from rich.table import Table
from rich.text import Text

from tfcompress import entry_point
from tfcompress.artifact import Artifact
from tfcompress.errors import DataError, InvalidValueError
from tfcompress.runner.console import own_terminal
from tfcompress.settings import check_at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command's flags say."""

    artifact: str | None = setting(None, "Folder of the artifact to ask.")
    num_threads: int = setting(2, "Threads of the runtime.")

    def __post_init__(self):
        if self.artifact is None:
            raise InvalidValueError(
                "--artifact is missing. Give the folder of an artifact, one of "
                "runs/<experiment>/<run id>/artifacts/."
            )
        check_at_least(self, 1, "num_threads")


def read_texts(arguments, stream):
    """Returns the texts that the arguments name.

    Args:
        arguments: list of texts; "-" stands for the lines of `stream`.
        stream: text file, whatever its encoding is set to: its bytes are read as
            UTF-8. Empty lines are left out. None stands for one that is closed.
    Raises:
        DataError: if the stream is closed or not UTF-8.
        InvalidValueError: if there is no text.
    """
    texts = []
    for argument in arguments:
        if argument != "-":
            texts.append(argument)
            continue
        lines = _read(stream).split("\n")
        texts.extend(line.strip() for line in lines if line.strip())
    if not texts:
        raise InvalidValueError(
            "There is no text to predict. Give texts as arguments, or '-' to read the "
            "standard input: --artifact=FOLDER 'a lovely film'"
        )
    return texts


def _read(stream):
    if stream is None:
        raise DataError(
            "The standard input is closed, and '-' reads it. Give texts as arguments, "
            "or redirect a file of texts: - < texts.txt"
        )
    data = stream.buffer.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"The standard input is not UTF-8: line {line} holds the byte "
            f"0x{data[error.start]:02x}. Convert it first."
        ) from error


def make_table(texts, prediction):
    """Returns a `rich` table: what is predicted, then the text; a row for each text.

    Args:
        texts: list of n texts.
        prediction: what `Artifact.predict` said of them.
    """
    table = Table.grid(padding=(0, 2))
    parts = prediction.values() if isinstance(prediction, dict) else [prediction]
    rows = zip(*(part.cells() for part in parts), texts, strict=True)
    for *cells, text in rows:
        cells = [cell for part in cells for cell in part]
        while len(table.columns) < len(cells):
            table.add_column(no_wrap=True)
        if len(table.columns) == len(cells):
            table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_row(*map(Text, cells), Text(_one_line(text)))
    return table


def _one_line(text):
    """Returns a text without line ends and what no terminal can show."""
    shown = (letter if letter.isprintable() else " " for letter in text)
    return " ".join("".join(shown).split())


def main(settings, *arguments):
    """Prints the prediction for the texts that the arguments name."""
    folder = settings.artifact
    texts = read_texts(arguments, sys.stdin)
    artifact = Artifact.load(folder)
    if not artifact.manifest.is_text:
        raise InvalidValueError(
            f"The artifact {folder!r} takes named arrays, not texts; ask it in Python: "
            "tfcompress.artifact.Artifact.load(folder).predict({name: array})."
        )
    # Runtimes print a line or two of their own when they open a model.
    with own_terminal(os.devnull) as console:
        with artifact.open(num_threads=settings.num_threads):
            prediction = artifact.predict(texts)
        console.print(make_table(texts, prediction))


if __name__ == "__main__":
    entry_point.run(main, Settings)
