"""What the quantized files of a run compute in integers, and what in float."""

from tfcompress.report.table import file_name


def operators_table(records):
    """Writes a Markdown table with a line for each file whose operators are known.

    Args:
        records: sequence of records.
    Returns:
        Text that ends with a line break; empty where no file's operators are known.
    """
    lines = [
        f"| {record['row']} | {file_name(record)} | {_counts(operators['integer'])} | "
        f"{_counts(operators['floating'])} |"
        for record in records
        for operators in [record["operators"]]
        if operators["integer"] is not None
    ]
    if not lines:
        return ""
    head = ("| row | file | in integers | in float |", "| --- | --- | --- | --- |")
    return "\n".join([*head, *lines]) + "\n"


def _counts(operators):
    """Returns counts in words, the most frequent operator first."""
    ordered = sorted(operators.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered) or "-"
