"""Records and results in, tables and sentences out. Nothing here computes a result."""

from tfcompress.report.operators import operators_table
from tfcompress.report.page import markdown_page
from tfcompress.report.run_result import RunResult, read_result, write_result
from tfcompress.report.table import markdown_table, print_table
from tfcompress.report.terminal import show_result, show_warning

__all__ = [
    "RunResult",
    "markdown_page",
    "markdown_table",
    "operators_table",
    "print_table",
    "read_result",
    "show_result",
    "show_warning",
    "write_result",
]
