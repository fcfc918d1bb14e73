"""The result of a run: all that a reader sees of it, as data.

A run writes it as `result.json`; the terminal, the Markdown page and whatever else
shows a run only read it. Figures and names are fields; sentences are made of them when
they are shown.
"""

import dataclasses
import pathlib

from tfcompress.atomic import write_json
from tfcompress.errors import InvalidValueError
from tfcompress.limits import read_json, shown
from tfcompress.record import as_record, record_key
from tfcompress.schema import (
    ANY,
    FLAG,
    INTEGER,
    MAP,
    NUMBER,
    TEXT,
    check_schema,
)

SCHEMA_VERSION = 1
_PAIR = {"row": TEXT, "key": TEXT, "against_row": TEXT, "against": TEXT}
_SCHEMA = {
    "experiment": TEXT,
    "command": {"name": TEXT, "arguments": [TEXT]},
    "dataset": {
        "name": TEXT,
        "source": TEXT,
        "split": TEXT,
        "num_examples": INTEGER,
        "fingerprint": TEXT,
        "is_synthetic": FLAG,
        "warning": TEXT,
    },
    "heads": [MAP],
    "rows": [
        {
            "name": TEXT,
            "parent": TEXT,
            "control": TEXT,
            "recipe": TEXT,
            "is_timed": FLAG,
            "num_folded": INTEGER,
            "keys": [TEXT],
        }
    ],
    "records": [MAP],
    "comparisons": [
        _PAIR
        | {
            "metric": TEXT,
            "unit": TEXT,
            "difference": NUMBER,
            "low": NUMBER,
            "high": NUMBER,
        }
    ],
    "training_times": [
        _PAIR
        | {
            "seconds_per_epoch": NUMBER,
            "against_seconds_per_epoch": NUMBER,
            "ratio": NUMBER,
        }
    ],
    "latency_ratios": [_PAIR | {"batch": TEXT, "ratio": NUMBER}],
    "noise": {ANY: {"batch_1": NUMBER, "batch_32": NUMBER}},
    "warnings": [
        {"kind": TEXT, "row": TEXT, "key": TEXT, "value": NUMBER, "message": TEXT}
    ],
    "failures": [{"key": TEXT, "step": TEXT, "error": TEXT}],
    "search": {"max_drop": NUMBER, "tried": [TEXT], "found": TEXT},
    "chosen": TEXT,
    "published": [{ANY: TEXT}],
}
_MAY_BE_NONE = ("search", "chosen")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came out of a run; JSON values all.

    Attributes:
        experiment: its name.
        command: `name` and `arguments` of the command that makes it again.
        dataset: what it was scored on; `warning` is what a reader must know of it.
        heads: what the files put out: a head of each output, as in a manifest.
        rows: `name`, `parent`, `control`, `recipe`, `is_timed`, the `keys` of its
            records, and `num_folded`, its BatchNormalization layers that were folded.
        records: the records, in the order of the rows and their files.
        comparisons: of each row that has a control, its Keras model minus the
            control's by the primary metric, paired, with the 95% interval.
        training_times: of the same pairs, seconds of an epoch and their ratio.
        latency_ratios: of dense files, p50 / that of the Keras model, median of the
            rounds.
        noise: key of a file that was timed twice -> ratio of the two, by batch.
        warnings: `kind` is "constant_prediction" (the `row` predicts the same for
            every example), "output_error" (the file `key` differs from Keras's by
            `value` of the largest output) or "compression" (`message` says what the
            files of `row` will not keep).
        failures: what could not be done: `step` "making" or "timing" of the file `key`.
        search: `max_drop`, the keys `tried` and the one `found`; None without one.
        chosen: key of the file that a user takes, where the experiment chooses one.
        published: what others published, beside the file of this run that did the same.
    """

    experiment: str
    command: dict
    dataset: dict
    heads: list
    rows: list
    records: list
    comparisons: list
    training_times: list
    latency_ratios: list
    noise: dict
    warnings: list
    failures: list
    search: dict | None
    chosen: str | None
    published: list

    def __post_init__(self):
        value = {each: getattr(self, each) for each in _SCHEMA}
        check_schema(value, _SCHEMA, "result")
        for name in _SCHEMA:
            if value[name] is None and name not in _MAY_BE_NONE:
                raise InvalidValueError(f"result.{name} is null.")
        if odd := self._keys_named() - {_key_of(record) for record in self.records}:
            raise InvalidValueError(
                f"result names the file {shown(min(odd))}, of which it has no record."
            )

    def record(self, key):
        """Returns the record of a file by its key."""
        return next(each for each in self.records if record_key(each) == key)

    def _keys_named(self):
        """Returns the keys of all files that something is said of."""
        search = self.search or {"tried": [], "found": None}
        lists = (self.comparisons, self.training_times, self.latency_ratios)
        pairs = [each for one in lists for each in one]
        found = {each[name] for each in pairs for name in ("key", "against")}
        found |= {each["key"] for each in (*self.failures, *self.warnings)}
        found |= {key for row in self.rows for key in row["keys"]}
        return (found | {*search["tried"], search["found"], self.chosen}) - {None}

    @property
    def status(self):
        """The exit status of the run: 1 if a file could not be made, else 0."""
        return int(any(each["step"] == "making" for each in self.failures))

    def to_json(self):
        """Returns a dict of JSON values."""
        fields = {each: getattr(self, each) for each in _SCHEMA}
        return {"schema_version": SCHEMA_VERSION} | fields


def _key_of(record):
    try:
        return record_key(record)
    except (KeyError, TypeError) as error:
        raise InvalidValueError(
            "a record of result does not say which file it is of."
        ) from error


def write_result(path, result):
    """Writes a `RunResult`, whole or not at all."""
    write_json(path, result.to_json())


def read_result(path):
    """Reads what `write_result` wrote.

    Args:
        path: path of a `result.json`.
    Returns:
        `RunResult`; its records are of this version of their schema.
    Raises:
        InvalidValueError: if there is none, or it is damaged or of another version.
    """
    path = pathlib.Path(path)
    again = "Start the run again, and it is written anew."
    if not path.is_file():
        raise InvalidValueError(
            f"There is no result {path}: the run has not ended, or is of older code. "
            f"{again}"
        )
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise InvalidValueError(
            f"The result {path} is not JSON ({error}). {again}"
        ) from error
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != SCHEMA_VERSION:
        raise InvalidValueError(
            f"The result {path} is of schema version {shown(version)}, and this code "
            f"reads {SCHEMA_VERSION}. {again}"
        )
    fields = {name: each for name, each in value.items() if name != "schema_version"}
    try:
        check_schema(fields, _SCHEMA, "result")
        result = RunResult(**fields)
    except InvalidValueError as error:
        raise InvalidValueError(
            f"The result {path} cannot be used: {error} {again}"
        ) from error
    records = [as_record(each, f"A record of {path}") for each in result.records]
    return dataclasses.replace(result, records=records)
