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


def test_progress_prints_a_line_for_each_step_with_the_share_done():
    console = rich.console.Console(record=True, width=80, file=io.StringIO())
    with Progress(console, total=4) as progress:
        with progress.step("first", 1) as on_progress:
            on_progress(0.5, "half")
        with progress.step("second", 3):
            pass
    first, second = console.export_text().splitlines()
    assert first.split()[:2] == ["25%", "first"]
    assert second.split()[:2] == ["100%", "second"]
    assert second.endswith("0 s left")


def test_bar_and_percentage_stay_beside_a_long_line():
    terminal = io.StringIO()
    console = rich.console.Console(
        file=terminal, width=80, force_terminal=True, color_system=None
    )
    message = "training epoch 1/1, loss 0.6239, 00:20 left"
    with (
        Progress(console, total=10) as progress,
        progress.step("compressed_finetuned:", 10) as on_progress,
    ):
        on_progress(0.4, message)
        progress._bar.refresh()
    lines = [line for line in terminal.getvalue().splitlines() if "epoch" in line]
    assert lines
    for line in lines:
        assert "…" in line
        assert " 40%" in line
        assert "━" in line


def test_time_left_is_unknown_before_anything_is_done():
    console = rich.console.Console(file=io.StringIO())
    assert Progress(console, total=100).time_left() == "?"
