"""Benchmark clustering: steps and memory beside TFMOT, k-means beside scikit-learn.

    make experiment NAME=benchmark_clustering
    make experiment NAME=benchmark_clustering ARGS="--presets=tiny,base --fresh"

The first table trains BERTs of random weights, batch 32 at length 64: as they are,
clustered by stock TFMOT (its defaults, every Dense and Embedding) and by us. Each runs
in a fresh process that is stopped when it takes more than --memory_limit_gb; "out of
memory" is then the result. The second finds the codebooks of all weights of a BERT, by
us and by scikit-learn's KMeans. This measures time, memory and squared error and says
nothing of accuracy. A killed benchmark goes on where it was.

Expected on 2 cores: the run in docs/clustering.md (`--presets=base` with 16 and 256
clusters, up to 18 GB of memory) took 13 minutes; the defaults take longer. A step of
ours adds a tenth of what TFMOT's adds; TFMOT runs out of memory at 256 clusters; the
codebooks of 110 million weights take 11 s at 256 clusters.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json

from experiments._clustering_tables import NOT_RUN, describe
from experiments._clustering_worker import weight_shapes
from tfcompress import entry_point
from tfcompress.atomic import atomic_file, write_json
from tfcompress.errors import InvalidValueError, require
from tfcompress.evaluate import FAILED, WorkerResult, call_worker
from tfcompress.executor import code_fingerprint
from tfcompress.models.backbones import RANDOM_SHAPES
from tfcompress.report.command import command_of, command_text
from tfcompress.runner.console import Progress, own_terminal
from tfcompress.runner.environment import describe_environment
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.settings import CheckSettings, ResumedSettings
from tfcompress.settings import check_at_least, check_choices, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(CheckSettings, ResumedSettings):
    """What the benchmark's flags say."""

    presets: tuple[str, ...] = setting(
        ("tiny", "small", "base"), "Sizes of BERT to train, of random weights."
    )
    num_clusters: tuple[int, ...] = setting((16, 64, 256), "Clusters to train with.")
    steps: int = setting(6, "Steps to time in each process.")
    memory_limit_gb: float = setting(12.0, "Memory above which a process is stopped.")
    timeout_minutes: float = setting(10.0, "Time after which a process is stopped.")
    kmeans_presets: tuple[str, ...] = setting(
        ("tiny", "base"), "Sizes of BERT whose codebooks to find."
    )
    scikit_learn_limit: float = setting(
        4e9,
        "Most weights times clusters for scikit-learn, which takes 200 s for 4e9; 0 "
        "leaves it out.",
    )
    num_threads: int = setting(2, "Threads of a process.")

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "presets", tuple(RANDOM_SHAPES))
        check_choices(self, "kmeans_presets", tuple(RANDOM_SHAPES))
        check_at_least(self, 2, "steps")
        check_at_least(self, 1, "num_threads")
        for name in ("memory_limit_gb", "timeout_minutes"):
            if not getattr(self, name) > 0:
                raise InvalidValueError(
                    f"--{name} must be above 0, got {getattr(self, name)!r}."
                )
        clusters = self.num_clusters
        if not clusters or not all(2 <= number <= 256 for number in clusters):
            raise InvalidValueError(
                "--num_clusters must be whole numbers from 2 to 256 with commas "
                f"between them, got {','.join(map(str, clusters))!r}."
            )


_WORKER = "experiments._clustering_worker"
_KMEANS_CLUSTERS = (16, 256)
# Seconds of scikit-learn for a weight and a cluster on one core, for the estimate.
_SKLEARN_SECONDS = 5e-8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One thing that a process measures.

    Attributes:
        request: what the worker is asked: `task` and its arguments.
        num_threads: of the process.
        not_run: reason why it is not tried at all, or `None`.
    """

    request: dict
    num_threads: int
    not_run: str | None = None


def main(settings):
    """Runs the benchmark; returns the exit status."""
    steps = step_measurements(settings)
    kmeans = kmeans_measurements(settings)
    tools = {each.request["tool"] for each in kmeans if each.not_run is None}
    if "scikit-learn" in tools:
        require("sklearn", extra="dev", package="scikit-learn")
    path = settings.run_dir or "runs/benchmark_clustering/latest"
    with RunFolder(path) as folder, own_terminal(folder.log) as console:
        folder.begin(
            {}, code_fingerprint(), resume=settings.resume, fresh=settings.fresh
        )
        with Progress(console, len(steps) + len(kmeans)) as progress:
            steps, kmeans = (
                [_measure(each, settings, folder, progress) for each in part]
                for part in (steps, kmeans)
            )
        command = command_text(command_of("benchmark_clustering", settings))
        text = describe(command, steps, kmeans)
        with atomic_file(folder.table) as temporary:
            temporary.write_text(text, encoding="utf-8")
        console.print(text, soft_wrap=True, markup=False)
        console.print(f"Table and records: {folder.path}", soft_wrap=True)
    return 1 if any(record["failure"] == FAILED for record in [*steps, *kmeans]) else 0


def step_measurements(settings):
    """Returns the `Measurement`s of the first table, in its order."""
    measurements = []
    for preset in settings.presets:
        methods = [("plain", 0)]
        methods += [
            (name, k) for k in settings.num_clusters for name in ("stock", "ours")
        ]
        for method, num_clusters in methods:
            request = {
                "task": "step",
                "method": method,
                "preset": preset,
                "num_clusters": num_clusters,
                "steps": settings.steps,
                "seed": settings.seed,
            }
            measurements.append(
                Measurement(request=request, num_threads=settings.num_threads)
            )
    return measurements


def kmeans_measurements(settings):
    """Returns the `Measurement`s of the second table, in its order."""
    measurements = []
    for preset in settings.kmeans_presets:
        for num_clusters in _KMEANS_CLUSTERS:
            for tool, num_threads in (
                ("ours", 1),
                ("ours", 2),
                ("scikit-learn", settings.num_threads),
            ):
                reason = None
                work = _num_weights(preset) * num_clusters
                if tool == "scikit-learn" and work > settings.scikit_learn_limit:
                    minutes = _sklearn_minutes(preset, num_clusters)
                    reason = f"it would take about {minutes:.1f} minutes"
                request = {
                    "task": "kmeans",
                    "tool": tool,
                    "preset": preset,
                    "num_clusters": num_clusters,
                    "num_threads": 1 if tool == "scikit-learn" else num_threads,
                    "seed": settings.seed,
                }
                found = Measurement(
                    request=request, num_threads=num_threads, not_run=reason
                )
                measurements.append(found)
    return measurements


def _measure(measurement, settings, folder, progress):
    """Returns the record of a measurement, which may be there already."""
    request, num_threads = measurement.request, measurement.num_threads
    limits = (settings.memory_limit_gb, settings.timeout_minutes)
    # All that decides it.
    key = "-".join(map(str, [*request.values(), num_threads, *limits]))
    path = folder.records / f"{key}.json"
    with progress.step(_title(measurement)):
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        if measurement.not_run is None:
            result = call_worker(
                _WORKER,
                request,
                name="The process",
                num_threads=num_threads,
                memory_limit=settings.memory_limit_gb * 1e9,
                timeout_seconds=60 * settings.timeout_minutes,
                log_path=folder.log,
            )
        else:
            result = WorkerResult(None, measurement.not_run, 0.0, NOT_RUN)
        record = {
            "request": request,
            "num_threads": num_threads,
            **dataclasses.asdict(result),
            "environment": _environment(),
        }
        # What is not tried costs nothing to decide again, and a failure may be mended.
        if result.failure not in (NOT_RUN, FAILED):
            write_json(path, record)
        return record


def _title(measurement):
    """Returns what the terminal calls a measurement."""
    request = measurement.request
    who = request.get("method", request.get("tool"))
    title = f"{request['task']}: {request['preset']}, {who}"
    if request["num_clusters"]:
        title += f", {request['num_clusters']} clusters"
    if request["task"] == "kmeans":
        title += f", threads: {measurement.num_threads}"
    return title


def _environment():
    environment = describe_environment()
    if importlib.util.find_spec("sklearn") is not None:
        name = "scikit-learn"
        environment["versions"][name] = importlib.metadata.version(name)
    return environment


def _sklearn_minutes(preset, num_clusters):
    return num_clusters * _num_weights(preset) * _SKLEARN_SECONDS / 60


def _num_weights(preset):
    return sum(rows * columns for rows, columns in weight_shapes(preset))


if __name__ == "__main__":
    entry_point.run(main, Settings)
