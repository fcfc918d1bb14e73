"""The rows of an experiment and the files that each row is shipped as."""

import dataclasses
from collections.abc import Mapping

from tfcompress.errors import InvalidValueError
from tfcompress.formats import FORMATS, Precision
from tfcompress.formats.target import Target
from tfcompress.runtime.devices import check_device, has_device

CODINGS = ("dense", "coded")
STATIC = Precision("static_range_wi8_ai8")


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
        targets: its files and what runs them. The Keras model comes first, as the
            reference, on TensorFlow and the CPU.
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

    @property
    def files(self):
        """Its targets on the runtimes and the device that the files are made for."""
        return tuple(target for target in self.targets if target == target.file)


def check_rows(rows):
    """Raises an error of ours if rows do not refer to earlier rows, repeat, are trained
    otherwise than their controls, or have targets that nothing at hand serves."""
    known, places = {}, {}
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
            runtime = FORMATS[target.format].runtime_on(target.device, target.runtime)
            places[runtime.name, target.device] = runtime
        known[row.name] = row
    for (_, device), runtime in places.items():
        check_device(runtime, device)


def widen_rows(rows, runtimes, devices, finds=has_device):
    """Returns rows whose files are measured on other runtimes and devices too.

    Args:
        rows: tuple of `Row`.
        runtimes: names of runtimes that files are run by besides the formats' own,
            where they are of the format.
        devices: of `DEVICES`; the CPU is always among them. A format whose runtimes
            do not run on one takes another runtime that does. The Keras model, which
            nobody asked for, is left out where none of its runtimes finds the device.
        finds: function of a `Runtime` and a device that tells whether it does.
    Raises:
        InvalidValueError: if a runtime runs none of the files, or a format has no
            runtime for a device.
        MissingDependencyError: if the one that it has is not installed.

    >>> rows = (Row(name="baseline", targets=(Target(format="onnx"),)),)
    >>> [target.key("") for target in widen_rows(rows, ["openvino"], [])[0].targets]
    ['.onnx.float32.dense.onnxruntime.cpu', '.onnx.float32.dense.openvino.cpu']
    """
    formats = dict.fromkeys(target.format for row in rows for target in row.targets)
    served = {each.name for name in formats for each in FORMATS[name].runtimes}
    for name in runtimes:
        if name not in served:
            raise InvalidValueError(
                f"--runtimes: {name!r} runs no file of this run, whose formats are "
                f"{', '.join(formats)}; they run on {', '.join(sorted(served))}."
            )
    return tuple(
        dataclasses.replace(
            row,
            targets=tuple(
                dict.fromkeys(
                    place
                    for target in row.targets
                    for place in _places(target, runtimes, devices, finds)
                )
            ),
        )
        for row in rows
    )


def _places(target, runtimes, devices, finds):
    """Yields a target, and the same file on other runtimes and devices."""
    format = FORMATS[target.format]
    known = [each.name for each in format.runtimes]
    names = [target.runtime, *(name for name in runtimes if name in known)]
    for device in dict.fromkeys((target.device, *devices)):
        serving = [n for n in names if device in format.runtime_named(n).devices]
        if format.name == "keras" and device != target.device:
            serving = [n for n in serving if finds(format.runtime_named(n), device)]
        elif not serving:
            serving = [format.runtime_on(device).name]
        for name in serving:
            yield dataclasses.replace(target, runtime=name, device=device)


def devices_without_keras(rows, devices):
    """Returns a line for each device that the Keras model of rows is not run on."""
    found = {t.device for row in rows for t in row.targets if t.format == "keras"}
    return [
        f"The Keras model is not run on {device}: its runtimes find none here."
        for device in devices
        if found and device not in found
    ]


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
