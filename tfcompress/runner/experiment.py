"""An experiment: its rows built and scored one by one, then timed in turn.

The first phase keeps each row and each target as it finishes; the second phase times
the targets marked for it, in turn, and is done anew if it is cut short. The same
command goes on where it was.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable

from tfcompress.atomic import temporary_folder
from tfcompress.errors import InvalidValueError
from tfcompress.executor import code_fingerprint
from tfcompress.processes import kept_children
from tfcompress.report import show_result, show_warning
from tfcompress.runner.calibration import Calibration
from tfcompress.runner.console import Progress, own_terminal
from tfcompress.runner.environment import describe_environment
from tfcompress.runner.row_steps import (
    check_begun,
    make_rows,
    note_timed,
    row_of_part,
    time_elsewhere,
)
from tfcompress.runner.rows import (
    Row,
    check_rows,
    devices_without_keras,
    widen_rows,
)
from tfcompress.runner.run_folder import RunFolder, run_id
from tfcompress.runner.search import Search
from tfcompress.runner.store import RunStore
from tfcompress.settings import deciding_values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is to be done.

    Args:
        name: of the experiment's module.
        default_dataset: used where the user names none.
        rows: tuple of `Row`, parents first.
        make_task: function of a `Dataset`; see `EmbeddingTask`.
        load_dataset: function without arguments that returns the `Dataset`, where the
            shared flags do not choose it.
        search: `Search` that ends with the first of its candidates that holds, or
            `None`: all rows are made.
        calibration: `Calibration` of its static files.
        published: function of the dataset's name that returns what others published
            on it, a list of `tfcompress.report.published.beside`.
        choose: function of the records that returns the one whose artifact a user
            takes, or `None`; the last line that is printed names it.
    """

    name: str
    default_dataset: str
    rows: tuple[Row, ...]
    make_task: Callable
    load_dataset: Callable | None = None
    search: Search | None = None
    calibration: Calibration = Calibration()
    published: Callable = lambda dataset: []
    choose: Callable = lambda records: None


def run_experiment(experiment, settings, derived=None):
    """Runs an experiment, or goes on with it, and prints its table.

    Args:
        experiment: `Experiment`.
        settings: `ExperimentSettings`.
        derived: dict of what else decides the results, and of settings whose default
            depends on others; JSON values.
    Returns:
        Exit status: 1 if a target failed, whose record says why, else 0.
    Raises:
        TfcompressError, OSError: if it cannot be run or go on.
    """
    rows = widen_rows(experiment.rows, settings.runtimes, settings.devices)
    check_rows(rows)
    experiment = dataclasses.replace(experiment, rows=rows)
    decisive = deciding_values(settings) | (derived or {})
    if settings.only is not None:
        return _run_part(experiment, settings, decisive)
    with temporary_folder() as early:
        early_log = early / "log.txt"
        with own_terminal(early_log) as console:
            dataset = _load_dataset(experiment, settings, console)
        path = settings.run_dir or pathlib.Path(
            "runs", experiment.name, run_id(decisive, dataset.fingerprint)
        )
        with RunFolder(path) as folder:
            folder.begin(
                decisive | {"dataset_fingerprint": dataset.fingerprint},
                code_fingerprint(),
                resume=settings.resume,
                fresh=settings.fresh,
            )
            with folder.log.open("ab") as log:
                log.write(early_log.read_bytes())
            with folder.abandoned_if_empty(), own_terminal(folder.log) as console:
                return _run(experiment, settings, decisive, dataset, folder, console)


def _run_part(experiment, settings, decisive):
    """Does what a worker of a run is asked for; the run's own process has the lock."""
    import rich.console

    from tfcompress.runner.parts import make_builder
    from tfcompress.runner.scoring import examples_path

    row = row_of_part(settings.only, experiment.rows)
    if settings.run_dir is None:
        raise InvalidValueError("--only needs the --run_dir of the run.")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = rich.console.Console(file=nowhere)  # the run's own process tells
        dataset = _load_dataset(experiment, settings, console)
        flags = decisive | {"dataset_fingerprint": dataset.fingerprint}
        check_begun(settings.run_dir, flags)
        with RunFolder(settings.run_dir, is_guest=True) as folder:
            store = RunStore(folder)
            if row is None:
                examples = examples_path(folder, dataset.test, "timing")
                _time(experiment.rows, settings, store, examples, console)
                note_timed(folder)
                return 0
            environment = describe_environment()
            parts = (experiment, settings, decisive, dataset, store, environment)
            builder = make_builder(*parts)
            todo = builder.todo()
            with Progress(console, len(todo)) as progress, kept_children():
                builder.build_row(row, progress, todo)
    return 0


def _time(rows, settings, store, examples, console):
    from tfcompress.runner.timing import time_rows

    timed = [row for row in rows if row.is_timed and _is_made(row, store)]
    progress = Progress(console, 1)
    with progress, progress.step("timing in turn") as on_progress:
        time_rows(timed, settings, store, examples, on_progress)


def _is_made(row, store):
    return all(target.key(row.name) in store.records for target in row.targets)


def _load_dataset(experiment, settings, console):
    if experiment.load_dataset is not None:
        console.print(f"Loading {experiment.default_dataset} ...")
        dataset = experiment.load_dataset()
    else:
        console.print(f"Loading {settings.dataset or experiment.default_dataset} ...")
        dataset = _chosen_dataset(experiment, settings)
    sizes = ", ".join(f"{s.num_examples:,} {n}" for n, s in dataset.splits().items())
    console.print(f"{dataset.name} ({dataset.source}): {sizes}.")
    return dataset


def _chosen_dataset(experiment, settings):
    from tfcompress.data.load import load_dataset

    return load_dataset(
        settings.dataset,
        default=experiment.default_dataset,
        data_dir=settings.data_dir,
        text_column=settings.text_column,
        label_column=settings.label_column,
        seed=settings.seed,
        limit=settings.limit,
    )


def _run(experiment, settings, decisive, dataset, folder, console):
    from tfcompress.runner.collecting import collect_result
    from tfcompress.runner.parts import make_builder
    from tfcompress.runner.scoring import examples_path

    show_warning(dataset.warning, console)
    console.print(f"Run folder: {folder.path}")
    store = RunStore(folder)
    for line in devices_without_keras(experiment.rows, settings.devices):
        console.print(line)
    for name in store.damaged:
        console.print(f"Damaged or missing, and made again: {name}", soft_wrap=True)
    builder = None
    if store.result is None or store.is_left or store.lacks(experiment.rows):
        environment = describe_environment()
        builder = make_builder(
            experiment, settings, decisive, dataset, store, environment
        )
    if settings.run_dir is None:  # not before the flags have shown that they will do
        folder.link_latest(dataset.name)
    if builder is not None:
        failed = set()
        if settings.workers:
            make_rows(_rows_for_workers(experiment), settings, store, console)
            store = RunStore(folder)
            records = store.records.items()
            failed = {key for key, record in records if record["status"] != "ok"}
            builder = make_builder(
                experiment, settings, decisive, dataset, store, environment
            )
        examples = examples_path(folder, dataset.test, "timing")
        _make(experiment, builder, settings, store, examples, console, failed)
        if settings.ray_address is not None:
            store = RunStore(folder)
        seconds = builder.verification_seconds
        console.print(f"Running new files beside their sources took {seconds:.0f} s.")
        result = collect_result(experiment, settings, dataset, store)
        folder.write_result(result)
    else:
        console.print("The run is finished; this is its table.")
        result = store.result
    show_result(result, folder.path, console)
    return result.status


def _rows_for_workers(experiment):
    """Returns the rows that need no other's result: a search tries one by one."""
    search = experiment.search
    tried = () if search is None else search.candidates
    return tuple(row for row in experiment.rows if row.name not in tried)


def _make(experiment, builder, settings, store, examples, console, failed):
    """Makes what is still missing of a run: rows, then the timing.

    Args:
        failed: keys of what workers have tried in vain just now.
    """
    from tfcompress.runner.timing import time_rows

    todo = builder.todo() - failed
    num_kept = builder.num_steps - len(todo)
    if num_kept and not settings.workers:
        console.print(f"Going on: {num_kept} of {builder.num_steps} steps are done.")
    with Progress(console, len(todo) + _is_to_time(settings, store)) as progress:
        with kept_children():
            made = _build_rows(experiment, builder, progress, todo)
        builder.compare()
        timed = [row for row in made if row.is_timed]
        if _is_to_time(settings, store) and settings.ray_address is not None:
            with progress.step("timing in turn, by a worker"):
                time_elsewhere(settings, store)
        elif _is_to_time(settings, store):
            with progress.step("timing in turn") as on_progress:
                time_rows(timed, settings, store, examples, on_progress)


def _is_to_time(settings, store):
    """Whether a file is not timed yet: then all are, as they are timed in turn."""
    return settings.rounds > 0 and (store.is_untimed or not store.has_ended)


def _build_rows(experiment, builder, progress, todo):
    """Builds all rows; of a search's candidates those up to the one that holds.

    Returns:
        List of the rows made, without the candidates that do not hold.
    """
    made = []
    for row in experiment.rows:
        builder.build_row(row, progress, todo)
        if experiment.search is None or row.name not in experiment.search.candidates:
            made.append(row)
        elif builder.holds(row):
            return [*made, row]
    return made
