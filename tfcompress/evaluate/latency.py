"""How long a loaded model takes for a batch, in this process."""

import gc
import itertools
import time

import numpy as np

from tfcompress.errors import InvalidValueError

MAX_RUNS, MAX_SECONDS = 100, 3.0
_WARM_UP_RUNS, _WARM_UP_SECONDS = 3, 0.1


def measure_latency(session, inputs, batch_size, *, clock=time.perf_counter):
    """Times a session at one batch size, warm.

    After at least 3 runs and 0.1 s of warm-up, 100 runs are timed, or as many as fit
    3 s. The runs take the given examples in turn.

    Args:
        session: open `Session`.
        inputs: dict of name -> array, the examples leading; fewer than `batch_size`
            are repeated.
        batch_size: examples of one run.
        clock: function without arguments that returns seconds.
    Returns:
        Dict with `p50_ms`, `p90_ms` and `num_runs`.
    Raises:
        ArtifactError: if the runtime cannot compute it.
        InvalidValueError: if the inputs are not what the model takes.
    """
    batches = make_batches(inputs, batch_size)
    session.run(batches[0])  # checks what `invoke` takes on trust
    _warm_up(session.invoke, batches, clock)
    milliseconds = _time_runs(session.invoke, batches, clock)
    p50, p90 = np.percentile(milliseconds, [50, 90])
    return {
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "num_runs": len(milliseconds),
    }


def make_batches(inputs, batch_size):
    """Cuts examples into whole batches; the last one is filled up from the front.

    Args:
        inputs: dict of name -> array, the examples leading.
        batch_size: examples of each batch.
    Returns:
        List of dicts of name -> array.
    Raises:
        InvalidValueError: if there is no example.

    >>> batches = make_batches({"x": np.arange(3)}, 2)
    >>> [batch["x"].tolist() for batch in batches]
    [[0, 1], [2, 0]]
    """
    num_examples = len(next(iter(inputs.values())))
    if num_examples == 0:
        raise InvalidValueError("A latency is measured on examples; there is none.")
    starts = range(0, num_examples, batch_size)
    rows = [np.arange(start, start + batch_size) % num_examples for start in starts]
    return [{name: array[row] for name, array in inputs.items()} for row in rows]


def _warm_up(invoke, batches, clock):
    start = clock()
    for num_runs, batch in enumerate(itertools.cycle(batches)):
        seconds = clock() - start
        if num_runs >= _WARM_UP_RUNS and seconds >= _WARM_UP_SECONDS:
            return
        invoke(batch)


def _time_runs(invoke, batches, clock):
    """Returns the milliseconds of each run."""
    milliseconds = []
    gc.collect()
    gc.disable()  # a collection would be counted as the model's
    try:
        start = end = clock()
        for batch in itertools.islice(itertools.cycle(batches), MAX_RUNS):
            before = clock()
            invoke(batch)
            end = clock()
            milliseconds.append(1e3 * (end - before))
            if end - start >= MAX_SECONDS:
                break
    finally:
        gc.enable()
    return milliseconds
