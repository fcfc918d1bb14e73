"""The page of a check: its command, its machine, what it found, as Markdown."""

from tfcompress.atomic import atomic_file
from tfcompress.report.command import command_of, command_text

_PACKAGES = ("keras", "tensorflow", "ai-edge-litert", "onnxruntime", "openvino")


def write_page(path, name, settings, parts, *, arguments=(), packages=_PACKAGES):
    """Writes a page, whole or not at all.

    Args:
        path: of the file.
        name: of the experiment.
        settings: its settings.
        parts: paragraphs and tables, Markdown texts.
        arguments: those of its command that are no flags.
        packages: those whose versions stand below.
    """
    from tfcompress.runner.environment import describe_environment

    environment = describe_environment()
    versions = environment["versions"]
    listed = ", ".join(
        f"{name} {versions[name]}" for name in ("python", *packages) if name in versions
    )
    machine = (
        f"{environment['cpu']}, {environment['num_cores']} cores; commit "
        f"{environment['commit']}; {environment['started_at']}. Versions: {listed}."
    )
    page = [
        f"# {name}",
        f"    {command_text(command_of(name, settings, arguments))}",
        *parts,
        machine,
    ]
    with atomic_file(path) as temporary:
        temporary.write_text("\n\n".join(page) + "\n", encoding="utf-8")
