"""Files and folders that are either whole or not there.

What is written goes to a temporary name beside its target. When it is complete it is
brought to the disk and then renamed, so that neither a crash, nor a full disk, nor a
power cut leaves something half-written. What a killed process leaves under a temporary
name is swept by the next one that writes the same target.
"""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
import tempfile

try:
    import fcntl
except ImportError:  # not a POSIX system: there nothing is swept
    fcntl = None

# Of `tempfile.mkdtemp` as it is called below.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.tmp")


@contextlib.contextmanager
def atomic_file(target):
    """Yields a temporary path beside `target` that becomes `target` at the end.

    Further files that are written beside the temporary one belong to it, as the weights
    of an IR to its .xml: they are renamed into the target's folder before it.

    Args:
        target: path of the file to make; an existing file is replaced.
    Yields:
        `pathlib.Path` to write to. It has the suffix of `target`, because some
        writers choose the format by it.
    Raises:
        OSError: if the folder cannot be written; nothing is left behind.
    """
    target = pathlib.Path(target)
    with _folder_beside(target) as folder:
        yield folder / target.name
        _move_files(folder, target.parent, last=target.name)


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
    with _folder_beside(target) as folder:
        new = folder / "new"
        new.mkdir()
        yield new
        _sync_tree(new)
        if target.exists():
            # A folder cannot be replaced in one step: move the old one away first.
            os.replace(target, folder / "old")
        os.replace(new, target)
        _sync_folder(target.parent)


@contextlib.contextmanager
def atomic_files(target):
    """Yields a temporary folder whose files are moved into `target` at the end.

    Other files in `target` stay. Each file is whole or not there, and none of an older
    set stands beside one of the new: a kill between the moves leaves a part of the new
    set alone.

    Args:
        target: path of a folder, which is made where there is none.
    Yields:
        `pathlib.Path` of an empty folder to put files into.
    Raises:
        OSError: if the folder cannot be written; nothing is left behind.
    """
    target = pathlib.Path(target)
    with _folder_beside(target) as folder:
        yield folder
        target.mkdir(exist_ok=True)
        _move_files(folder, target)


def write_json(target, value):
    """Writes `value` as JSON, whole or not at all; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_file(target) as path:
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def temporary_folder(parent=None):
    """Yields a folder for what is needed for a moment; it is gone after the block.

    That of a process that was killed is swept by the next call with the same parent.

    Args:
        parent: path of the folder to make it in. Default: the system's for such things.
    Yields:
        `pathlib.Path` of an empty folder.
    Raises:
        OSError: if `parent` cannot be written.
    """
    parent = pathlib.Path(tempfile.gettempdir() if parent is None else parent)
    with _folder_beside(parent / "tfcompress") as folder:
        yield folder


def sweep(folder, name=None):
    """Removes what killed processes left under temporary names; what is in use stays.

    Args:
        folder: path of the folder to look into; one that is not there is swept.
        name: name of the target whose leftovers are removed. Default: of every target.
    """
    try:
        found = os.listdir(folder)
    except FileNotFoundError:
        return
    for entry in found:
        match = _TEMPORARY.fullmatch(entry)
        if match and name in (None, match["name"]):
            path = pathlib.Path(folder, entry)
            with contextlib.suppress(OSError):  # in use, or another user's
                descriptor = _lock(path)
                shutil.rmtree(path, ignore_errors=True)
                os.close(descriptor)


@contextlib.contextmanager
def _folder_beside(target):
    """Yields a temporary folder that is locked as long as it is in use."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, target.name)
    folder, descriptor = _make_locked(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _make_locked(target):
    """Makes a temporary folder beside `target`.

    Returns:
        `(path, descriptor)`: the lock lasts until the descriptor is closed, at the
        latest by the end of this process. The descriptor is None where the file system
        has no locks: then the folder is never swept.
    """
    prefix = f".{target.name}."
    while True:
        folder = tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=target.parent)
        try:
            return pathlib.Path(folder), _lock(folder)
        except (BlockingIOError, FileNotFoundError):
            continue  # swept by another process before it was locked
        except OSError:
            return pathlib.Path(folder), None


def _lock(folder):
    """Locks a folder and returns the descriptor that holds the lock.

    Raises:
        BlockingIOError: if another has it.
        FileNotFoundError: if the folder is gone.
        OSError: if it cannot be opened or the file system has no locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.stat(folder)  # whoever had the lock before may have removed the folder
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _move_files(folder, into, last=None):
    """Renames all files below a folder into another one, once they are on the disk.

    Args:
        folder: folder to empty.
        into: folder that they go to; those below them are made.
        last: name of the file that is renamed last.
    """
    names = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    ends = [] if last is None else [pathlib.Path(last)]
    names = [*sorted(names.difference(ends)), *ends]
    for name in names:
        _sync(folder / name)
    if len(names) > 1:  # an old one beside a new one would be a model of neither
        for name in reversed(names):
            (into / name).unlink(missing_ok=True)
    for name in names:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, into / name)
    for parent in {(into / name).parent for name in names}:
        _sync_folder(parent)


def _sync_tree(folder):
    """Brings all files below a folder, and the folders, to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)
        elif path.is_dir():
            _sync_folder(path)
    _sync_folder(folder)


def _sync_folder(folder):
    """Brings a folder's names to the disk, where the system can do so."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
