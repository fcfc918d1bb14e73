"""The rows of an experiment and the files that each row is shipped as."""

import dataclasses
from collections.abc import Mapping

from tfcompress.errors import InvalidValueError
from tfcompress.formats import FORMATS, Precision, format_named
from tfcompress.formats.precision import FLOAT32

CODINGS = ("dense", "coded")
STATIC = Precision("static_range_wi8_ai8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """One file of a row.

    Args:
        format: `"keras"`, `"tflite"`, `"onnx"` or `"openvino"`.
        precision: one of the format's, as text or `Precision`.
        coding: `"dense"` or `"coded"`.
        device: what it is measured on.
    """

    format: str
    precision: Precision = FLOAT32
    coding: str = "dense"
    device: str = "cpu"

    def __post_init__(self):
        precision = format_named(self.format).precision(self.precision)
        object.__setattr__(self, "precision", precision)

    @property
    def runtime(self):
        """The runtime that opens this format."""
        return FORMATS[self.format].runtime.name

    @property
    def dense(self):
        """The dense file that a coded one is made from; itself if it is dense."""
        return dataclasses.replace(self, coding="dense")

    def key(self, row):
        """Returns the name of this target's record and artifact.

        >>> Target(format="onnx", coding="coded").key("clustered")
        'clustered.onnx.float32.coded.onnxruntime.cpu'
        """
        parts = (self.format, self.precision, self.coding, self.runtime, self.device)
        return ".".join((row, *parts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One model of an experiment.

    Args:
        name: unique in the experiment.
        parent: row whose model this one starts from, `None` for the baseline.
        recipe: what is done to it; empty without a method.
        control: row with the same further training and no method.
        trains: whether it is trained (further).
        finetuning: fields of `TrainingConfig` that are this row's own, such as
            `learning_rate`; its control has the same.
        is_timed: whether its files are timed in the second phase.
        fold_batch_norm: as of `tfcompress.compress`.
        targets: its files. The Keras model comes first, as the reference.
        export_options: of `tfcompress.export_model`, for the dense ones.
        quantization_options: format and precision -> options of
            `tfcompress.quantizers.quantize_file`.
        coding_options: of `tfcompress.code_file`, for the coded ones.
    """

    name: str
    parent: str | None = None
    recipe: str = ""
    control: str | None = None
    trains: bool = True
    finetuning: Mapping = dataclasses.field(default_factory=dict)
    is_timed: bool = False
    fold_batch_norm: bool | str = "auto"
    targets: tuple[Target, ...] = ()
    export_options: Mapping = dataclasses.field(default_factory=dict)
    quantization_options: Mapping = dataclasses.field(default_factory=dict)
    coding_options: Mapping = dataclasses.field(default_factory=dict)


def check_rows(rows):
    """Raises an error of ours if rows do not refer to earlier rows, repeat, are trained
    otherwise than their controls, or have files that no runtime at hand can run."""
    known = {}
    for row in rows:
        if row.name in known or "." in row.name:
            raise InvalidValueError(
                f"The row name {row.name!r} is used twice or has a dot in it."
            )
        if row.parent is not None and row.parent not in known:
            raise InvalidValueError(
                f"Row {row.name!r} starts from {row.parent!r}, which is no earlier row."
            )
        control = known.get(row.control, row)
        if control.finetuning != row.finetuning:
            raise InvalidValueError(
                f"Row {row.name!r} must be trained as its control {row.control!r}, "
                f"with {dict(control.finetuning)}; got {dict(row.finetuning)}."
            )
        for target in row.targets:
            FORMATS[target.format].runtime_on(target.device)
        known[row.name] = row


def choose_rows(rows, names):
    """Returns the rows of some names, with the rows they start from and controls.

    Args:
        rows: all rows, parents first.
        names: names of the rows wanted.
    Raises:
        InvalidValueError: if a name is no row's.
    """
    by_name = {row.name: row for row in rows}
    wanted, todo = {rows[0].name}, list(names)
    while todo:
        name = todo.pop()
        if name not in by_name:
            raise InvalidValueError(
                f"--rows must be of {', '.join(by_name)}, got {name!r}."
            )
        wanted.add(name)
        row = by_name[name]
        todo += [other for other in (row.parent, row.control) if other is not None]
    return tuple(row for row in rows if row.name in wanted)


def quantized_targets(formats, codings, scheme):
    """Returns the Keras model and each format in float32 and in integers.

    Args:
        formats, codings: as of `standard_targets`; float32 files are dense alone.
        scheme: of `QatConfig`.
    """
    plain = standard_targets(formats, ("dense",))
    integers = (
        dataclasses.replace(
            target,
            precision=FORMATS[target.format].quantizer.of_qat[scheme],
            coding=coding,
        )
        for target in plain[1:]
        for coding in dict.fromkeys(("dense", *codings))
    )
    return (*plain, *integers)


def standard_targets(formats, codings):
    """Returns the Keras model and each format in each coding.

    Args:
        formats: names other than `"keras"`, which is always there as the reference.
        codings: `"dense"`, `"coded"` or both; the dense file is always made, because
            the coded one is made from it and measured beside it.
    """
    codings = ["dense", *(coding for coding in codings if coding != "dense")]
    return (
        Target(format="keras"),
        *(
            Target(format=format, coding=coding)
            for format in formats
            if format != "keras"
            for coding in codings
        ),
    )
