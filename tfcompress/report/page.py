"""The Markdown page of a run: its table, and what it was made by, on and from."""

from tfcompress.report.command import command_text
from tfcompress.report.notes import result_notes
from tfcompress.report.operators import operators_table
from tfcompress.report.published import published_table
from tfcompress.report.table import markdown_table


def markdown_page(result):
    """Writes a `RunResult` as Markdown.

    Returns:
        Text that ends with a line break; its last line has the versions.
    """
    data, records = result.dataset, result.records
    environments = [record["environment"] for record in records]
    of_timing = _elsewhere(records)
    fingerprint = data["fingerprint"] and f", fingerprint {data['fingerprint']}"
    heading = [
        f"# {result.experiment}",
        f"    {command_text(result.command)}",
        f"Dataset {data['name']} ({data['source']}), {data['num_examples']:,} test "
        f"examples{fingerprint or ''}. {_machines(environments)}.",
    ]
    if of_timing:
        heading.append(f"Latency and memory: {_machines(of_timing)}.")
    if data["warning"]:
        heading.append(f"**WARNING: {data['warning']}**")
    versions = [f"Versions: {_versions(environments[0])}."]
    if of_timing and _versions(of_timing[0]) != _versions(environments[0]):
        versions.append(f"Versions of the timing: {_versions(of_timing[0])}.")
    below = "\n".join(f"- {line}" for line in result_notes(result))
    tables = [operators_table(records)]
    if result.published:
        tables.append(published_table(records, result.published))
    parts = [*heading, markdown_table(records), below, *tables, *versions]
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def _machines(environments):
    """Returns processors, commits and the time that each commit began at."""
    begun = {}
    for environment in environments:
        machine = f"{environment['cpu']}, {environment['num_cores']} cores"
        commits = begun.setdefault(machine, {})
        commits.setdefault(environment["commit"], environment["started_at"])
    return "; ".join(
        f"{machine}; {'; '.join(f'commit {c}; {time}' for c, time in commits.items())}"
        for machine, commits in begun.items()
    )


def _versions(environment):
    versions = environment["versions"] or {}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _elsewhere(records):
    """Returns the environments of the timings, if one is not that of its record."""
    timed = [r for r in records if r["timing_environment"]["started_at"] is not None]
    what = ("cpu", "num_cores", "commit", "versions")
    differs = any(
        record["timing_environment"][name] != record["environment"][name]
        for record in timed
        for name in what
    )
    return [record["timing_environment"] for record in timed] if differs else []
