"""Tests of the terminal: what is ours is shown, what is not goes to the log."""

import io
import os
import subprocess
import sys

import rich.console

from tfcompress.runner.console import Progress

SCRIPT = """
import os, sys
from tfcompress.runner.console import own_terminal
with own_terminal(sys.argv[1]) as console:
    print("python chatter")
    os.write(2, b"native chatter\\n")
    console.print("ours")
print("afterwards")
"""


def test_own_terminal_sends_chatter_to_the_log(tmp_path):
    log = tmp_path / "log.txt"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(log)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert done.stdout.splitlines() == ["ours", "afterwards"]
    assert done.stderr == ""
    assert sorted(log.read_text().splitlines()) == ["native chatter", "python chatter"]


def test_progress_prints_a_line_for_each_step_with_the_count():
    console = rich.console.Console(record=True, width=80, file=io.StringIO())
    with Progress(console, 2) as progress:
        with progress.step("first") as on_progress:
            on_progress(0.5, "half")
        with progress.step("second"):
            pass
        with progress.step("one more"):
            pass
    lines = [line.split()[:2] for line in console.export_text().splitlines()]
    assert lines == [["1/2", "first"], ["2/2", "second"], ["3/3", "one"]]


def test_bar_and_count_stay_beside_a_long_line():
    terminal = io.StringIO()
    console = rich.console.Console(
        file=terminal, width=80, force_terminal=True, color_system=None
    )
    message = "training epoch 1/1, loss 0.6239, 00:20 left"
    with (
        Progress(console, 1) as progress,
        progress.step("compressed_finetuned:") as on_progress,
    ):
        on_progress(0.4, message)
        progress._bar.refresh()
    lines = [line for line in terminal.getvalue().splitlines() if "epoch" in line]
    assert lines
    for line in lines:
        assert "…" in line
        assert " 0/1 " in line
        assert "━" in line
