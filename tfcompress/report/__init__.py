"""Records in, tables out. Nothing here computes a result of its own."""

from tfcompress.report.table import markdown_table, print_table

__all__ = ["markdown_table", "print_table"]
