"""Records in, tables out. Nothing here computes a result of its own."""

from tfcompress.report.operators import operators_table
from tfcompress.report.table import markdown_table, print_table

__all__ = ["markdown_table", "operators_table", "print_table"]
