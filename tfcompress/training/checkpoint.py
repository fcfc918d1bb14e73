"""What a killed training leaves behind, so that the same training goes on from there.

One file a training, named after a hash of all that decides its result: settings, data,
and the model with the weights it began with. A file of another training is therefore
never taken up by mistake, and the trainings of a recipe's steps share one folder.
"""

import dataclasses
import hashlib
import json
import pathlib
import time

import numpy as np

from tfcompress.atomic import atomic_file, sweep
from tfcompress.errors import TrainingError

# Writing takes at most about this share of the time, however large the model is.
_SHARE_OF_TIME = 0.05


class FitCheckpoint:
    """The checkpoint of one training.

    Args:
        folder: folder to keep it in; made where it is missing.
        key: `training_key` of the training.
        variables: all variables that the training changes, in a fixed order.
        watch: its `FitWatch`.
        seconds: least time between two checkpoints; 0 writes one after every step.
    """

    def __init__(self, folder, key, variables, watch, seconds):
        self.path = pathlib.Path(folder) / f"fit-{key}.npz"
        self._variables = variables
        self._watch = watch
        self._seconds = seconds
        self._due = time.perf_counter() + seconds

    def others(self):
        """Returns the paths of the checkpoints of other trainings, none beside ours."""
        if self.path.exists():
            return []
        return sorted(self.path.parent.glob("fit-*.npz"))

    def restore(self):
        """Takes up what a killed run left; returns whether there was anything.

        Raises:
            TrainingError: if the file is damaged.
        """
        if not self.path.exists():
            return False
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                numbers = json.loads(str(arrays["watch"]))
                values = [arrays[f"variable_{i}"] for i in range(len(self._variables))]
                best = [arrays[f"best_{i}"] for i in range(numbers.pop("num_best"))]
            self._watch.restore(numbers, best or None)
            for variable, value in zip(self._variables, values, strict=True):
                # numpy stores bfloat16 and its like as bare bytes.
                variable.assign(value.view(variable.numpy().dtype))
        except Exception as error:  # numpy raises all kinds for a damaged file
            raise TrainingError(
                f"The checkpoint {str(self.path)!r} of a training that was cut off is "
                f"damaged ({type(error).__name__}). Delete it to begin the training "
                "anew."
            ) from error
        return True

    def write_if_due(self):
        """Writes the checkpoint where the last one is old enough."""
        started = time.perf_counter()
        if started < self._due or not self._watch.is_resumable:
            return
        numbers, best = self._watch.state()
        best = best or []
        numbers["num_best"] = len(best)
        arrays = {f"variable_{i}": v.numpy() for i, v in enumerate(self._variables)}
        arrays |= {f"best_{i}": value for i, value in enumerate(best)}
        with atomic_file(self.path) as path:
            np.savez(path, watch=np.array(json.dumps(numbers)), **arrays)
        ended = time.perf_counter()
        pause = (ended - started) / _SHARE_OF_TIME if self._seconds else 0.0
        self._due = ended + max(self._seconds, pause)
        self._watch.restart_clock()

    def remove(self):
        """Deletes the checkpoint, and what a kill while writing left of it."""
        self.path.unlink(missing_ok=True)
        sweep(self.path.parent, self.path.name)


def training_key(config, objective, dataset, variables):
    """Returns the hash that names a training.

    Args:
        config: `TrainingConfig`.
        objective: `Objective`.
        dataset: `Dataset`; its training and validation splits count.
        variables: all variables that the training changes, as it begins.
    Returns:
        `str` of 16 hexadecimal digits.
    """
    digest = hashlib.sha256(
        json.dumps(dataclasses.asdict(config), sort_keys=True).encode()
    )
    digest.update(objective.key().encode())
    for split in (dataset.train, dataset.validation):
        for name in sorted(split.inputs):
            _update(digest, name, split.inputs[name])
        for name in sorted(split.targets):
            _update(digest, name, split.targets[name])
    for variable in variables:
        _update(digest, "", variable.numpy())
    return digest.hexdigest()[:16]


def _update(digest, name, array):
    array = np.ascontiguousarray(array)
    digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
    digest.update(array.view(np.uint8).data if array.ndim else array.tobytes())
