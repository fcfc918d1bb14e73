"""A run's result on the terminal."""

from tfcompress.report.notes import chosen_line, failure_lines, result_notes
from tfcompress.report.table import print_table


def show_result(result, folder, console):
    """Prints a `RunResult`: table, notes, where it lies, what failed, what to take.

    Args:
        result: `RunResult`.
        folder: `pathlib.Path` of the run's folder.
        console: `rich.console.Console`.
    """
    from rich.markup import escape

    print_table(result.records, console)
    for line in result_notes(result):
        console.print(line, soft_wrap=True)
    show_warning(result.dataset["warning"], console)
    console.print(f"Table, records and artifacts: {folder}", soft_wrap=True)
    for line in failure_lines(result):  # it may have brackets in it
        console.print(f"[bold red]failed[/]: {escape(line)}", soft_wrap=True)
    if (line := chosen_line(result, folder)) is not None:
        console.print(line, soft_wrap=True)


def show_warning(warning, console):
    """Prints what a reader must know of the data, in a frame; nothing without it."""
    if warning:
        import rich.panel

        console.print(rich.panel.Panel(warning, title="WARNING", style="bold yellow"))
        print("WARNING:", warning)  # into the log
