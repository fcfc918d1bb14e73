"""Opens damaged files, one after another, in a process that may die of one.

    python -m experiments._damage_worker HONEST SEED KIND:NUMBER...

For each number, which with the seed decides the damage, a line of JSON is printed
before the file is opened and one after. What runtimes print goes nowhere.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time
import traceback

import numpy as np

from experiments._damage import damage
from experiments._damage_doors import KINDS, hide
from tfcompress.errors import TfcompressError

REFUSED, RIGHT, WRONG, TRACEBACK = "refused", "right", "wrong", "traceback"
_MAX_MESSAGE = 3_000  # characters of a line that a user can still read
_MODEL_SHARE = 0.8  # of the damage to an artifact whose checksums are right


def main(honest, seed, *cases):
    """Opens the honest files, then the damaged ones."""
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    report = os.fdopen(os.dup(1), "w", buffering=1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    cases = [case.split(":") for case in cases]
    with tempfile.TemporaryDirectory(prefix="damage.") as folder:
        folder = pathlib.Path(folder)
        expected = {
            name: open_honest(pathlib.Path(honest), name, folder / name)
            for name in dict.fromkeys(name for name, _ in cases)
        }
        print(json.dumps("ready"), file=report)
        for name, number in cases:
            kind, case = KINDS[name], folder / number
            shutil.copytree(pathlib.Path(honest, kind.folder), case)
            place = make_damage(case, kind, int(seed), int(number))
            print(json.dumps([name, int(number), place]), file=report)
            outcome = open_damaged(kind.door, case, expected[name])
            print(json.dumps(outcome), file=report)
            shutil.rmtree(case, ignore_errors=True)


def end_with_parent(parent):
    """Ends the process, whatever it is stuck in, once `parent` is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def open_honest(honest, name, folder):
    """Opens a copy of the honest files of a kind; returns what its door returns."""
    kind = KINDS[name]
    shutil.copytree(honest / kind.folder, folder)
    answer = kind.door(folder)
    if answer is False:
        raise RuntimeError(f"The honest files of kind {name!r} are not read right.")
    return answer


def make_damage(folder, kind, seed, number):
    """Damages one of the files of a folder, by seed and number; returns its name."""
    random = np.random.default_rng([seed, number])
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if kind.hides:
        paths = [path for path in paths if path.name != "manifest.json"]
        models = [path for path in paths if path.name != "tokenizer.json"]
        if random.random() < _MODEL_SHARE:
            paths = models
    path = paths[int(random.integers(len(paths)))]
    path.write_bytes(damage(path.read_bytes(), path.suffix, random))
    if kind.hides:
        hide(folder)
    return path.name


def open_damaged(door, folder, expected):
    """Opens a damaged file.

    Args:
        door: function of a folder.
        folder: `pathlib.Path`.
        expected: what the door returned for the honest files.
    Returns:
        `(outcome, detail)`.
    """
    try:
        answer = door(folder)
    except TfcompressError as error:
        message = str(error)
        is_line = "\n" not in message and len(message) <= _MAX_MESSAGE
        return (REFUSED if is_line else TRACEBACK), message
    except OSError as error:
        if error.strerror is not None:  # an entry point makes a line of it
            return REFUSED, str(error)
        return TRACEBACK, traceback.format_exc()
    except BaseException:  # noqa: BLE001 - what comes out here is what is looked for
        return TRACEBACK, traceback.format_exc()
    return (RIGHT if answer == expected else WRONG), ""


if __name__ == "__main__":
    main(*sys.argv[1:])
