"""A step of a run: a function of paths, and the files that say that it is done."""

import dataclasses
import importlib
import os
import pathlib
import platform
from collections.abc import Mapping

from tfcompress.errors import InvalidValueError, StepError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What one worker does at a time.

    It is told by text alone, so that any process that has this package can do it. It
    reads and writes files and gives nothing back. Each file that it writes is whole or
    not there, and doing it twice comes to the same: it can be killed anywhere, and sent
    again.

    Args:
        name: unique in a list of steps.
        function: "module:function".
        arguments: name -> JSON value of what the function is called with.
        inputs: paths of files that it reads. Where another step of the list writes one,
            that step comes before it; any other is there from the beginning.
        outputs: paths of files; it is done when they are all there.
        num_cores: cores of the machine that it keeps busy.
        memory_bytes: memory that it takes.
        is_exclusive: whether it wants a machine of its own.
    """

    name: str
    function: str
    arguments: Mapping = dataclasses.field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    num_cores: int = 1
    memory_bytes: int = 0
    is_exclusive: bool = False

    def is_done(self):
        """Returns whether all that it writes is there."""
        return not self.missing_outputs()

    def missing_outputs(self):
        """Returns the paths of what it has not written."""
        return [path for path in self.outputs if not pathlib.Path(path).exists()]

    def run(self):
        """Does it, in this process.

        Raises:
            StepError: if one of its inputs is not there.
        """
        for path in self.inputs:
            if not pathlib.Path(path).exists():
                raise StepError(
                    f"The step {self.name!r} needs {path}, which is not there on "
                    f"{platform.node()}. Give the same command again to make what is "
                    "missing; workers on other machines must share the run's folder."
                )
        module, _, function = self.function.partition(":")
        getattr(importlib.import_module(module), function)(**self.arguments)

    def to_json(self):
        """Returns the JSON value that `from_json` reads."""
        return dataclasses.asdict(self) | {"arguments": dict(self.arguments)}

    @classmethod
    def from_json(cls, value):
        """Returns the step of a value of `to_json`."""
        inputs, outputs = tuple(value["inputs"]), tuple(value["outputs"])
        return cls(**value | {"inputs": inputs, "outputs": outputs})


def needed_steps(steps):
    """Returns name of a step -> names of the steps that write what it reads.

    Raises:
        InvalidValueError: if a name or an output is there twice, or a step reads what
            it or a later one writes.
    """
    writers, needed = {}, {}
    for step in steps:
        if step.name in needed:
            raise InvalidValueError(f"Two steps are called {step.name!r}.")
        found = (writers.get(os.path.abspath(path)) for path in step.inputs)
        needed[step.name] = {name for name in found if name is not None}
        for path in map(os.path.abspath, step.outputs):
            if path in writers:
                raise InvalidValueError(
                    f"The steps {writers[path]!r} and {step.name!r} both write {path}."
                )
            writers[path] = step.name
    position = {step.name: number for number, step in enumerate(steps)}
    for step in steps:
        for path in step.inputs:
            writer = writers.get(os.path.abspath(path))
            if writer is not None and position[writer] >= position[step.name]:
                raise InvalidValueError(
                    f"The step {step.name!r} reads {path}, which {writer!r} writes: "
                    f"{writer!r} must come before it."
                )
    return needed
