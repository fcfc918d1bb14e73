"""Check that damaged files end in one clear line, or are read right.

    make experiment NAME=check_damage
    make experiment NAME=check_damage ARGS="--count=500 --kinds=coding_onnx,npz"

Small honest files of every kind that the package reads are made, damaged by seed (cut,
bits flipped, parts zeroed, moved, repeated or removed, numbers set to extremes, fields
of JSON, XML and archives changed; checksums of altered artifacts made right again), and
opened by the function that a user would call, in processes that may die of it. What
comes out is counted by kind: "refused" (one line), "right" (the answer of the honest
file, or one that agrees with another reading of the damaged one), and what must not be:
"traceback" (an exception of another package, or more than a line), "wrong", "hang"
(10 s of the processor, or a minute), "memory" (2 GB more than before), "crash" (a
signal).

Expected on 2 cores: 30 minutes for the 10,000 of the default; no file in the last five
columns. The status is 1 if there is one; `failures.jsonl` tells which.
"""

import collections
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time

import psutil

from experiments._check_page import check_folder, write_page
from tfcompress import entry_point
from tfcompress.errors import InvalidValueError
from tfcompress.runner.settings import CheckSettings
from tfcompress.settings import check_at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(CheckSettings):
    """What the check's flags say."""

    count: int = setting(10_000, "Damaged files, over all kinds.")
    kinds: tuple[str, ...] = setting(
        (), "Kinds of files, such as coding_onnx. Default: all."
    )

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, 1, "count")


GOOD = ("refused", "right")
BAD = ("traceback", "wrong", "hang", "memory", "crash")
MAX_SECONDS = 10  # of the processor
MAX_BYTES = 2 * 2**30
_MAX_WAIT = 60  # seconds, of the clock
_MAX_START = 300  # seconds until the honest file is read, imports included
_AT_ONCE = 250  # files of one process
_TICK = 0.1  # seconds between two looks at a process


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one damaged file.

    Attributes:
        kind: of file.
        number: with the seed it tells the damage.
        file: name of the file that was damaged.
        outcome: of `GOOD` or `BAD`.
        detail: message or traceback.
    """

    kind: str
    number: int
    file: str
    outcome: str
    detail: str = ""


def main(settings):
    """Damages and opens so many files; returns the exit status."""
    kinds = chosen_kinds(settings.kinds)
    outcomes = []
    with check_folder(settings, "check_damage") as (folder, console):
        honest = folder / "honest"
        make_honest_files(honest)
        began = time.monotonic()
        for cases in deal(kinds, settings.count):
            found = list(open_all(honest, settings.seed, cases))
            outcomes += found
            bad = [outcome for outcome in found if outcome.outcome in BAD]
            seconds = time.monotonic() - began
            console.print(
                f"{len(outcomes):,} of {settings.count:,}, {seconds:.0f} s: "
                f"{cases[0][0]} to {cases[-1][0]}, {len(bad)} of {len(found)} bad",
                soft_wrap=True,
            )
            with (folder / "failures.jsonl").open(
                "a" if outcomes[len(found) :] else "w"
            ) as file:
                for outcome in bad:
                    file.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
        write_table(folder / "table.md", settings, outcomes)
    return 1 if any(outcome.outcome in BAD for outcome in outcomes) else 0


def chosen_kinds(names):
    """Returns the kinds to damage, all of them if `names` is empty.

    Raises:
        InvalidValueError: if there is no such kind.
    """
    from experiments._damage_doors import KINDS

    for name in names:
        if name not in KINDS:
            raise InvalidValueError(
                f"--kinds: there is no kind {name!r}. Choose among {', '.join(KINDS)}."
            )
    return list(names or KINDS)


def deal(kinds, count):
    """Deals numbers to kinds in turn, and yields the cases of a process each.

    Args:
        kinds: list of names of `KINDS`; those of a group share processes.
        count: of files, over all kinds.
    Yields:
        Lists of `(kind, number)`.
    """
    from experiments._damage_doors import KINDS

    groups = collections.defaultdict(list)
    for index, kind in enumerate(kinds):
        for number in range(index, count, len(kinds)):
            groups[KINDS[kind].group].append((kind, number))
    for cases in groups.values():
        for start in range(0, len(cases), _AT_ONCE):
            yield cases[start : start + _AT_ONCE]


def make_honest_files(folder):
    """Makes the honest files of every kind, in a process of its own."""
    command = [sys.executable, "-m", "experiments._damage_files", str(folder)]
    subprocess.run(command, check=True)


def open_all(honest, seed, cases):
    """Yields the `Outcome` of each case; a process that dies is followed by another.

    Args:
        honest: `pathlib.Path` of the honest files.
        seed: of the damage.
        cases: list of `(kind, number)`.
    """
    left = list(cases)
    while left:
        found = list(_open_some(honest, seed, left))
        if not found:
            raise RuntimeError(f"No process gets to its first file: {left[0]}.")
        yield from found
        left = left[len(found) :]


def _open_some(honest, seed, cases):
    """Yields outcomes until the cases or the process end."""
    command = [sys.executable, "-m", "experiments._damage_worker", str(honest)]
    command += [str(seed), *(f"{kind}:{number}" for kind, number in cases)]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    worker = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        env=os.environ | environment,
        start_new_session=True,
    )
    try:
        lines = _Lines(worker)
        if lines.next(_MAX_START, limited=False) is None:
            return
        for _ in cases:
            begun = lines.next(_MAX_WAIT, limited=False)
            if begun is None:
                return
            done = lines.next(_MAX_WAIT)
            yield Outcome(*begun, *(done or (lines.fate(), "")))
            if done is None:
                return
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        worker.stdout.close()


class _Lines:
    """Reads a worker's lines of JSON, and looks after it while it waits."""

    def __init__(self, worker):
        self._worker = worker
        self._process = psutil.Process(worker.pid)
        self._buffer = b""
        self._fate = None

    def fate(self):
        """Returns why there was no line."""
        return self._fate or "crash"

    def next(self, max_wait, *, limited=True):
        """Returns the next line's value; None if the worker died or went too far."""
        began, used, held = time.monotonic(), self._seconds(), self._bytes()
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._worker.stdout], [], [], _TICK)
            if ready:
                part = os.read(self._worker.stdout.fileno(), 2**16)
                if not part:
                    return None
                self._buffer += part
                continue
            if time.monotonic() - began > max_wait or (
                limited and self._seconds() - used > MAX_SECONDS
            ):
                self._fate = "hang"
                return None
            if limited and self._bytes() - held > MAX_BYTES:
                self._fate = "memory"
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def _seconds(self):
        try:
            times = self._process.cpu_times()
        except psutil.Error:
            return 0.0
        return times.user + times.system

    def _bytes(self):
        try:
            return self._process.memory_info().rss
        except psutil.Error:
            return 0


def write_table(path, settings, outcomes):
    """Writes the counts by kind as a Markdown table, with what they were made by."""
    counts = collections.Counter((o.kind, o.outcome) for o in outcomes)
    kinds = list(dict.fromkeys(outcome.kind for outcome in outcomes))
    names = (*GOOD, *BAD)
    rows = [[kind, *(counts[kind, name] for name in names)] for kind in kinds]
    total = [sum(row[column] for row in rows) for column in range(1, len(names) + 1)]
    lines = [
        f"| kind | files | {' | '.join(names)} |",
        f"| --- |{' ---: |' * (len(names) + 1)}",
    ]
    for name, *numbers in [*rows, ["all", *total]]:
        cells = (f"{number:,}" for number in (sum(numbers), *numbers))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    write_page(path, "check_damage", settings, ["\n".join(lines)])


if __name__ == "__main__":
    entry_point.run(main, Settings)
