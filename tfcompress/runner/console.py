"""The terminal of an experiment: ours is shown, third parties' goes to the log."""

import contextlib
import os
import sys
import time


@contextlib.contextmanager
def own_terminal(log_path):
    """Sends everything that is printed to a log and yields a console to the terminal.

    Runtimes and converters print from C++, so the file descriptors themselves are
    redirected.

    Args:
        log_path: file to append to.
    Yields:
        `rich.console.Console` on what was the standard output.
    """
    import rich.console

    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    with os.fdopen(os.dup(kept[0]), "w", encoding="utf-8") as terminal:
        is_terminal = os.isatty(kept[0])
        try:
            yield rich.console.Console(
                file=terminal,
                force_terminal=is_terminal,
                width=None if is_terminal else 80,
                highlight=False,
            )
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


_BAR_WIDTH, _COUNT_WIDTH = 10, 20  # characters, of the count with the time


class Progress:
    """Tells what is being done, how much of it, and what each step took.

    In a terminal there is a bar too. What is left is counted in steps: how long they
    take, nobody knows before; a training says itself what it has left.

    Args:
        console: `rich.console.Console`.
        num_steps: steps to come.
    """

    def __init__(self, console, num_steps):
        import rich.progress

        self._console = console
        self._num_steps = num_steps
        self._done = 0
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=_BAR_WIDTH),
            rich.progress.TextColumn("{task.fields[count]}"),
            rich.progress.TimeElapsedColumn(),
            console=console,
            transient=True,
            # What others print is in the log; rich would bring it back here, because
            # handlers of logging keep the stream that they find.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=num_steps, count="")

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *exception):
        self._bar.stop()

    @contextlib.contextmanager
    def step(self, description):
        """Announces a step; yields `on_progress(fraction, message)` for its inside."""
        began = time.monotonic()
        # Whether files are timed anew shows when one that had failed is made.
        self._num_steps = max(self._num_steps, self._done + 1)

        def on_progress(fraction, message=""):
            fraction = min(max(fraction, 0.0), 1.0)
            self._show(f"{description} {message}".strip(), self._done + fraction)

        on_progress(0.0)
        yield on_progress
        self._done += 1
        self._show(description, self._done)
        seconds = time.monotonic() - began
        self._console.print(
            f"{self._count():>7}  {description}  [dim]{seconds:.1f} s[/dim]",
            soft_wrap=True,
        )

    def _count(self):
        return f"{self._done}/{self._num_steps}"

    def _show(self, description, completed):
        # A longer line would push the bar and the count out of the terminal.
        room = max(self._console.width - _BAR_WIDTH - _COUNT_WIDTH, 1)
        if len(description) > room:
            description = f"{description[: room - 1]}…"
        self._bar.update(
            self._task,
            completed=completed,
            total=self._num_steps,
            description=description,
            count=self._count(),
        )
