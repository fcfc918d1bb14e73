"""Check that files of random Keras models are right, or refused in a line.

    make experiment NAME=check_random_models
    make experiment NAME=check_random_models ARGS="--num_models=10 --files_per_model=4"

Models are joined at random of the layers that the bridge has rules for. Each is
compressed by one of three recipes, written in every format and precision, quantized in
every precision, and coded. A file that was written is run once more, on examples that
no check of its own has seen, and compared with the Keras model.

A file is right, refused (a line says why it cannot be made), stopped (it was made, and
its own check found it wrong), wrong (its check let it pass, and it is), or failed (with
an error that is not ours). The status is 1 if any is wrong or failed.

Expected on 2 cores: 40 minutes for the default 60 models; no file wrong or failed.
"""

import collections
import contextlib
import dataclasses
import io
import statistics

from experiments._check_page import check_folder, write_page
from experiments._random_models import make_random_model
from tfcompress import entry_point
from tfcompress.atomic import temporary_folder
from tfcompress.errors import TfcompressError, VerificationError
from tfcompress.runner.settings import CheckSettings
from tfcompress.settings import check_at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(CheckSettings):
    """What the check's flags say."""

    num_models: int = setting(60, "Models to make.")
    files_per_model: int = setting(
        0, "Files to make of each model, drawn at random. Default: all."
    )

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, 1, "num_models")
        check_at_least(self, 0, "files_per_model")


RIGHT, REFUSED, STOPPED = "right", "refused", "stopped"
WRONG, FAILED = "wrong", "failed"
VERDICTS = (RIGHT, REFUSED, STOPPED, WRONG, FAILED)

_RECIPES = ("", "cluster(16)", "prune(0.5)+cluster(8)")
_NUM_CALIBRATION, _NUM_EXAMPLES = 32, 16
_CODED = "coded"
_HEAD = """\
| format | precision | files | right | refused | stopped | wrong | failed | error, \
median | largest | bound |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileCheck:
    """What became of one file.

    Attributes:
        model: name of the model.
        format: of the file.
        precision: of the file; "float32, coded" of a coded one.
        verdict: one of `VERDICTS`.
        error: as `Verification.error`, on examples that its own check has not seen.
        message: line of the error, where there is no file.
    """

    model: str
    format: str
    precision: str
    verdict: str
    error: float | None = None
    message: str | None = None

    @property
    def is_well(self):
        """Whether the file is right, or is not there."""
        return self.verdict in (RIGHT, REFUSED, STOPPED)


def main(settings):
    """Checks files of so many models; returns the exit status."""
    checks = []
    with check_folder(settings, "check_random_models") as (folder, console):
        for number in range(settings.num_models):
            found = check_model(settings.seed + number, settings.files_per_model)
            checks += found
            counts = collections.Counter(check.verdict for check in found)
            listed = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
            console.print(f"{number + 1} of {settings.num_models}: {listed}")
            for check in found:
                if check.verdict != RIGHT:
                    console.print(f"  {describe(check)}", soft_wrap=True)
        path = folder / "table.md"
        write_page(path, "check_random_models", settings, _body(checks))
    return 0 if all(check.is_well for check in checks) else 1


def check_model(seed, num_files=0):
    """Makes the files of one random model and checks each.

    Args:
        seed: of the model.
        num_files: how many of the files, drawn by the seed; 0 for all.
    Returns:
        List of `FileCheck`.
    """
    import keras
    import numpy as np

    random = make_random_model(seed)
    rng = np.random.default_rng(seed)
    wanted = _files()
    if num_files:
        places = rng.choice(len(wanted), num_files, replace=False)
        wanted = [wanted[place] for place in sorted(places)]
    recipe = _RECIPES[seed % len(_RECIPES)]
    with temporary_folder() as folder:
        maker = _Maker(random, recipe, folder)
        checks = [maker.check(format, precision) for format, precision in wanted]
    keras.backend.clear_session()
    return checks


def describe(check):
    """Returns what became of a file, on one line."""
    error = "" if check.error is None else f", off by {check.error:.2g}"
    message = "" if check.message is None else f": {check.message}"
    return (
        f"{check.model} {check.format} {check.precision} {check.verdict}"
        f"{error}{message}"
    )


def _files():
    """Returns (format, precision) of every file that can be made of a model."""
    from tfcompress.formats import FORMATS, shipped_formats

    files = []
    for format in shipped_formats():
        quantizer = FORMATS[format].quantizer
        files += [(format, each) for each in FORMATS[format].precisions]
        coded = ("float32", quantizer.precisions[0])
        files += [(format, f"{precision}, {_CODED}") for precision in coded]
    return files


class _Maker:
    """Makes and checks the files of one model; a dense file is made once.

    Args:
        random: `RandomModel`.
        recipe: by which it is compressed.
        folder: `pathlib.Path` of an empty folder.
    """

    def __init__(self, random, recipe, folder):
        self._random = random
        self._recipe = recipe
        self._folder = folder
        self._made = {}
        self._compressed = None

    def check(self, format, precision):
        """Returns the `FileCheck` of one file."""
        found = {"model": self._random.model.name}
        found |= {"format": format, "precision": precision}
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                path = self._make(format, precision)
                error = self._error(path, format, precision)
        except VerificationError as stopped:
            return FileCheck(**found, verdict=STOPPED, message=str(stopped))
        except TfcompressError as refused:
            return FileCheck(**found, verdict=REFUSED, message=str(refused))
        except _FAILURES as failure:
            line = " ".join(f"{type(failure).__name__}: {failure}".split())
            return FileCheck(**found, verdict=FAILED, message=line[:500])
        is_right = error is None or error <= _bound(precision)
        return FileCheck(**found, verdict=RIGHT if is_right else WRONG, error=error)

    def _make(self, format, precision):
        """Returns the path of a file, made if it is not there yet."""
        from tfcompress.coding import code_file
        from tfcompress.export import export_model
        from tfcompress.formats import FORMATS
        from tfcompress.quantizers import CalibrationData, quantize_file

        key = (format, precision)
        if key in self._made:
            return self._made[key]
        folder = self._folder / f"{format}_{precision}"
        name, _, coding = precision.partition(", ")
        result = self._model()
        if coding:
            dense = self._make(format, name)
            path = folder / dense.name
            code_file(dense, path, structures=result.structures)
        elif name in FORMATS[format].exporter.precisions:
            files = export_model(result.model, format, folder, precision=name).files
            path = folder / files[0]
        else:
            dense = self._make(format, "float32")
            examples = self._random.examples(_NUM_CALIBRATION, seed=1)
            files = quantize_file(
                dense,
                folder,
                format,
                precision=name,
                calibration=CalibrationData(inputs=examples),
            )
            path = folder / files[0]
        self._made[key] = path
        return path

    def _model(self):
        from tfcompress import compress

        if self._compressed is None:
            self._compressed = compress(self._random.model, self._recipe)
        return self._compressed

    def _error(self, path, format, precision):
        """Returns the error of a file on new examples."""
        import numpy as np

        from tfcompress.runtime import load_session
        from tfcompress.verification.comparison import compare_outputs

        examples = self._random.examples(_NUM_EXAMPLES, seed=2)
        model = self._model().model
        outputs = model([examples[tensor.name] for tensor in model.inputs])
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        expected = dict(zip(model.output_names, map(np.asarray, outputs), strict=True))
        files = sorted(each.name for each in path.parent.iterdir())
        name = precision.partition(",")[0]
        if name == "bfloat16":  # which not every CPU computes in
            name = "float32"
        with load_session(format, path.parent, files, precision=name) as session:
            return compare_outputs(expected, session.run(examples), bound=np.inf)


def _bound(precision):
    from tfcompress.verification import bound_of

    return bound_of(precision.partition(",")[0])


# A file's failure is its row, so that the list is not cut short; what a user or the
# machine stops (KeyboardInterrupt, OSError) ends the run.
_FAILURES = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError)
_FAILURES += (TypeError, ValueError)


def _body(checks):
    """Returns the parts of the table's page."""
    models = {check.model for check in checks}
    counts = collections.Counter(check.verdict for check in checks)
    listed = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    rows = dict.fromkeys((check.format, check.precision) for check in checks)
    lines = [_HEAD, *(_table_line(*row, checks) for row in rows)]
    return [f"{len(checks)} files of {len(models)} models: {listed}.", "\n".join(lines)]


def _table_line(format, precision, checks):
    checks = [c for c in checks if (c.format, c.precision) == (format, precision)]
    counts = collections.Counter(check.verdict for check in checks)
    errors = [check.error for check in checks if check.error is not None]
    middle = f"{statistics.median(errors):.1e}" if errors else "-"
    largest = f"{max(errors):.1e}" if errors else "-"
    cells = [format, precision, len(checks), *(counts[v] for v in VERDICTS)]
    cells += [middle, largest, f"{_bound(precision):g}"]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    entry_point.run(main, Settings)
