"""The folder of a run: the same command finds it again and goes on where it was."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

from tfcompress.atomic import atomic_file, sweep, write_json
from tfcompress.errors import InvalidValueError
from tfcompress.report import markdown_page, write_result

_TEMPORARY_VARIABLE = "TMPDIR"


class RunFolder:
    """`runs/<experiment>/<run id>/`, locked while this object is open.

    What a killed run left under temporary names is swept. While the folder is entered,
    by `with`, it is also where this process, its children and third parties make their
    temporary files.

    Args:
        path: the folder; made where it is not there.
        is_guest: whether this process does a part of a run whose own process has the
            lock. Nothing is swept then.

    Attributes:
        path, models, artifacts, records, predictions, scores, data: its folders.
        log: `log.txt`, which takes what third parties print.
        noise: `noise.json`, the ratios of what is timed twice.
        result: `result.json`, all that a reader sees of the run.
        table: `table.md`, the result as Markdown; written last.
    """

    def __init__(self, path, *, is_guest=False):
        self.path = pathlib.Path(path)
        self.models = self.path / "models"
        self.artifacts = self.path / "artifacts"
        self.records = self.path / "records"
        self.predictions = self.path / "predictions"
        self.scores = self.path / "scores"
        self.data = self.path / "data"
        self.log = self.path / "log.txt"
        self.result = self.path / "result.json"
        self.table = self.path / "table.md"
        self.noise = self.path / "noise.json"
        # Absolute: a converter may work in another folder.
        self._temporary = self.path.absolute() / ".tmp"
        self._make_folders()
        self._entered = contextlib.ExitStack()
        if is_guest:
            self._temporary.mkdir(exist_ok=True)
            self._temporary /= f"worker-{os.getpid()}"
            return
        self._lock = (self.path / ".lock").open("w")
        self._entered.enter_context(self._lock)  # a killed process releases it too
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._entered.close()
            raise InvalidValueError(
                f"The run folder {self.path} is in use by another process. Wait for "
                "it, or choose another --run_dir."
            ) from error
        self._sweep()

    def _sweep(self):
        shutil.rmtree(self._temporary, ignore_errors=True)
        for folder, _, _ in os.walk(self.path):
            sweep(folder)

    def __enter__(self):
        self._entered.enter_context(_temporary_files_in(self._temporary))
        return self

    def __exit__(self, *exception):
        self._entered.close()

    def begin(self, flags, code, *, resume, fresh):
        """Notes what the run is, or checks that it is the one begun here.

        Args:
            flags: dict of the flags that decide the result.
            code: fingerprint of the sources.
            resume: go on although other code began the run.
            fresh: delete what is there and begin anew.
        Raises:
            InvalidValueError: if the folder holds another run, or one of other code,
                or it cannot be told which.
        """
        path = self.path / "flags.json"
        if fresh:
            self._clear()
        if path.exists():
            begun = self._read_flags(path, {"flags": flags, "code": code}, resume)
            if differing := _differing(begun["flags"], flags):
                raise InvalidValueError(
                    f"The run folder {self.path} holds a run with other flags "
                    f"({differing}). Choose another --run_dir, or --fresh to replace "
                    "it."
                )
            if begun["code"] != code and not resume:
                raise InvalidValueError(
                    f"Other code began the run in {self.path}. Go on with it by "
                    "--resume, or begin anew by --fresh."
                )
        write_json(path, {"flags": flags, "code": code})

    def _read_flags(self, path, current, resume):
        """Returns what began the run; where that is damaged, `current` on `resume`."""
        try:
            begun = json.loads(path.read_text(encoding="utf-8"))
            if begun.keys() == current.keys() and isinstance(begun["flags"], dict):
                return begun
        except (ValueError, AttributeError):
            pass
        if not resume:
            raise InvalidValueError(
                f"The file {path} is damaged, and it cannot be told which run the "
                "folder holds. If it is that of this command, go on with it by "
                "--resume; else choose another --run_dir, or begin anew by --fresh."
            )
        return current

    def write_result(self, result):
        """Writes a `RunResult` as data and as a page."""
        write_result(self.result, result)
        with atomic_file(self.table) as path:
            path.write_text(markdown_page(result), encoding="utf-8")

    @contextlib.contextmanager
    def abandoned_if_empty(self):
        """Lets the folder be begun with other flags if the block leaves nothing in it.

        An error before the first model is one of the flags or of the user's files, who
        will mend it and start again.
        """
        try:
            yield
        finally:
            if not any(self.models.iterdir()) and not any(self.records.iterdir()):
                (self.path / "flags.json").unlink()

    def link_latest(self, dataset):
        """Points `latest` and `latest-<dataset>`, beside the folder, at it.

        Args:
            dataset: name of the dataset, or path of the file it was read from.
        """
        for name in ("latest", f"latest-{pathlib.Path(dataset).stem}"):
            temporary = self.path / ".latest"  # no other run writes here
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(self.path.name)
            os.replace(temporary, self.path.parent / name)

    def _clear(self):
        for path in self.path.iterdir():
            if path.name in (".lock", self._temporary.name):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self._make_folders()

    def _make_folders(self):
        for folder in (
            self.models,
            self.artifacts,
            self.records,
            self.predictions,
            self.scores,
            self.data,
        ):
            folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _temporary_files_in(folder):
    """Lets this process and its children make temporary files in a folder of ours."""
    folder.mkdir(exist_ok=True)
    variable, default = os.environ.get(_TEMPORARY_VARIABLE), tempfile.tempdir
    os.environ[_TEMPORARY_VARIABLE] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = default
        if variable is None:
            del os.environ[_TEMPORARY_VARIABLE]
        else:
            os.environ[_TEMPORARY_VARIABLE] = variable
        shutil.rmtree(folder, ignore_errors=True)


def run_id(flags, fingerprint):
    """Returns the name of a run: a hash of its flags and its data.

    >>> run_id({"seed": 0}, "abc") == run_id({"seed": 0}, "abc")
    True
    """
    text = json.dumps([flags, fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _differing(old, new):
    names = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
    return ", ".join(f"--{k}: {old.get(k)!r} there" for k in names[:3])
