"""The types of a format's facts."""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable, Mapping

from tfcompress.errors import InvalidValueError, MissingDependencyError
from tfcompress.formats.precision import Precision
from tfcompress.formats.runtimes import Runtime


@dataclasses.dataclass(frozen=True)
class LazyFunction:
    """A function of a module that is imported when it is first called.

    Attributes:
        target: `"package.module:function"`.

    >>> LazyFunction("math:sqrt")(9)
    3.0
    """

    target: str

    def load(self):
        """Imports the module and returns the function."""
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)

    def __call__(self, *args, **kwargs):
        return self.load()(*args, **kwargs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exporter:
    """What writes the files of a format from a Keras model.

    Attributes:
        tool: the converter, as records name it.
        write: function `write(serving, folder, precision) -> files`.
        precisions: those that it can write.
    """

    tool: str
    write: Callable
    precisions: tuple[Precision, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantizer:
    """What quantizes the files of a format.

    Attributes:
        tool: the package, as records name it.
        write: function `write(source, target, precision, calibration, layers)`.
        precisions: those it can write.
        settings: what a layer rule can set, besides None.
        int8: precision of the plain int8 file, by whatever tool, which every smaller
            file has to beat.
        of_qat: scheme of `QatConfig` -> precision of the files of a model that was
            trained for it.
    """

    tool: str
    write: Callable
    precisions: tuple[Precision, ...]
    settings: tuple[str, ...] = ()
    int8: Precision
    of_qat: Mapping[str, Precision]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """A format of model files.

    Attributes:
        name: as arguments, flags and records have it.
        title: what a sentence calls a model of it.
        suffixes: of a model's files, which have one name; that of the main file first.
        marks: what the files begin with, as (place, bytes): any one of these. Empty
            where there is no such mark.
        runtimes: `Runtime`s that open the files; the first is the one that is taken
            where none is named.
        exporter: `Exporter`.
        quantizer: `Quantizer`, or None.
        code: function `code(source, target, *, leave, structures)` that packs weights,
            or None.
        has_slow_layers: whether layers of a coded file may run slower, so that `code`
            has the argument `slow_layers` too.
        read_constants: function of the main file's path that yields a `Constant` for
            each constant but the scales and zero points of others.
        read_operators: function of the main file's path that yields (kind, name) of
            each operator, as `quantized_operators` counts them, or None.
        read_integers: function of the main file's path that yields each weight and
            whether it is integer, or None.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    marks: tuple[tuple[int, bytes], ...] = ()
    runtimes: tuple[Runtime, ...]
    exporter: Exporter
    quantizer: Quantizer | None = None
    code: Callable | None = None
    has_slow_layers: bool = False
    read_constants: Callable
    read_operators: Callable | None = None
    read_integers: Callable | None = None

    @property
    def precisions(self):
        """All precisions that there are files of, those of the exporter first."""
        quantized = () if self.quantizer is None else self.quantizer.precisions
        return tuple(dict.fromkeys((*self.exporter.precisions, *quantized)))

    def precision(self, text):
        """Returns the `Precision` of a text.

        Raises:
            InvalidValueError: if there are no files of it in this format.
        """
        if text not in self.precisions:
            raise InvalidValueError(
                f"Format {self.name!r} has the precisions "
                f"{', '.join(self.precisions)}, got precision={text!r}."
            )
        return Precision(text)

    @property
    def suffix(self):
        """Suffix of the main file."""
        return self.suffixes[0]

    @property
    def runtime(self):
        """The runtime that is taken where none is named."""
        return self.runtimes[0]

    def runtime_named(self, name):
        """Returns the `Runtime` of a name.

        Raises:
            InvalidValueError: if it is none of the format's.
        """
        for runtime in self.runtimes:
            if runtime.name == name:
                return runtime
        names = " or ".join(repr(each.name) for each in self.runtimes)
        raise InvalidValueError(
            f"Format {self.name!r} runs on {names}, not on {name!r}."
        )

    def runtime_on(self, device, name=None):
        """Returns the installed `Runtime` that runs the files on a device.

        Args:
            device: of `DEVICES`; whether there is one here is not asked.
            name: of the runtime; None takes the first that does.
        Raises:
            InvalidValueError: if no runtime of the format runs on it, or not that one.
            MissingDependencyError: if none that does is installed.
        """
        named = self.runtimes if name is None else (self.runtime_named(name),)
        found = [each for each in named if device in each.devices]
        if not found:
            known = [
                f"{each.name} on {', '.join(each.devices)}" for each in self.runtimes
            ]
            what = "No runtime" if name is None else f"No runtime {name!r}"
            raise InvalidValueError(
                f"{what} of format {self.name!r} runs on the device {device!r}: "
                f"its files run by {' or '.join(known)}."
            )
        for runtime in found:
            if runtime.is_installed:
                return runtime
        names = " or ".join(repr(each.package) for each in found)
        raise MissingDependencyError(
            f"Files of format {self.name!r} run by the package {names}, which is not "
            f"installed. Install it with: pip install 'tfcompress[{found[0].extra}]', "
            "or leave it out."
        )

    @property
    def file_names(self):
        """Names of the files that `export_model` writes, the main one first."""
        return tuple(f"model{suffix}" for suffix in self.suffixes)

    def files_of(self, path):
        """Returns the paths of all files of a model.

        Args:
            path: of the main file.
        Returns:
            Tuple of `pathlib.Path`, the main one first; files that are found by the
            model alone, as ONNX's external data, are not among them.
        """
        path = pathlib.Path(path)
        return (path, *(path.with_suffix(suffix) for suffix in self.suffixes[1:]))

    def main_file(self, names):
        """Returns which of a model's files is the main one; None unless it is one.

        Args:
            names: names of the files.
        """
        found = [name for name in names if name.endswith(self.suffix)]
        return found[0] if len(found) == 1 else None
