"""Latency of several targets, measured in turn.

A machine drifts: what is measured an hour later is measured on another one. So the
targets take turns (A B C, A B C, ...), each in a fresh process, and two of them are
compared by the ratios of their rounds. One target under two names gives the noise.
"""

import dataclasses
import statistics

from tfcompress.errors import InvalidValueError
from tfcompress.evaluate.launch import WorkerRequest, run_worker

BATCHES = ("batch_1", "batch_32")


@dataclasses.dataclass(frozen=True)
class TimedTarget:
    """The rounds of one target.

    Attributes:
        rounds: the values of the task "latency", one dict a round; shorter than the
            others' where the target failed.
        error: of the first round that failed, after which it was not run again; else
            None.
    """

    rounds: tuple[dict, ...]
    error: str | None = None


def measure_in_turn(
    artifacts, *, examples, num_threads=2, rounds=5, on_round=None, log_path=None
):
    """Times artifacts in turn, each time in a fresh process.

    Args:
        artifacts: dict of key -> dict of `artifact` and, where they are not the
            artifact's own, `runtime` and `device`, as `WorkerRequest` takes them, in
            the order of the turn. One may stand under several keys.
        examples: path of a file of `write_examples`: real examples, 32 are enough.
        num_threads: threads of one run.
        rounds: turns.
        on_round: called with (number of the round from 0, key, `WorkerResult`) after
            each measurement.
        log_path: as of `run_worker`.
    Returns:
        Dict of key -> `TimedTarget`.
    Raises:
        InvalidValueError: if `rounds` is not positive.
        OSError: if no process can be started or the log cannot be written.
    """
    if rounds < 1:
        raise InvalidValueError(f"rounds must be positive, got {rounds!r}.")
    timed = {key: TimedTarget(()) for key in artifacts}
    for number in range(rounds):
        for key, measured in artifacts.items():
            if timed[key].error is not None:
                continue
            request = WorkerRequest(
                task="latency",
                examples=examples,
                num_threads=num_threads,
                **measured,
            )
            result = run_worker(request, log_path=log_path)
            timed[key] = _with_result(timed[key], result)
            if on_round is not None:
                on_round(number, key, result)
    return timed


def ratio(rounds, reference_rounds, batch="batch_1"):
    """Returns the median over the rounds of p50 / the reference's p50.

    Args:
        rounds, reference_rounds: as of `TimedTarget`, equally many.
        batch: "batch_1" or "batch_32".
    Raises:
        InvalidValueError: if there is no round, or not equally many.

    >>> one = [{"batch_1": {"p50_ms": p50}} for p50 in (2.0, 3.0, 9.0)]
    >>> two = [{"batch_1": {"p50_ms": p50}} for p50 in (1.0, 2.0, 3.0)]
    >>> ratio(one, two)
    2.0
    """
    if not rounds or len(rounds) != len(reference_rounds):
        raise InvalidValueError(
            "A ratio needs equally many rounds of both targets, at least one; got "
            f"{len(rounds)} and {len(reference_rounds)}."
        )
    return statistics.median(
        one[batch]["p50_ms"] / two[batch]["p50_ms"]
        for one, two in zip(rounds, reference_rounds, strict=True)
    )


def summarize_rounds(rounds):
    """Makes the latency section of a record, but for the ratios.

    Args:
        rounds: as of `TimedTarget`, at least one.
    Returns:
        Dict of the section's keys; each number is the median of the rounds'.
    Raises:
        InvalidValueError: if there is no round.
    """
    if not rounds:
        raise InvalidValueError("There is no round to summarize.")
    section = {
        "load_ms": _median(rounds, "load_ms"),
        "first_run_ms": _median(rounds, "first_run_ms"),
        "num_threads": rounds[0]["num_threads"],
        "sequence_length": rounds[0]["sequence_length"],
    }
    for batch in BATCHES:
        of_batch = [one[batch] for one in rounds]
        section[batch] = {
            "p50_ms": _median(of_batch, "p50_ms"),
            "p90_ms": _median(of_batch, "p90_ms"),
            "rounds": [
                {"p50_ms": one["p50_ms"], "p90_ms": one["p90_ms"]} for one in of_batch
            ],
        }
    return section


def _median(dicts, key):
    return statistics.median(one[key] for one in dicts)


def _with_result(target, result):
    if result.error is not None:
        return TimedTarget(target.rounds, result.error)
    return TimedTarget((*target.rounds, result.values))
