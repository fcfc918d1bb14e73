"""The record of one target: what was measured, as one JSON file.

`SCHEMA` is the whole of it. A field holds a number only where it was measured, else
`None`; NaN is refused. A failed target leaves a record with its error.
"""

import copy
import numbers
import pathlib

from tfcompress.atomic import write_json
from tfcompress.errors import InvalidValueError
from tfcompress.formats import format_named
from tfcompress.limits import read_json, shown
from tfcompress.tasks.older_records import newer_quality, newer_validation

SCHEMA_VERSION = 5
TEXT, INTEGER, NUMBER, FLAG, LIST, MAP = "text", "integer", "number", "flag", [], {}

_MAX_BYTES = 16 * 2**20  # the largest, of a model of 400 layers, has 0.3 MB
_ANY = "*"  # stands for every name of a mapping whose values are alike
_PERCENTILES = {"p50_ms": NUMBER, "p90_ms": NUMBER}
_BATCH = _PERCENTILES | {
    "rounds": [_PERCENTILES],
    "ratio_to_baseline": NUMBER,
    "ratio_to_dense": NUMBER,
}
_ENVIRONMENT = {
    "versions": MAP,
    "cpu": TEXT,
    "cpu_flags": LIST,
    "num_cores": INTEGER,
    "gpu": TEXT,
    "commit": TEXT,
    "started_at": TEXT,
}
_KINDS = {
    TEXT: lambda value: isinstance(value, str),
    FLAG: lambda value: isinstance(value, bool),
    INTEGER: lambda value: isinstance(value, int) and not isinstance(value, bool),
    NUMBER: lambda value: (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and value - value == 0  # neither NaN nor infinity
    ),
}

# A text names the kind of a leaf, a dict its fields, a list its items' kind; an empty
# list or dict is free. Every field may be None.
SCHEMA = {
    "schema_version": INTEGER,
    "experiment": TEXT,
    "row": TEXT,
    "parent": TEXT,
    "control": TEXT,
    "recipe": TEXT,
    "format": TEXT,
    "precision": TEXT,
    "coding": TEXT,
    "runtime": TEXT,
    "tool": TEXT,
    "device": TEXT,
    "seed": INTEGER,
    "status": TEXT,
    "error": TEXT,
    "dataset": {
        "name": TEXT,
        "source": TEXT,
        "split": TEXT,
        "num_examples": INTEGER,
        "fingerprint": TEXT,
        "is_synthetic": FLAG,
    },
    "quality": {
        "primary": TEXT,
        "metrics": {
            _ANY: {
                "value": NUMBER,
                "low": NUMBER,
                "high": NUMBER,
                "unit": TEXT,
                "higher_is_better": FLAG,
            }
        },
        "keras_agreement": NUMBER,
        "dense_agreement": NUMBER,
        "baseline_agreement": NUMBER,
        "num_worse": INTEGER,
        "num_better": INTEGER,
        "is_constant": FLAG,
        "output_error": NUMBER,
        "inherited_from": TEXT,
    },
    "comparisons": [
        {
            "against": TEXT,
            "metric": TEXT,
            "difference": NUMBER,
            "low": NUMBER,
            "high": NUMBER,
        }
    ],
    "size": {
        "file_bytes": INTEGER,
        "artifact_bytes": INTEGER,
        "gzip_bytes": INTEGER,
        "baseline_int8_gzip_bytes": INTEGER,
        "num_weights": INTEGER,
        "num_nonzero": INTEGER,
        "max_distinct_values": INTEGER,
        "bits_per_weight": NUMBER,
        "compression_ratio": NUMBER,
    },
    "verification": {
        "status": TEXT,
        "error": NUMBER,
        "bound": NUMBER,
        "num_examples": INTEGER,
        "against": TEXT,
        "reason": TEXT,
    },
    "search": {
        "max_drop": NUMBER,
        "num_examples": INTEGER,
        "metric": TEXT,
        "validation_score": NUMBER,
        "difference": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "holds": FLAG,
    },
    "latency": {
        "batch_1": _BATCH,
        "batch_32": _BATCH,
        "load_ms": NUMBER,
        "first_run_ms": NUMBER,
        "num_threads": INTEGER,
        "sequence_length": INTEGER,
    },
    "memory": {
        "peak_rss_bytes": INTEGER,
        "runtime_rss_bytes": INTEGER,
        "gpu_bytes": INTEGER,
    },
    "timing_error": TEXT,
    "timing_environment": _ENVIRONMENT,
    "operators": {"integer": MAP, "floating": MAP, "conversions": MAP},
    "operators_elsewhere": [TEXT],
    "training": {
        "epochs": INTEGER,
        "seconds": NUMBER,
        "seconds_per_epoch": NUMBER,
        "metric": TEXT,
        "validation_score": NUMBER,
        "objective": MAP,
    },
    "model": {"name": TEXT, "preset": TEXT, "num_weights": INTEGER},
    "layers": [
        {
            "name": TEXT,
            "kind": TEXT,
            "status": TEXT,
            "reason": TEXT,
            "requested": MAP,
            "stripped": MAP,
            "exported": MAP,
        }
    ],
    "environment": _ENVIRONMENT,
    "flags": MAP,
}

# What version 3 added: a record of version 2 is read as one that did not measure it.
_ADDED_BY_VERSION_3 = ("verification", "timing_error", "timing_environment")
_OLDER_VERSIONS = (2, 3, 4)


def new_record(**sections):
    """Returns a record with every field of the schema, `None` where not given.

    Args:
        **sections: top-level fields; a section's missing fields become `None`.
    Raises:
        InvalidValueError: if a field is not of the schema or has the wrong kind.

    >>> new_record(row="baseline", size={"file_bytes": 3})["size"]["gzip_bytes"]
    """
    record = _empty(SCHEMA)
    record["schema_version"] = SCHEMA_VERSION
    for name, value in sections.items():
        if isinstance(value, dict) and isinstance(record.get(name), dict):
            record[name] = record[name] | value
        else:
            record[name] = value
    check_record(record)
    return copy.deepcopy(record)


def check_record(record):
    """Raises `InvalidValueError` if `record` does not hold to `SCHEMA`."""
    _check(record, SCHEMA, "record")


def write_record(path, record):
    """Checks and writes one record, whole or not at all."""
    check_record(record)
    write_json(path, record)


def record_key(record):
    """Returns the name of a record's file."""
    names = ("row", "format", "precision", "coding", "runtime", "device")
    return ".".join(record[name] for name in names)


def artifact_key(record):
    """Returns the name of the folder of a record's artifact.

    It is the key of the record of the same file on the format's own runtime and the
    CPU: the file is made once.
    """
    runtime = format_named(record["format"]).runtime.name
    return record_key(record | {"runtime": runtime, "device": "cpu"})


def read_records(folder):
    """Reads the records of a folder.

    Args:
        folder: folder of `<key>.json` files.
    Returns:
        Dict of key to record, by file name. One of schema version 2 to 4 is read as of
        this one; what it did not measure is None.
    Raises:
        InvalidValueError: if a file is not a record of this schema.
    """
    records = {}
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        try:
            record = read_json(path, max_bytes=_MAX_BYTES)
        except (OSError, ValueError) as error:
            raise InvalidValueError(
                f"The record {path} is not JSON ({error}). Delete it, and the "
                "experiment makes it again."
            ) from error
        version = record.get("schema_version") if isinstance(record, dict) else None
        if version in _OLDER_VERSIONS and isinstance(version, int):
            record, version = _from_older(record), SCHEMA_VERSION
        if version != SCHEMA_VERSION:
            raise InvalidValueError(
                f"The record {path} is of schema version {shown(version)}, and this "
                f"code reads {SCHEMA_VERSION}. Make the run again with --fresh."
            )
        try:
            check_record(record)
        except InvalidValueError as error:
            raise InvalidValueError(
                f"The record {path} cannot be used: {error} Delete it, and the "
                "experiment makes it again."
            ) from error
        records[path.name.removesuffix(".json")] = record
    return records


def _from_older(record):
    """Returns a record of version 2 to 4 as one of this version."""
    newer = {"schema_version": SCHEMA_VERSION, "operators_elsewhere": None}
    if record["schema_version"] == 4:
        return record | newer
    newer["comparisons"] = None
    if record["schema_version"] == 2:
        newer |= {name: _empty(SCHEMA[name]) for name in _ADDED_BY_VERSION_3}
    changes = {
        "quality": newer_quality,
        "search": newer_validation,
        "training": newer_validation,
    }
    for name, change in changes.items():
        if isinstance(record.get(name), dict):
            newer[name] = change(record[name])
    if isinstance(newer.get("training"), dict):
        newer["training"].setdefault("objective", None)
    return record | newer


def _empty(schema):
    if isinstance(schema, dict) and schema and _ANY not in schema:
        return {name: _empty(kind) for name, kind in schema.items()}
    return None


def _check(value, schema, where):
    if value is None:
        return
    if isinstance(schema, str):
        if not _KINDS[schema](value):
            raise InvalidValueError(f"{where} must be {schema}, got {shown(value)}.")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise InvalidValueError(f"{where} must be a list, got {shown(value)}.")
        for item in value if schema else []:
            _check(item, schema[0], f"{where}[]")
    else:
        if not isinstance(value, dict):
            raise InvalidValueError(f"{where} must be a mapping, got {shown(value)}.")
        if _ANY in schema:
            schema = dict.fromkeys(value, schema[_ANY])
        if schema and (odd := set(value) ^ set(schema)):
            name = sorted(odd)[0]
            what = "lacks the field" if name in schema else "has an unknown field"
            raise InvalidValueError(f"{where} {what} {shown(name)}.")
        for name, kind in schema.items():
            _check(value[name], kind, f"{where}.{name}")
