"""The folder of a check, and its page: command, machine, what it found, as Markdown."""

import contextlib
import pathlib

from tfcompress.atomic import atomic_file
from tfcompress.report.command import command_of, command_text
from tfcompress.report.environments import machines, versions
from tfcompress.runner.console import own_terminal
from tfcompress.runner.environment import describe_environment

PACKAGES = ("keras", "tensorflow", "ai-edge-litert", "onnxruntime", "openvino")


@contextlib.contextmanager
def check_folder(settings, name):
    """Makes the folder of a check; says at the end where its page is.

    Args:
        settings: `CheckSettings`.
        name: of the experiment.
    Yields:
        `pathlib.Path` of the folder, and the console, as `own_terminal` yields it.
    """
    folder = pathlib.Path(settings.run_dir or f"runs/{name}/latest")
    folder.mkdir(parents=True, exist_ok=True)
    with own_terminal(folder / "log.txt") as console:
        yield folder, console
        console.print(f"Table: {folder / 'table.md'}")


def write_page(path, name, settings, parts, *, arguments=(), packages=PACKAGES):
    """Writes a page, whole or not at all.

    Args:
        path: of the file.
        name: of the experiment.
        settings: its settings.
        parts: paragraphs and tables, Markdown texts.
        arguments: those of its command that are no flags.
        packages: those whose versions stand below.
    """
    environment = describe_environment()
    command = command_text(command_of(name, settings, arguments))
    listed = versions(environment, ("python", *packages))
    made_on = f"{machines([environment])}. Versions: {listed}."
    page = [f"# {name}", f"    {command}", *parts, made_on]
    with atomic_file(path) as temporary:
        temporary.write_text("\n\n".join(page) + "\n", encoding="utf-8")
