"""Puts a run's table into a document, between the markers that bear its name.

    python -m tfcompress.report.embed README.md cluster_finetune TABLE.md

A document holds `<!-- NAME -->` and `<!-- /NAME -->` on lines of their own; what stands
between them is replaced.
"""

import pathlib
import sys

from tfcompress.atomic import atomic_file
from tfcompress.errors import InvalidValueError, TfcompressError


def embed(document, name, table):
    """Returns `document` with `table` between the markers of `name`.

    Args:
        document: text with both markers.
        name: of the experiment.
        table: Markdown text; its heading of the first rank is left out.
    Raises:
        InvalidValueError: if a marker is missing.

    >>> embed("a\\n<!-- x -->\\nold\\n<!-- /x -->\\nb", "x", "# x\\n\\nnew\\n")
    'a\\n<!-- x -->\\n\\nnew\\n\\n<!-- /x -->\\nb'
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise InvalidValueError(
            f"The document lacks the lines {begin.strip()!r} and {end!r}. Put them "
            "where the table belongs."
        )
    lines = [line for line in table.splitlines() if not line.startswith("# ")]
    body = "\n".join(lines).strip("\n")
    return f"{before}{begin}\n{body}\n\n{end}{after}"


def main(arguments):
    """Embeds a table; returns the exit status."""
    try:
        document, name, table = arguments
        document = pathlib.Path(document)
        text = embed(
            document.read_text(encoding="utf-8"),
            name,
            pathlib.Path(table).read_text(encoding="utf-8"),
        )
        with atomic_file(document) as path:
            path.write_text(text, encoding="utf-8")
    except (TfcompressError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
