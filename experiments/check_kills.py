"""Kill a run at random, restart it until it ends, and compare it with one left alone.

    make experiment NAME=check_kills
    make experiment NAME=check_kills ARGS="--kills=50 --seed=1"
    make experiment NAME=check_kills ARGS="-- compress --model=my.keras --data=my.npz"

The run is a short `cluster_finetune`, or the command after `--`. SIGKILL comes at
random times, to the run alone, to its whole process group, or to a worker of a run with
`--workers`, which goes on. After each other kill no process of the run may be left. At
its end the run's records must be those of the undisturbed run, times and machine aside,
and its models, artifacts and predictions the same to the bit; nothing else may lie in
its folder, and nothing in the system's temporary folder.

Expected on 2 cores: 10 minutes, and no fault. The status is 1 if there is one.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

from experiments._check_page import write_page
from tfcompress import entry_point
from tfcompress.errors import InvalidValueError, require
from tfcompress.processes import child_environment, child_process
from tfcompress.runner.settings import CheckSettings
from tfcompress.settings import check_at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(CheckSettings):
    """What the check's flags say."""

    kills: int = setting(25, "How many times a run is killed, all runs together.")

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, 1, "kills")


SHORT_RUN = (
    "cluster_finetune",
    *("--dataset=synthetic_reviews", "--limit=300", "--formats=onnx", "--rounds=0"),
)
# Fields of a record that say when, where and how fast, and not what came out.
_ASIDE = {
    ("environment",),
    ("timing_environment",),
    ("latency",),
    ("memory",),
    ("training", "seconds"),
    ("training", "seconds_per_epoch"),
    ("verification", "seconds"),
}
# Files that hold times or what third parties print; the records are compared by field.
_UNCOMPARED = (
    *("log.txt", "table.md", "result.json", "noise.json"),
    *("records/*.json", "models/*.json"),
)
# A run is killed within this share of the undisturbed one's time, so that most runs
# need several starts.
_LATEST_KILL = 0.5
_PATIENCE_SECONDS = 60  # for processes to end, on a machine that has much to do
_MARK = "TFCOMPRESS_CHECK_KILLS"
_WORKER = "tfcompress.executor.worker"
_HEAD = """\
| run | alone | with its group | a worker | left at work | unswept | differing |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


@dataclasses.dataclass(kw_only=True)
class KilledRun:
    """What became of one run that was killed and restarted until it ended.

    Attributes:
        number: of the run, from 1.
        kills: "alone", "group" or "worker" of each kill.
        left: descriptions of the processes that outlived a kill.
        unswept: paths of what was left under temporary names.
        differing: paths of the files and fields that are not those of the undisturbed
            run, or how the run failed.
    """

    number: int
    kills: list[str] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)
    unswept: list[str] = dataclasses.field(default_factory=list)
    differing: list[str] = dataclasses.field(default_factory=list)

    @property
    def faults(self):
        """All that is wrong, a line each."""
        kinds = {
            "left at work": self.left,
            "unswept": self.unswept,
            "differing": self.differing,
        }
        return [
            f"run {self.number}: {kind}: {what}"
            for kind, found in kinds.items()
            for what in found
        ]


class Runs:
    """Starts runs of one command, each in a folder of its own.

    Args:
        folder: where the runs' folders go, and what they print.
        command: name of the experiment and its flags.
    """

    def __init__(self, folder, command):
        self.folder = folder.absolute()
        self._command = command
        self._mark = str(self.folder)

    def start(self, name):
        """Starts the run `name`, or goes on with it; as `child_process`."""
        temporary = self.temporary(name)
        temporary.mkdir(exist_ok=True)
        environment = child_environment(2) | {
            "TMPDIR": str(temporary),
            _MARK: self._mark,
        }
        return child_process(
            "experiments",
            [*self._command, f"--run_dir={self.path(name)}"],
            environment=environment,
            output_path=self.folder / "output.txt",
        )

    def workers(self):
        """Returns the sorted numbers of the processes that make rows of any run."""
        psutil = require("psutil", extra="dev")
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if self._is_ours(process) and _WORKER in process.cmdline():
                    found.append(process.pid)
        return sorted(found)

    def path(self, name):
        """Returns the folder of a run."""
        return self.folder / name

    def temporary(self, name):
        """Returns the folder that a run takes for the system's temporary one."""
        return self.folder / f"{name}.tmp"

    def processes_left(self):
        """Returns the processes of any run that do not end within a while."""
        psutil = require("psutil", extra="dev")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            found = [p for p in psutil.process_iter() if self._is_ours(p)]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def _is_ours(self, process):
        psutil = require("psutil", extra="dev")
        try:
            if process.status() == psutil.STATUS_ZOMBIE:  # has ended
                return False
            return process.environ().get(_MARK) == self._mark
        except psutil.Error:  # another user's, or it has just ended
            return False


def main(settings, *arguments):
    """Runs the check; returns the exit status."""
    folder = pathlib.Path(settings.run_dir or "runs/check_kills/latest")
    folder.mkdir(parents=True, exist_ok=True)
    _remove_earlier(folder)
    runs = Runs(folder, arguments or SHORT_RUN)
    began = time.monotonic()
    _run_to_its_end(runs, "undisturbed")
    seconds = time.monotonic() - began
    print(f"The undisturbed run took {seconds:.0f} s.")
    rng = random.Random(settings.seed)
    found, num_kills = [], 0
    while num_kills < settings.kills:
        run = KilledRun(number=len(found) + 1)
        kill_and_restart(runs, run, settings.kills - num_kills, seconds, rng)
        num_kills += len(run.kills)
        found.append(run)
        for fault in run.faults:
            print(fault)
    text = describe(found)
    parts = [text.rstrip("\n")]
    write_page(folder / "table.md", "check_kills", settings, parts, arguments=arguments)
    print(text, end="")
    return 1 if any(run.faults for run in found) else 0


def kill_and_restart(runs, run, max_kills, seconds, rng):
    """Kills a run at random times until it ends, and notes what it finds in `run`.

    Args:
        runs: `Runs`, of which "undisturbed" has ended.
        run: `KilledRun` to fill in.
        max_kills: after so many the run is left alone.
        seconds: that the undisturbed run took.
        rng: `random.Random`.
    """
    name = f"killed_{run.number}"
    while len(run.kills) < max_kills:
        with runs.start(name) as process:
            kind = _kill(process, runs, run, max_kills, seconds, rng)
        if kind is None:
            break
        run.kills.append(kind)
        num_records = len(list(runs.path(name).glob("records/*.json")))
        print(f"run {run.number}: killed ({kind}) with {num_records} records")
        for process in runs.processes_left():
            run.left.append(str(process))
            process.kill()
    try:
        _run_to_its_end(runs, name)
    except InvalidValueError as error:
        run.differing.append(str(error))
        return
    run.unswept += unswept(runs.path(name))
    run.unswept += [str(path) for path in runs.temporary(name).iterdir()]
    run.differing += differences(runs.path("undisturbed"), runs.path(name))


def _kill(process, runs, run, max_kills, seconds, rng):
    """Kills a run at a random time, and before that workers of it.

    Returns:
        "alone" or "group"; None if the run has ended by itself, or the last kill that
        is left was one of a worker.
    """
    while not _ends_within(process, rng.uniform(0, _LATEST_KILL) * seconds):
        workers = runs.workers()
        kind = rng.choice(("alone", "group", *["worker"] * bool(workers)))
        if kind != "worker":
            (os.kill if kind == "alone" else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            return kind
        with contextlib.suppress(OSError):  # it has just ended
            os.kill(rng.choice(workers), signal.SIGKILL)
        run.kills.append(kind)
        print(f"run {run.number}: killed a worker")
        if len(run.kills) == max_kills:
            process.wait()
    return None


def unswept(folder):
    """Returns the paths of the temporary files and folders in a run's folder."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob(".*"))
        if path.name != ".lock"
    ]


def differences(folder, other):
    """Returns what differs between the folders of two runs of the same command.

    Args:
        folder, other: paths of the folders of the runs.
    Returns:
        List of paths of files, with the field where it is a record's.
    """
    first, second = _digests(folder), _digests(other)
    names = [n for n in {**first, **second} if first.get(n) != second.get(n)]
    for name in first.keys() & second.keys():
        if pathlib.PurePath(name).match("records/*.json"):
            records = [
                json.loads((each / name).read_text(encoding="utf-8"))
                for each in (folder, other)
            ]
            names += [f"{name}: {field}" for field in _differing_fields(*records)]
    return sorted(names)


def describe(found):
    """Returns the Markdown table of a list of `KilledRun`, with a line on them all."""
    lines = [
        f"| {run.number} | {run.kills.count('alone')} | {run.kills.count('group')} "
        f"| {run.kills.count('worker')} "
        f"| {len(run.left)} | {len(run.unswept)} | {len(run.differing)} |"
        for run in found
    ]
    num_kills = sum(len(run.kills) for run in found)
    num_faults = sum(len(run.faults) for run in found)
    below = f"{num_kills} kills of {len(found)} runs: {num_faults} faults."
    return "\n".join([_HEAD, *lines, "", below]) + "\n"


def _run_to_its_end(runs, name):
    with runs.start(name) as process:
        status = process.wait()
    if status:
        raise InvalidValueError(
            f"The run {name!r} ended with status {status}. What it printed is in "
            f"{runs.folder / 'output.txt'}."
        )


def _ends_within(process, seconds):
    """Waits for a process; returns whether it has ended by itself."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _digests(folder):
    """Returns file name -> SHA-256; nothing for a file that is only to be there."""
    digests = {}
    for path in sorted(folder.rglob("[!.]*")):
        name = path.relative_to(folder)
        if path.is_file():
            is_compared = not any(name.match(pattern) for pattern in _UNCOMPARED)
            content = path.read_bytes() if is_compared else b""
            digests[name.as_posix()] = hashlib.sha256(content).hexdigest()
    return digests


def _differing_fields(first, second, where=()):
    """Yields the names of the fields in which two JSON values differ, with dots."""
    if where in _ASIDE or first == second:
        return
    if not (isinstance(first, dict) and isinstance(second, dict)):
        yield ".".join(where)
        return
    for name in sorted(first.keys() | second.keys()):
        yield from _differing_fields(first.get(name), second.get(name), (*where, name))


def _remove_earlier(folder):
    """Removes what an earlier check left in its folder."""
    for pattern in ("undisturbed*", "killed_*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path)
    (folder / "output.txt").unlink(missing_ok=True)


if __name__ == "__main__":
    entry_point.run(main, Settings)
