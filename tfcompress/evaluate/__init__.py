"""Measures artifacts: quality, size, latency and memory, in other processes.

Nothing here imports a framework. `run_worker` starts a process that imports the runtime
of one artifact, measures one thing and ends; one that measures quality may be kept.
"""

from tfcompress.evaluate.examples import read_examples, write_examples
from tfcompress.evaluate.exported_weights import (
    ExportedWeight,
    list_weights,
    read_weights,
    summarize_weights,
)
from tfcompress.evaluate.launch import WorkerRequest, WorkerResult, run_worker
from tfcompress.evaluate.size import measure_size
from tfcompress.evaluate.turns import (
    TimedTarget,
    measure_in_turn,
    ratio,
    summarize_rounds,
)

__all__ = [
    "ExportedWeight",
    "TimedTarget",
    "WorkerRequest",
    "WorkerResult",
    "list_weights",
    "measure_in_turn",
    "measure_size",
    "ratio",
    "read_examples",
    "read_weights",
    "run_worker",
    "summarize_rounds",
    "summarize_weights",
    "write_examples",
]
