"""The tables of `benchmark_clustering`, from its records."""

from tfcompress.report.environments import machines, versions

NOT_RUN = "not run"

_METHODS = {"plain": "plain", "stock": "TFMOT", "ours": "ours"}
_STEP_HEAD = """\
| BERT | weights | training | clusters | s a step | / plain | added s | of TFMOT's | \
peak MB | / plain | before, s |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""
_STEP_LEGEND = """\
- **s a step**: median of the steps timed. Ours gives each weight its nearest centroid \
anew in every 20th step, whose share is in it; TFMOT does in every step
- **added s**: beyond the plain step; **of TFMOT's**: ours as a share of what stock \
TFMOT adds
- **peak MB**: of the whole process, imports and the finding of centroids included
- **before, s**: finding centroids and building the model that trains"""
_KMEANS_HEAD = """\
| BERT | weights | clusters | k-means of | threads | seconds | mean squared error | \
/ scikit-learn's | peak MB |
| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |"""


def describe(command, steps, kmeans):
    """Returns the text of `table.md`.

    Args:
        command: that makes it again.
        steps: list of records of training, in the order of the lines. A record has the
            worker's `request`, its `values` or else `failure` and `error`, and
            `environment`.
        kmeans: list of records of k-means.
    """
    records = [*steps, *kmeans]
    environments = [record["environment"] for record in records]
    parts = [
        "# benchmark_clustering",
        f"    {command}",
        f"Random weights and texts, batch 32 at length 64. {machines(environments)}.",
        "\n".join([_STEP_HEAD, *(_step_line(each, steps) for each in steps)]),
        _STEP_LEGEND,
        "\n".join([_KMEANS_HEAD, *(_kmeans_line(each, kmeans) for each in kmeans)]),
        "\n".join(_notes(records)),
        f"Versions: {versions(environments[0])}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _step_line(record, records):
    request, values = record["request"], record["values"]
    method = request["method"]
    plain = _values_of(records, request, method="plain", num_clusters=0)
    cells = [request["preset"], _number(_num_weights(records, request), ",")]
    cells += [_METHODS[method], str(request["num_clusters"] or "-")]
    if values is None:
        return _line([*cells, record["failure"], *"------"])
    seconds, peak = values["step_seconds"], values["peak_rss_bytes"]
    added = share = relative = relative_peak = None
    if plain is not None:
        relative = seconds / plain["step_seconds"]
        relative_peak = peak / plain["peak_rss_bytes"]
    if plain is not None and method != "plain":
        added = seconds - plain["step_seconds"]
        stock = _values_of(records, request, method="stock")
        if method == "ours" and stock is not None:
            share = added / (stock["step_seconds"] - plain["step_seconds"])
    return _line(
        [
            *cells,
            _number(seconds, ".3f"),
            _number(relative, ".2f"),
            _number(added, ".3f"),
            _number(share, ".2f"),
            _number(peak / 1e6, ",.0f"),
            _number(relative_peak, ".2f"),
            _number(values["setup_seconds"], ".1f"),
        ]
    )


def _kmeans_line(record, records):
    request, values = record["request"], record["values"]
    other = _values_of(records, request, tool="scikit-learn", num_threads=1)
    threads = record["num_threads"]
    cells = [request["preset"], _number(_num_weights(records, request), ",")]
    cells += [str(request["num_clusters"]), request["tool"], str(threads)]
    if values is None:
        return _line([*cells, record["failure"], *"---"])
    error = values["mean_squared_error"]
    relative = None if other is None else error / other["mean_squared_error"]
    return _line(
        [
            *cells,
            _number(values["seconds"], ".1f"),
            _number(error, ".4e"),
            _number(relative, ".4f"),
            _number(values["peak_rss_bytes"] / 1e6, ",.0f"),
        ]
    )


def _notes(records):
    """Returns a line for each measurement without a result."""
    notes = []
    for record in records:
        if record["values"] is None:
            request = record["request"]
            who = _METHODS.get(request.get("method"), request.get("tool"))
            what = f"{request['preset']}, {who}, {request['num_clusters']} clusters"
            notes.append(f"- {what}: {record['failure']}: {record['error']}")
    return notes


def _values_of(records, request, **changes):
    """Returns the values of the record whose request is `request` with changes."""
    wanted = request | changes
    found = (record["values"] for record in records if record["request"] == wanted)
    return next(found, None)


def _num_weights(records, request):
    """Returns the weights of the request's BERT as any of the records has them."""
    for record in records:
        same = record["request"]["preset"] == request["preset"]
        if same and record["values"] is not None:
            return record["values"]["num_weights"]
    return None


def _line(cells):
    return f"| {' | '.join(cells)} |"


def _number(value, form):
    return "-" if value is None else format(value, form)
