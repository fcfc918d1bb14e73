"""An experiment: its rows built and scored one by one, then timed in turn.

The first phase keeps each row and each target as it finishes; the second phase times
the targets marked for it, in turn, and is done anew if it is cut short. The same
command goes on where it was.
"""

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Callable

from tfcompress.atomic import temporary_folder
from tfcompress.formats.target import runs_on
from tfcompress.processes import kept_children
from tfcompress.record import artifact_key, read_records
from tfcompress.report import print_table
from tfcompress.report.table import file_name
from tfcompress.runner.calibration import Calibration
from tfcompress.runner.console import Progress, own_terminal
from tfcompress.runner.damage import remove_damaged
from tfcompress.runner.environment import code_fingerprint, describe_environment
from tfcompress.runner.rows import Row, check_rows, devices_without_keras, widen_rows
from tfcompress.runner.run_folder import RunFolder, run_id
from tfcompress.runner.search import Search, describe_search
from tfcompress.settings import deciding_values, flags_of


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
        appendix: function of the records that returns Markdown to stand below the
            table, or nothing.
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
    appendix: Callable = lambda records: ""
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
    from tfcompress.runner.building import Builder
    from tfcompress.runner.summary import outputs_lines, summarize, write_summary

    _warn(dataset, console)
    console.print(f"Run folder: {folder.path}")
    left_out = devices_without_keras(experiment.rows, settings.devices)
    for line in left_out:
        console.print(line)
    for name in remove_damaged(folder):
        console.print(f"Damaged or missing, and made again: {name}", soft_wrap=True)
    builder = None
    if not _is_finished(folder, experiment.rows):
        environment = describe_environment()
        builder = Builder(experiment, settings, decisive, dataset, folder, environment)
    if settings.run_dir is None:  # not before the flags have shown that they will do
        folder.link_latest(dataset.name)
    if builder is not None:
        _make(experiment, builder, settings, folder, console)
        seconds = builder.verification_seconds
        console.print(f"Running new files beside their sources took {seconds:.0f} s.")
    else:
        console.print("The run is finished; this is its table.")
    records = records_in_order(folder, experiment.rows)
    notes = summarize(experiment.rows, records, folder)
    notes = outputs_lines(experiment.rows[0], folder) + left_out + notes
    if experiment.search is not None:
        notes = describe_search(records, experiment.search.max_drop) + notes
    if builder is not None:  # what was tried again may have changed the table
        write_summary(
            experiment.name,
            folder,
            command(experiment.name, settings),
            records,
            notes,
            warning=dataset.warning,
            appendix=experiment.appendix(records),
        )
    print_table(records, console)
    for line in notes:
        console.print(line, soft_wrap=True)
    _warn(dataset, console)
    console.print(f"Table, records and artifacts: {folder.path}", soft_wrap=True)
    status = tell_failures(records, console)
    chosen = experiment.choose(records)
    if chosen is not None:
        console.print(_describe_chosen(chosen, folder), soft_wrap=True)
    return status


def _describe_chosen(record, folder):
    size = f"{record['size']['file_bytes'] / 1e3:,.1f} kB"
    path = folder.artifacts / artifact_key(record)
    return f"Take {path} ({record['row']}, {file_name(record)}, {size})."


def _make(experiment, builder, settings, folder, console):
    """Makes what is still missing of a run: rows, then the timing."""
    from tfcompress.runner.timing import time_rows

    weights = builder.weights()
    num_kept = builder.num_steps - len(weights)
    if num_kept:
        console.print(f"Going on: {num_kept} of {builder.num_steps} steps are done.")
    timed = [row for row in experiment.rows if row.is_timed]
    timing_weight = builder.timing_weight(timed, settings.rounds)
    with Progress(console, sum(weights.values()) + timing_weight) as progress:
        with kept_children():
            made = _build_rows(experiment, builder, progress, weights)
        builder.compare()
        timed = [row for row in made if row.is_timed]
        if settings.rounds:
            examples = (folder.data / builder.timing_examples).resolve()
            with progress.step("timing in turn", timing_weight) as on_progress:
                time_rows(timed, settings, folder, examples, on_progress)


def _build_rows(experiment, builder, progress, weights):
    """Builds all rows; of a search's candidates those up to the one that holds.

    Returns:
        List of the rows made, without the candidates that do not hold.
    """
    made = []
    for row in experiment.rows:
        builder.build_row(row, progress, weights)
        if experiment.search is None or row.name not in experiment.search.candidates:
            made.append(row)
        elif builder.holds(row):
            return [*made, row]
    return made


def _is_finished(folder, rows):
    """Whether the table is written and nothing is left to try again, or to add.

    A search has rows that were not made; of those that were, all targets are there.
    """
    records = read_records(folder.records)
    made = {record["row"] for record in records.values()}
    return (
        folder.table.exists()
        and all(
            target.key(row.name) in records
            for row in rows
            if row.name in made
            for target in row.targets
        )
        and all(
            record["status"] == "ok" and record["timing_error"] is None
            for record in records.values()
        )
    )


def command(name, settings, arguments=()):
    """Returns the command that makes a run, as a user would type it.

    Args:
        name: of the experiment's module.
        settings: its settings; `resume` and `fresh` say how to begin, and are left out.
        arguments: those that are no flags.
    """
    options = [
        flag for flag in flags_of(settings) if flag not in ("--resume", "--fresh")
    ]
    if arguments:
        options += ["--", *arguments]
    text = " ".join(map(_quote, options))
    tail = f' ARGS="{_escape(text)}"' if text else ""
    return f"make experiment NAME={name}{tail}"


def _quote(argument):
    """Quotes an argument for the shell that make starts, readably where possible."""
    if "'" in argument and not set('"\\$`') & set(argument):
        return f'"{argument}"'
    return shlex.quote(argument)


def _escape(arguments):
    """Escapes what stands in the double quotes of ARGS, for make and for the shell."""
    doubled = arguments.replace("$", "$$")
    return re.sub(r'([\\"$`])', r"\\\1", doubled)


def _warn(dataset, console):
    if dataset.warning:
        import rich.panel

        console.print(
            rich.panel.Panel(dataset.warning, title="WARNING", style="bold yellow")
        )
        print("WARNING:", dataset.warning)  # into the log


def records_in_order(folder, rows):
    """Returns the records of a run folder in the order of the rows and targets."""
    records = read_records(folder.records)
    keys = [target.key(row.name) for row in rows for target in row.targets]
    return [records[key] for key in keys if key in records]


def tell_failures(records, console):
    """Prints a line for each record of a failure.

    Args:
        records: list of records.
        console: `rich.console.Console`.
    Returns:
        Exit status: 1 if there is one, else 0.
    """
    from rich.markup import escape

    failed = [record for record in records if record["status"] == "failed"]
    for record in failed:
        place = runs_on(record["format"], record["runtime"], record["device"])
        names = (record["format"], record["precision"], record["coding"], place)
        name = f"{record['row']}, {' '.join(filter(None, names))}"
        what = escape(f"{name}: {record['error']}")  # it may have brackets in it
        console.print(f"[bold red]failed[/]: {what}", soft_wrap=True)
    return 1 if failed else 0
