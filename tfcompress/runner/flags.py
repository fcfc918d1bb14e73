"""The flags that all experiments share, and what they say, checked.

A module that defines an experiment takes them over by
`flags.adopt_module_key_flags(runner_flags)`, so that `--help` shows them.
"""

import dataclasses
import math

from absl import flags

from tfcompress.errors import InvalidValueError
from tfcompress.runner.rows import CODINGS
from tfcompress.runtime import RUNTIMES

# What a flag changes in the results; the others only say where and how to run.
_NOT_IN_RUN_ID = ("data_dir", "run_dir", "resume", "fresh")

flags.DEFINE_string(
    "dataset",
    None,
    "A dataset of the TFDS catalog, 'synthetic_reviews', a file (CSV, TSV, JSONL, "
    "Parquet), or two with a comma between them: TRAIN,TEST. Default: that of the "
    "experiment where it can be had, else 'synthetic_reviews'.",
)
flags.DEFINE_string(
    "data_dir", None, "Folder of prepared TFDS datasets. Default: TFDS_DATA_DIR."
)
flags.DEFINE_string("text_column", None, "Column of the texts, for a file.")
flags.DEFINE_string("label_column", None, "Column of the labels, for a file.")
flags.DEFINE_integer(
    "limit", None, "Most training and most test examples to take. Default: all."
)
flags.DEFINE_list(
    "formats", ["tflite", "onnx", "openvino"], "Formats to ship each row in."
)
flags.DEFINE_list("codings", list(CODINGS), "Codings to ship each format in.")
flags.DEFINE_integer("seed", 0, "Seed of the split, the weights and the batches.")
flags.DEFINE_integer("num_threads", 2, "Threads of a runtime while it is measured.")
flags.DEFINE_integer("rounds", 5, "Rounds of timing; 0 leaves the timing out.")
flags.DEFINE_boolean(
    "full_coded_quality",
    False,
    "Score coded files on the whole test split, instead of taking over the dense "
    "file's quality after 500 examples.",
)
flags.DEFINE_boolean(
    "verify",
    True,
    "Run each file beside its source before it is kept, in a process of its own.",
)
flags.DEFINE_string(
    "run_dir", None, "Folder of the run. Default: runs/<experiment>/<run id>."
)
flags.DEFINE_boolean("resume", False, "Go on with a run although other code began it.")
flags.DEFINE_boolean("fresh", False, "Delete what the run folder holds; begin anew.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What the shared flags say; the fields are the flags."""

    dataset: str | None
    data_dir: str | None
    text_column: str | None
    label_column: str | None
    limit: int | None
    formats: tuple[str, ...]
    codings: tuple[str, ...]
    seed: int
    num_threads: int
    rounds: int
    full_coded_quality: bool
    verify: bool
    run_dir: str | None
    resume: bool
    fresh: bool

    def __post_init__(self):
        choices = tuple(name for name in RUNTIMES if name != "keras")
        _check_choices("formats", self.formats, choices)
        _check_choices("codings", self.codings, CODINGS)
        check_at_least("num_threads", self.num_threads, 1)
        check_at_least("rounds", self.rounds, 0)
        check_at_least("seed", self.seed, 0)
        if self.limit is not None:
            check_at_least("limit", self.limit, 2)
        if self.resume and self.fresh:
            raise InvalidValueError(
                "--resume and --fresh exclude each other: go on, or begin anew?"
            )


def options_from_flags():
    """Returns the `Options` that the parsed flags give.

    Raises:
        InvalidValueError: if a value is not one that the flag can have.
    """
    fields = (field.name for field in dataclasses.fields(Options))
    values = {name: getattr(flags.FLAGS, name) for name in fields}
    for name in ("formats", "codings"):
        values[name] = tuple(dict.fromkeys(values[name]))
    return Options(**values)


def deciding_flags(options, own):
    """Returns the flags that decide the results, for the run id and the records.

    Args:
        options: `Options`.
        own: dict of the experiment's own flags.
    Raises:
        InvalidValueError: if a number is not finite, which no record can hold.
    """
    shared = dataclasses.asdict(options)
    shared = {k: list(v) if isinstance(v, tuple) else v for k, v in shared.items()}
    for name, value in (shared | own).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidValueError(f"--{name} must be a finite number, got {value}.")
    return {k: v for k, v in shared.items() if k not in _NOT_IN_RUN_ID} | own


def _check_choices(name, values, choices):
    for value in values:
        if value not in choices:
            raise InvalidValueError(
                f"--{name} must be of {', '.join(choices)}, got {value!r}."
            )
    if not values:
        raise InvalidValueError(
            f"--{name} is empty. Name at least one of {', '.join(choices)}."
        )


def check_at_least(name, value, low):
    """Raises `InvalidValueError` if the flag `name` is below `low`."""
    if value < low:
        raise InvalidValueError(f"--{name} must be at least {low}, got {value!r}.")
