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


_BAR_WIDTH, _PERCENT_WIDTH = 10, 6  # characters, with the spaces between them
_KNOWN_FROM = 0.03  # share of the weight that has to be done for an estimate


class Progress:
    """Tells what is being done and how long it will still take.

    Every step has a weight, roughly its seconds; the time left is the weight left at
    the speed so far. In a terminal there is a bar too.

    Args:
        console: `rich.console.Console`.
        total: sum of the weights of the steps to come.
    """

    def __init__(self, console, total):
        import rich.progress

        self._console = console
        self._total = max(total, 1e-9)
        self._done = 0.0
        self._began = time.monotonic()
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=_BAR_WIDTH),
            rich.progress.TaskProgressColumn(),
            console=console,
            transient=True,
            # What others print is in the log; rich would bring it back here, because
            # handlers of logging keep the stream that they find.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=self._total)

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *exception):
        self._bar.stop()

    @contextlib.contextmanager
    def step(self, description, weight):
        """Announces a step; yields `on_progress(fraction, message)` for its inside."""
        began, before = time.monotonic(), self._done

        def on_progress(fraction, message=""):
            self._done = before + weight * min(max(fraction, 0.0), 1.0)
            self._show(f"{description} {message}".strip())

        on_progress(0.0)
        yield on_progress
        on_progress(1.0)
        seconds = time.monotonic() - began
        self._console.print(
            f"{self._done / self._total:4.0%}  {description}  "
            f"[dim]{seconds:.1f} s, {self.time_left()} left[/dim]",
            soft_wrap=True,
        )

    def time_left(self):
        """Returns the estimated time left, such as `"2 min 5 s"`, once it is known."""
        if self._done < _KNOWN_FROM * self._total:
            return "?"
        elapsed = time.monotonic() - self._began
        seconds = elapsed * (self._total - self._done) / max(self._done, 1e-9)
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

    def _show(self, description):
        left = f" (run: {self.time_left()} left)" if self._done else ""
        # A longer line would push the bar and the percentage out of the terminal.
        room = max(self._console.width - _BAR_WIDTH - _PERCENT_WIDTH - len(left), 1)
        if len(description) > room:
            description = f"{description[: room - 1]}…"
        self._bar.update(
            self._task, completed=self._done, description=description + left
        )
