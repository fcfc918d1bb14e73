"""The rows of an experiment as steps that workers do, each in its own time.

A worker is told the experiment's module and its settings as text: it makes the same
experiment of them, joins the run's folder, and makes one row, or the timing. The
records of the folder say what is done.
"""

import dataclasses
import importlib
import itertools
import json
import pathlib
import sys

from tfcompress.atomic import write_json
from tfcompress.errors import InvalidValueError, StepError
from tfcompress.executor import ProcessExecutor, RayExecutor, Step

TIMING = "timing"
_ROW = "row:"
_FUNCTION = "tfcompress.runner.row_steps:run_part"
# A row trains and converts with TensorFlow; BERT's base size takes that much.
_ROW_BYTES = 4 * 2**30


def run_part(module, settings_class, values):
    """Does a part of a run: what a worker calls.

    Args:
        module: name of the experiment's module, which has `main`.
        settings_class: name of its settings' class.
        values: field name -> JSON value; `only` says which part.
    """
    experiment = importlib.import_module(module)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    experiment.main(getattr(experiment, settings_class)(**values))


def make_executor(settings, folder):
    """Returns the executor that the settings ask for; it is not in use yet.

    Raises:
        MissingDependencyError: if Ray is asked for and not installed.
        InvalidValueError: if its address is of another kind.
    """
    if settings.ray_address is None:
        return ProcessExecutor(settings.workers, folder.log)
    address = None if settings.ray_address == "local" else settings.ray_address
    return RayExecutor(settings.workers, folder.log, address)


def row_steps(rows, settings, folder):
    """Returns a `Step` for each row, after those that it needs.

    Args:
        rows: tuple of `Row`, the baseline first.
        settings: `RunSettings` of the run.
        folder: open `RunFolder`.
    Raises:
        InvalidValueError: if no worker could make the settings again.
    """
    baseline = _records(rows[0], folder)
    models = {
        row.name: str(folder.models.absolute() / f"{row.name}.json") for row in rows
    }
    steps = []
    for row in rows:
        parent = () if row.parent is None else (models[row.parent],)
        steps.append(
            Step(
                name=row.name,
                function=_FUNCTION,
                arguments=_arguments(settings, folder, f"{_ROW}{row.name}"),
                inputs=() if row is rows[0] else (*baseline, *parent),
                outputs=(models[row.name], *_records(row, folder)),
                num_cores=settings.num_threads,
                memory_bytes=_ROW_BYTES,
            )
        )
    return steps


def make_rows(rows, settings, store, console):
    """Has workers make rows; the records say what came of it.

    Args:
        rows: tuple of `Row`, the baseline first.
        settings: `RunSettings`, whose `workers` are above 0.
        store: `RunStore` of the run. It does not see what workers write.
        console: `rich.console.Console`.
    Raises:
        TfcompressError: what a row's training raises, or if the workers cannot go on.
    """
    folder = store.folder
    for key, record in store.records.items():
        if record["status"] != "ok":  # tried again: a step is done if it has records
            (folder.records / f"{key}.json").unlink()
    steps = row_steps(rows, settings, folder)
    waiting = sum(not step.is_done() for step in steps)
    if waiting < len(steps):
        done = len(steps) - waiting
        console.print(f"Going on: {done} of {len(steps)} rows are done.")
    numbers = itertools.count(len(steps) - waiting + 1)

    def on_done(step):
        console.print(f"{next(numbers)}/{len(steps)}  {step.name}", soft_wrap=True)

    with make_executor(settings, folder) as executor:
        executor.run(steps, on_done)


def time_elsewhere(settings, store):
    """Has a worker time what is made, on a machine of its own."""
    marker = _timed(store.folder)
    marker.unlink(missing_ok=True)
    with make_executor(settings, store.folder) as executor:
        executor.run([timing_step(settings, store.folder)])


def note_timed(folder):
    """Notes that the timing is done, once its records are written."""
    write_json(_timed(folder), {})


def _timed(folder):
    return folder.data.absolute() / "timed.json"


def timing_step(settings, folder):
    """Returns the `Step` that times what is made, on a machine of its own."""
    return Step(
        name=TIMING,
        function=_FUNCTION,
        arguments=_arguments(settings, folder, TIMING),
        outputs=(str(_timed(folder)),),
        num_cores=settings.num_threads,
        memory_bytes=_ROW_BYTES,
        is_exclusive=True,
    )


def row_of_part(part, rows):
    """Returns the `Row` that a part asks for, or None for the timing.

    Raises:
        InvalidValueError: if it is neither.
    """
    for row in rows:
        if part == f"{_ROW}{row.name}":
            return row
    if part != TIMING:
        raise InvalidValueError(
            f"--only must be {TIMING} or {_ROW}NAME of a row, got {part!r}."
        )
    return None


def check_begun(path, flags):
    """Refuses to work in the folder of another run.

    Args:
        path: of the run's folder; nothing is made there.
        flags: dict of what decides the results here.
    Raises:
        StepError: if another run, or none, was begun in it.
    """
    try:
        text = pathlib.Path(path, "flags.json").read_text(encoding="utf-8")
        begun = json.loads(text)["flags"]
    except (OSError, ValueError, LookupError, TypeError):
        begun = None
    if begun != flags:
        raise StepError(
            f"The folder {path} holds no run of these flags and data: a worker "
            "takes part in a run that was begun. Start the run without --only."
        )


def _arguments(settings, folder, part):
    settings_class = type(settings)
    module = settings_class.__module__
    if module == "__main__":  # it was started as a program, by its module's name
        spec = sys.modules["__main__"].__spec__
        module = None if spec is None else spec.name
    if module is None or "<locals>" in settings_class.__qualname__:
        raise InvalidValueError(
            "--workers needs an experiment that a worker can import: a module with "
            f"main(settings) and its class of settings; {settings_class.__qualname__} "
            "is of none. Leave --workers out."
        )
    values = dataclasses.asdict(settings) | {
        "run_dir": str(folder.path.absolute()),
        "only": part,
        "workers": 0,
        "ray_address": None,
        "resume": False,
        "fresh": False,
    }
    return {
        "module": module,
        "settings_class": settings_class.__name__,
        "values": values,
    }


def _records(row, folder):
    path = folder.records.absolute()
    return tuple(str(path / f"{each.key(row.name)}.json") for each in row.targets)
