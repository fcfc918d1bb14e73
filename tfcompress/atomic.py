"""Files and folders that are either whole or not there.

What is written goes to a temporary name beside its target and is renamed when it is
complete, so that neither a crash nor a full disk leaves something half-written.
"""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile


@contextlib.contextmanager
def atomic_file(target):
    """Yields a temporary path beside `target` that becomes `target` at the end.

    Args:
        target: path of the file to make; an existing file is replaced.
    Yields:
        `pathlib.Path` to write to. It has the suffix of `target`, because some
        writers choose the format by it.
    Raises:
        OSError: if the folder cannot be written; nothing is left behind.
    """
    target = pathlib.Path(target)
    with _atomic_folder_beside(target) as folder:
        temporary = folder / target.name
        yield temporary
        os.replace(temporary, target)


@contextlib.contextmanager
def atomic_folder(target):
    """Yields a temporary folder beside `target` that becomes `target` at the end.

    Args:
        target: path of the folder to make; an existing one is replaced.
    Yields:
        `pathlib.Path` of an empty folder to fill.
    Raises:
        OSError: if the parent cannot be written; nothing is left behind.
    """
    target = pathlib.Path(target)
    with _atomic_folder_beside(target) as folder:
        new = folder / "new"
        new.mkdir()
        yield new
        if target.exists():
            # A folder cannot be replaced in one step: move the old one away first.
            os.replace(target, folder / "old")
        os.replace(new, target)


@contextlib.contextmanager
def atomic_files(target):
    """Yields a temporary folder whose files are moved into `target` at the end.

    Other files in `target` stay. Each file is whole or not there; between the first and
    the last move some are new and some are not.

    Args:
        target: path of a folder, which is made where there is none.
    Yields:
        `pathlib.Path` of an empty folder to put files into.
    Raises:
        OSError: if the folder cannot be written; nothing is left behind.
    """
    target = pathlib.Path(target)
    with _atomic_folder_beside(target) as folder:
        yield folder
        target.mkdir(exist_ok=True)
        for path in sorted(folder.iterdir()):
            os.replace(path, target / path.name)


def write_json(target, value):
    """Writes `value` as JSON, whole or not at all; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_file(target) as path:
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _atomic_folder_beside(target):
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(
        tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
