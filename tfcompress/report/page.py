"""The Markdown page of a run: its table, and what it was made by, on and from."""

from tfcompress.report.command import command_text
from tfcompress.report.environments import machines, versions
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
        f"examples{fingerprint or ''}. {machines(environments)}.",
    ]
    if of_timing:
        heading.append(f"Latency and memory: {machines(of_timing)}.")
    if data["warning"]:
        heading.append(f"**WARNING: {data['warning']}**")
    last = [f"Versions: {versions(environments[0])}."]
    if of_timing and versions(of_timing[0]) != versions(environments[0]):
        last.append(f"Versions of the timing: {versions(of_timing[0])}.")
    below = "\n".join(f"- {line}" for line in result_notes(result))
    tables = [operators_table(records)]
    if result.published:
        tables.append(published_table(records, result.published))
    parts = [*heading, markdown_table(records), below, *tables, *last]
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


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
