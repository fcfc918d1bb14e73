"""Executors: who does the steps of a run, and where.

A run is a list of `Step`s, functions of paths. An executor does those that are not
done: serially in this process, in several processes, or as tasks of Ray. It keeps no
books: the files of the run say what is done.
"""

from tfcompress.executor.identity import code_fingerprint
from tfcompress.executor.processes import ProcessExecutor
from tfcompress.executor.ray import RayExecutor
from tfcompress.executor.serial import SerialExecutor
from tfcompress.executor.step import Step

__all__ = [
    "ProcessExecutor",
    "RayExecutor",
    "SerialExecutor",
    "Step",
    "code_fingerprint",
]
