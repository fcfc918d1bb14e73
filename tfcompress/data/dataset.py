"""Datasets as named arrays: texts stay texts until a tokenizer maps them.

Example:

>>> split = Split({"text": text_array(["good", "bad", "fine"])}, [1, 0, 1])
>>> split.num_examples, split.select([0, 2]).labels.tolist()
(3, [1, 1])
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfcompress.data.labels import to_labels
from tfcompress.errors import DataError, InvalidValueError

LABELS = "labels"
SOURCES = ("tfds", "file", "synthetic", "arrays")


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples of one split.

    Attributes:
        inputs: arrays by input name, each with `num_examples` rows. Texts are an object
            array of `str`, shape `(n,)`, under the name `"text"`.
        targets: arrays by name, of any shape, with as many rows: what a model should
            put out. The target `"labels"` holds classes, int32, shape `(n,)`, indices
            into the dataset's `class_names`, given as `to_labels` takes them; given in
            place of the mapping it is the only target.
    """

    inputs: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]

    def __post_init__(self):
        targets = self.targets
        if not isinstance(targets, Mapping):
            targets = {LABELS: targets}
        targets = {
            name: to_labels(array) if name == LABELS else np.asarray(array)
            for name, array in targets.items()
        }
        if not targets or any(array.ndim == 0 for array in targets.values()):
            raise InvalidValueError(
                "A split needs at least one target, an array with a row for each "
                f"example; got {', '.join(targets) or 'none'}."
            )
        object.__setattr__(self, "targets", targets)
        first, *others = targets
        for name in others:
            if len(targets[name]) != self.num_examples:
                raise InvalidValueError(
                    f"Target {name!r} has {len(targets[name])} rows, but there are "
                    f"{self.num_examples} {first}. Give one row for each example."
                )
        for name, array in self.inputs.items():
            if len(array) != self.num_examples:
                raise InvalidValueError(
                    f"Input {name!r} has {len(array)} rows, but there are "
                    f"{self.num_examples} {first}. Give one row for each example."
                )

    @property
    def labels(self) -> np.ndarray:
        """The target `"labels"`, int32 `(n,)`; `None` where there is none."""
        return self.targets.get(LABELS)

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        return len(next(iter(self.targets.values())))

    def select(self, indices: np.ndarray) -> "Split":
        """Returns the examples at `indices`.

        Args:
            indices: integer array or slice, as numpy indexing takes it.
        Returns:
            New `Split`, in the order of `indices`.
        """
        inputs = {name: array[indices] for name, array in self.inputs.items()}
        targets = {name: array[indices] for name, array in self.targets.items()}
        return Split(inputs, targets)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Train, validation and test splits of one task.

    Choices are made on `validation`, which is cut from train by seed; `test` is for the
    final table alone.

    Attributes:
        name: name of the dataset, or path of the file it was read from.
        source: `"tfds"`, `"file"`, `"synthetic"` or `"arrays"`.
        class_names: name of each class, by label; empty where the targets are others.
        fingerprint: first 16 hexadecimal digits of the SHA-256 of the contents. It
            stays what it was when inputs are mapped.
        warning: what a reader of the results must know of the data, or `None`.
    """

    name: str
    source: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str
    warning: str | None = None

    def __post_init__(self):
        if self.source not in SOURCES:
            raise InvalidValueError(
                f"Dataset.source must be one of {', '.join(SOURCES)}, "
                f"got {self.source!r}."
            )

    @classmethod
    def from_splits(
        cls,
        train: Split,
        validation: Split,
        test: Split,
        class_names: Sequence[str] = (),
        *,
        name: str = "arrays",
    ) -> "Dataset":
        """Makes a dataset of splits that the caller has.

        Args:
            train, validation, test: `Split`s with the same inputs and targets.
            class_names: name of each class, by label, where there are `"labels"`.
            name: what to call it.
        Returns:
            `Dataset` of source `"arrays"`, with its fingerprint.

        >>> split = Split({"x": np.arange(4.0)}, [0, 1, 0, 1])
        >>> Dataset.from_splits(split, split, split, ["no", "yes"]).num_classes
        2
        """
        return cls(
            name=name,
            source="arrays",
            train=train,
            validation=validation,
            test=test,
            class_names=tuple(class_names),
            fingerprint=fingerprint((train, validation, test), class_names),
        )

    @property
    def is_synthetic(self) -> bool:
        """Whether the examples are made up by a generator."""
        return self.source == "synthetic"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def map_inputs(self, function: Callable[[Mapping], Mapping]) -> "Dataset":
        """Replaces the inputs of every split, such as texts by tokens.

        Args:
            function: takes and returns a dictionary of arrays with as many rows.
        Returns:
            New `Dataset` with the same targets and the same fingerprint.
        """
        splits = {
            name: Split(function(split.inputs), split.targets)
            for name, split in self.splits().items()
        }
        return dataclasses.replace(self, **splits)

    def splits(self) -> dict[str, "Split"]:
        """Returns the three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def text_array(texts):
    """Returns texts as an object array, which keeps each as a Python `str`.

    Args:
        texts: sequence of `str`.
    Returns:
        Object array, shape `(n,)`.
    """
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How the validation split is cut, and how much of a dataset is taken.

    Attributes:
        validation_fraction: share of the training examples that becomes the validation
            split, in (0, 1).
        seed: seed of the cut and of the choice of examples, non-negative.
        limit: most training examples (before the cut) and most test examples; `None`
            takes all.
    """

    validation_fraction: float = 0.1
    seed: int = 0
    limit: int | None = None

    def __post_init__(self):
        if not 0.0 < self.validation_fraction < 1.0:
            raise InvalidValueError(
                "validation_fraction must be a fraction in (0, 1), "
                f"got {self.validation_fraction!r}. Write 0.1 for 10 %."
            )
        if not 0 <= self.seed < 2**32:
            raise InvalidValueError(f"seed must be in [0, 2**32), got {self.seed!r}.")
        if self.limit is not None and self.limit < 2:
            raise InvalidValueError(
                "limit must be at least 2 examples, or None for all, "
                f"got {self.limit!r}."
            )


def make_dataset(name, source, train, test, class_names, options):
    """Cuts the validation split from `train` and takes the fingerprint.

    Args:
        name: name of the dataset.
        source: `"tfds"`, `"file"` or `"synthetic"`.
        train: `Split` to cut into train and validation.
        test: `Split`, kept in its order.
        class_names: name of each class, by label.
        options: `SplitOptions`.
    Returns:
        `Dataset`.
    Raises:
        DataError: if a split would be empty, or train has labels of only one class.
    """
    train = _sample(train, options)
    test = _sample(test, options)
    _check_splits(name, train, test)
    rest, validation = cut(train, options.validation_fraction, options.seed)
    if validation.num_examples == 0:
        raise DataError(
            f"Dataset {name!r} has {train.num_examples} training examples, too few to "
            "cut a validation split. Give at least two of a class."
        )
    return Dataset(
        name=name,
        source=source,
        train=rest,
        validation=validation,
        test=test,
        class_names=tuple(class_names),
        fingerprint=fingerprint((rest, validation, test), class_names),
    )


def cut(split, fraction, seed):
    """Cuts a split in two by seed, with the share of each class kept.

    Args:
        split: `Split` to cut; without labels it counts as of one class.
        fraction: share of each class that goes into the second part, in (0, 1); at
            least one example of each class that has two.
        seed: non-negative integer.
    Returns:
        `(first, second)`, each in the order of `split`. The same seed gives the same
        cut on every machine.

    >>> split = Split({"x": np.arange(6)}, [0, 0, 0, 1, 1, 1])
    >>> first, second = cut(split, 0.34, seed=0)
    >>> first.labels.tolist(), second.labels.tolist()
    ([0, 0, 1, 1], [0, 1])
    """
    # RandomState's stream is frozen for good, that of Generator may change.
    random = np.random.RandomState(seed)
    in_second = np.zeros(split.num_examples, dtype=bool)
    labels = split.labels
    if labels is None:
        labels = np.zeros(split.num_examples, np.int32)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        count = int(len(members) * fraction + 0.5)
        if len(members) > 1:
            count = min(max(count, 1), len(members) - 1)
        in_second[members[:count]] = True
    return (
        split.select(np.flatnonzero(~in_second)),
        split.select(np.flatnonzero(in_second)),
    )


def fingerprint(splits, class_names):
    """Returns the first 16 hexadecimal digits of the SHA-256 over all contents.

    Args:
        splits: iterable of `Split`, in a fixed order.
        class_names: name of each class, by label.
    Returns:
        `str` of 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in class_names:
        _update(digest, str(name).encode("utf-8", "surrogatepass"))
    for split in splits:
        if split.labels is not None:
            _update(digest, split.labels.astype("<i4").tobytes())
        others = {n: array for n, array in split.targets.items() if n != LABELS}
        for arrays in (others, split.inputs):
            for name in sorted(arrays):
                _update(digest, name.encode())
                _update_with_array(digest, np.asarray(arrays[name]))
    return digest.hexdigest()[:16]


def _sample(split, options):
    """Returns `options.limit` examples chosen by seed, in the order of `split`."""
    if options.limit is None or split.num_examples <= options.limit:
        return split
    order = np.random.RandomState(options.seed).permutation(split.num_examples)
    return split.select(np.sort(order[: options.limit]))


def _check_splits(name, train, test):
    if train.num_examples == 0 or test.num_examples == 0:
        raise DataError(
            f"Dataset {name!r} has {train.num_examples} training and "
            f"{test.num_examples} test examples. Both need at least one."
        )
    if train.labels is not None and len(np.unique(train.labels)) < 2:
        raise DataError(
            f"Dataset {name!r} has only one class in its training examples. "
            "Classification needs at least two."
        )


def _update(digest, data):
    """Adds a length before the bytes, so that two fields cannot run together."""
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)


def _update_with_array(digest, array):
    if array.dtype == object:
        for text in array:
            _update(digest, text.encode("utf-8", "surrogatepass"))
        return
    little_endian = array.astype(array.dtype.newbyteorder("<"))
    _update(digest, f"{little_endian.dtype.str}{little_endian.shape}".encode())
    _update(digest, little_endian.tobytes())
